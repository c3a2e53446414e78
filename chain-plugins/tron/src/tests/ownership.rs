//! Signatures made by tronweb.

use super::*;

const STATEMENT: &str =
    "I receive payments at this address.\nMerchant: K\u{e4}se & S\u{f6}hne (mer_01)\nCode: 0123";
const ADDRESS: &str = "TCLBgkbfVkJroVBJVqBEsxtPNQEQMTQCLQ";
const PROOF: &str = "0x260d8119192213940f9e0d9467082e1b75635556697664d45059d489d8f9a3834d340f0d57ec72ddcb898c114c7a4164b116afcfc06b6ffc11a64def433e7ada1b";

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
        verify("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t", STATEMENT, PROOF),
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
