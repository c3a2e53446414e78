//! Proofs made with `@ton/ton`, one of each kind of wallet, all of one key.

use super::*;
use crate::boc::single;
use serde_json::{Value, json};

const STATEMENT: &str =
    "I receive payments at this address.\nMerchant: K\u{e4}se & S\u{f6}hne (mer_01)\nCode: 0123";

fn network(settings: &str) -> Network {
    Network {
        name: "ton".into(),
        chain_id: "-239".into(),
        assets: Vec::new(),
        settings: settings.into(),
        more: Vec::new(),
    }
}

/// Address and proof of a wallet of this kind.
fn made(wallet: &str) -> (String, Value) {
    let all: Vec<Value> = serde_json::from_str(include_str!("ownership.json")).unwrap();
    let found = all.into_iter().find(|one| one["wallet"] == wallet).unwrap();
    (found["address"].as_str().unwrap().to_owned(), found["proof"].clone())
}

fn check(address: &str, proof: &Value) -> Result<(), OwnershipError> {
    verify(&network(""), address, STATEMENT, &proof.to_string())
}

fn with(proof: &Value, field: &str, value: Value) -> Value {
    let mut changed = proof.clone();
    *changed.pointer_mut(field).unwrap() = value;
    changed
}

#[test]
fn every_known_wallet_proves() {
    for wallet in ["WalletContractV3R1", "WalletContractV3R2", "WalletContractV4", "WalletContractV5R1"] {
        let (address, proof) = made(wallet);
        assert_eq!(check(&address, &proof), Ok(()), "{wallet}");
        let text = with(&proof, "/timestamp", json!("1790000000"));
        assert_eq!(check(&address, &text), Ok(()), "{wallet}");
    }
    let (address, proof) = made("WalletContractV2R2");
    assert!(matches!(check(&address, &proof), Err(OwnershipError::UnknownWallet(_))));
}

#[test]
fn what_was_not_signed() {
    let (address, proof) = made("WalletContractV4");
    for (field, value) in [
        ("/timestamp", json!(1_790_000_001)),
        ("/domain", json!({"lengthBytes": 12, "value": "shop.exampla"})),
        ("/payload", json!("I receive payments at this address.")),
        ("/payload", json!(hex(&sha256(STATEMENT.as_bytes())))),
        ("/signature", made("WalletContractV5R1").1["signature"].clone()),
        ("/signature", json!(base64::encode(&[0; 64]))),
    ] {
        assert_eq!(check(&address, &with(&proof, field, value)), Err(OwnershipError::NotSigned), "{field}");
    }
    let signature = base64::decode(proof["signature"].as_str().unwrap()).unwrap();
    for bit in (0..64 * 8).step_by(3) {
        let mut flipped = signature.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let flipped = with(&proof, "/signature", json!(base64::encode(&flipped)));
        assert_eq!(check(&address, &flipped), Err(OwnershipError::NotSigned), "bit {bit}");
    }
    let other = verify(&network(""), &address, &STATEMENT.replace("01", "02"), &proof.to_string());
    assert_eq!(other, Err(OwnershipError::NotSigned));
}

#[test]
fn what_is_no_proof() {
    let (address, proof) = made("WalletContractV4");
    let (another, other) = made("WalletContractV5R1");
    let why = |address: &str, proof: &Value| match check(address, proof) {
        Err(OwnershipError::Malformed(why)) => why,
        found => panic!("{found:?}"),
    };
    assert!(why(&another, &proof).contains("another address"));
    assert!(
        why(&address, &with(&proof, "/state_init", other["state_init"].clone())).contains("another address")
    );
    assert!(why(&address, &with(&proof, "/domain/lengthBytes", json!(11))).contains("domain"));
    assert!(why(&address, &with(&proof, "/domain/lengthBytes", json!(u32::MAX))).contains("domain"));
    assert!(why(&address, &with(&proof, "/timestamp", json!("soon"))).contains("timestamp"));
    assert!(why(&address, &with(&proof, "/signature", json!("AAAA"))).contains("signature"));
    assert!(why(&address, &with(&proof, "/state_init", json!("!"))).contains("base64"));
    assert!(why(&address, &with(&proof, "/state_init", json!(""))).contains("bag"));
    let large = json!("A".repeat(STATE_INIT_CHARS_MAX + 4));
    assert!(why(&address, &with(&proof, "/state_init", large)).contains("larger"));
    for text in ["", "null", "[]", "{}", "0x00", "{\"timestamp\":-1}", &"[".repeat(1 << 20)] {
        let found = verify(&network(""), &address, STATEMENT, text);
        assert!(matches!(found, Err(OwnershipError::Malformed(_))));
    }
}

/// Checks a state init with the very address that it hashes to, since the address is what decides.
fn of_state(state: &[u8]) -> Result<(), OwnershipError> {
    let hash = Boc::parse(state).ok().and_then(|boc| boc.hash()).unwrap_or_default();
    let address = Account::new(0, hash).unwrap().show(false);
    let (_, proof) = made("WalletContractV4");
    check(&address, &with(&proof, "/state_init", json!(base64::encode(state))))
}

#[test]
fn states_that_hold_no_wallet() {
    // A chain of `cells` cells, each in the one before.
    let chain = |cells: u16| {
        let [high, low] = cells.to_be_bytes();
        let mut data = Vec::new();
        for next in 1..cells {
            data.extend([1, 0]);
            data.extend(next.to_be_bytes());
        }
        data.extend([0, 0]);
        let [.., second, third] = u32::try_from(data.len()).unwrap().to_be_bytes();
        let mut bag = vec![0xb5, 0xee, 0x9c, 0x72, 2, 2, high, low, 0, 1, 0, 0, second, third, 0, 0];
        bag.extend(data);
        bag
    };
    assert!(matches!(of_state(&chain(1_000)), Err(OwnershipError::UnknownWallet(_))));
    // Deeper than is possible on chain.
    assert!(matches!(of_state(&chain(1_200)), Err(OwnershipError::Malformed(_))));
    let (code, data) = (chain(2), single(&[0; 40], 320));
    for state in [single(&[], 0), single(&[0b0011_0000], 5), code, data] {
        assert!(matches!(of_state(&state), Err(OwnershipError::UnknownWallet(_))));
    }
    // A header with as many cells as can be counted.
    let claims = [0xb5, 0xee, 0x9c, 0x72, 4, 8, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0];
    assert!(matches!(of_state(&claims), Err(OwnershipError::Malformed(_))));
}

#[test]
fn the_operator_may_name_the_domain() {
    let (address, proof) = made("WalletContractV5R1");
    let on = |settings: &str| verify(&network(settings), &address, STATEMENT, &proof.to_string());
    assert_eq!(on(r#"{"ownership_domain": "shop.example"}"#), Ok(()));
    for other in
        [r#"{"ownership_domain": "example"}"#, r#"{"ownership_domain": ""}"#, r#"{"ownership_domain": 1}"#]
    {
        assert!(matches!(on(other), Err(OwnershipError::Malformed(_))), "{other}");
    }
}
