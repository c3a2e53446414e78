//! Signatures made by ethers.

use super::*;

const STATEMENT: &str =
    "I receive payments at this address.\nMerchant: K\u{e4}se & S\u{f6}hne (mer_01)\nCode: 0123";
const ADDRESS: &str = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A";
const PROOF: &str = "0x4cfcd2a67378815660490b17023de1ba17fff7f3eade175a53292952e67e9e6527d46fb95277a9dca777c36916d091701ad475f47cd083a04811d7cdf6403f711b";

#[test]
fn a_wallets_signature_proves() {
    assert_eq!(verify(ADDRESS, STATEMENT, PROOF), Ok(()));
    assert_eq!(verify(ADDRESS, STATEMENT, &format!(" {PROOF}\n")), Ok(()));
    // Ledger devices write the number of the key as 0 or 1.
    let by_number = PROOF.strip_suffix("1b").map(|rest| format!("{rest}00")).unwrap();
    assert_eq!(verify(ADDRESS, STATEMENT, &by_number), Ok(()));
}

#[test]
fn what_proves_nothing() {
    for text in
        ["", "I receive payments at this address.", &format!("{STATEMENT} "), &STATEMENT.replace("01", "02")]
    {
        assert_eq!(verify(ADDRESS, text, PROOF), Err(OwnershipError::NotSigned), "{text}");
    }
    assert_eq!(
        verify("0x52908400098527886E0F7030069857D2E4169EE7", STATEMENT, PROOF),
        Err(OwnershipError::NotSigned)
    );
    for index in (2..PROOF.len()).step_by(7) {
        let digit = u32::from_str_radix(&PROOF[index..=index], 16).unwrap() ^ 4;
        let mut flipped = PROOF.to_owned();
        flipped.replace_range(index..=index, &format!("{digit:x}"));
        assert_eq!(verify(ADDRESS, STATEMENT, &flipped), Err(OwnershipError::NotSigned), "{index}");
    }
    for nobody in ["00", "ff"] {
        let proof = format!("0x{}", nobody.repeat(65));
        assert_eq!(verify(ADDRESS, STATEMENT, &proof), Err(OwnershipError::NotSigned));
    }
    let short = PROOF.get(..130).unwrap();
    for form in ["", "0x", short, "0xzz", "{}", &format!("{PROOF}00"), &"0".repeat(1 << 20), "0x\u{e9}"] {
        assert!(matches!(verify(ADDRESS, STATEMENT, form), Err(OwnershipError::Malformed(_))));
    }
    assert!(matches!(verify("nobody", STATEMENT, PROOF), Err(OwnershipError::Malformed(_))));
}
