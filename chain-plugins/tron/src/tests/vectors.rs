//! Known answers for addresses, keys, links and transactions.

use super::node::*;
use crate::address::{derive, normalize};
use crate::wire::Payment;
use crate::{Tron, proof};
use kassa_sdk::chain::{AddressError, Chain, PaymentRequest};

/// Addresses from TRON's documentation and of well-known tokens.
const VECTORS: [(&str, &str); 4] = [
    ("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t", "41a614f803b6fd780986a42c78ec9c7f77e6ded13c"),
    ("TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf", "41eca9bc828a3005b9a3b909f2cc5c2a54794de05f"),
    ("TL24LCps5FKwp3PoU1MvrYrwhi5LU1tHre", "416e3b44b96104b26f84057974a1f0c9880f7c9b13"),
    ("TXVj38D1XR3TPgSHTCZGC8wkLDAGqF1oqx", "41ec20315a879c48f5e3a6a1c9826d5225f8b658b8"),
];

#[test]
fn addresses_in_every_writing() {
    for (shown, raw) in VECTORS {
        let upper = raw.to_uppercase();
        for writing in [shown.to_owned(), raw.to_owned(), upper, format!("0x{raw}"), format!(" {shown}\n")] {
            let address = normalize(&writing).unwrap();
            assert_eq!(address.text, shown);
            assert_eq!(address.key, hex::decode(&raw[2..]).unwrap());
        }
    }
}

#[test]
fn what_is_no_address() {
    let typo = VECTORS[0].0.replace("Lj6t", "Lj6u");
    let swapped = VECTORS[1].0.replace("XY", "YX");
    for wrong in [typo, swapped] {
        assert_eq!(normalize(&wrong).unwrap_err(), AddressError::Checksum, "{wrong}");
    }
    let with_version = |version: u8, key: &[u8]| bs58::encode(key).with_check_version(version).into_string();
    for wrong in [
        "".to_owned(),
        "T".to_owned(),
        "41".to_owned(),
        VECTORS[0].0[..33].to_owned(),
        VECTORS[0].0.to_lowercase(),
        format!("{}0", VECTORS[0].0),
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa".to_owned(),
        "0xdAC17F958D2ee523a2206206994597C13D831ec7".to_owned(),
        "42a614f803b6fd780986a42c78ec9c7f77e6ded13c".to_owned(),
        format!("{}00", VECTORS[0].1),
        with_version(0xa0, &[7; 20]),
        with_version(0x41, &[7; 21]),
        with_version(0x41, &[7; 19]),
        "T".repeat(100_000),
        "T\u{e9}\u{0}".to_owned(),
    ] {
        assert!(matches!(normalize(&wrong), Err(AddressError::Malformed(_))), "{wrong:.60}");
    }
}

/// Children of `m/44'/60'/0'/0` of the mnemonic "test test … junk", whose first address on EVM chains is 0xf39F…2266:
/// the point is hashed alike, so TRON's address of the same key has the same 20 bytes.
#[test]
fn derived_addresses() {
    let junk = "xpub6DyUKdwoLWmUJ4Tn9Bbsdtx7B5Ws18mEN19e5HT52ikE53FiUheSQXrZUNPovqfyKmw4579A1Mm3GXXKM39N64uooBfJ4tNAzFsEbodRTx4";
    for (index, key) in
        [(0, "f39fd6e51aad88f6f4ce6ab8827279cfffb92266"), (9, "a0ee7a142d267c1f36714e4a8f75612f20a79720")]
    {
        let address = derive(junk, index).unwrap();
        assert_eq!(hex::encode(&address.key), key);
        assert_eq!(address, normalize(&address.text).unwrap());
        assert!(address.text.starts_with('T') && address.text.len() == 34);
    }
    assert!(derive(junk, 1 << 31).is_err());
    assert!(derive("xpub", 0).is_err());
}

#[test]
fn a_payer_scans_the_bare_address() {
    let (network, recipient) = (Node::new(vec![]).network(), VECTORS[2].0);
    for (asset, memo) in [(0, None), (1, Some("7".into())), (9, None)] {
        let request =
            PaymentRequest { recipient: recipient.into(), asset, amount: 5.into(), memo, more: Vec::new() };
        let link = Tron::payment_link(network.clone(), request).unwrap();
        assert_eq!((link.uri, link.qr.as_str()), (None, recipient));
    }
    let description = Tron::describe(network).unwrap();
    assert!(description.derives_addresses && description.exact_native_amounts);
}

/// Transactions of the main network, with their ids.
#[test]
fn signed_bytes_of_the_main_network() {
    let content = |id: &str, raw: &str| proof::content(raw, &hex::decode(id).unwrap().try_into().unwrap());
    let id = "1abdaae882a5bd80bda189e8722705a4b7d110f580da3ad000d0fe53e61b469f";
    let raw = "0a02fa7322082b2f6684f998649540d0d4d3f9a5315a68080112640a2d747970652e676f6f676c65617069732e636f6d2f70726f746f636f6c2e5472616e73666572436f6e747261637412330a154179309abcff2cf531070ca9222a1f72c4a5136874121541c6a137bb170cc0dd40fcb83f18b389fa9426ac461880b489137092b9f4f7a531";
    let key = |text: &str| normalize(text).unwrap().key.try_into().unwrap();
    let paid = Payment {
        from: key("4179309abcff2cf531070ca9222a1f72c4a5136874"),
        to: key("41c6a137bb170cc0dd40fcb83f18b389fa9426ac46"),
        amount: 40_000_000,
    };
    let read = content(id, raw).unwrap();
    assert_eq!((read.payment, read.memo), (Some(paid), vec![]));
    // A TRC-10 transfer is no payment.
    let trc_10 = content(
        "546a3d07164c624809cf4e564a083a7a7974bb3c4eff6bb3e278b0ca21083fcb",
        "0a02b80122080e2bc08d550f5f5840a0b5d58ff02c5a730802126f0a32747970652e676f6f676c65617069732e636f6d2f70726f746f636f6c2e5472616e736665724173736574436f6e747261637412390a07313030303935391215415cd0fb0ab3ce40f3051414c604b27756e69e43db1a1541521ea197907927725ef36d70f25f850d1659c7c7200470d889a4a9e62c",
    );
    assert_eq!(trc_10.unwrap().payment, None);
    for wrong in ["", "0", "zz", &raw[2..], &raw.replace("80b48913", "80b48914")] {
        assert!(content(id, wrong).is_err(), "{wrong:.20}");
    }
}

#[test]
fn the_manifests_name_their_chains() {
    for (manifest, id) in [
        (include_str!("../../tron.toml"), "2b6653dc"),
        (include_str!("../../tron-nile.toml"), "cd8690dc"),
        (include_str!("../../tron-shasta.toml"), "94a9059e"),
    ] {
        assert!(manifest.contains(&format!("caip2 = \"tron:0x{id}\"\n")));
        let contracts = manifest.lines().filter_map(|line| line.strip_prefix("contract = "));
        assert!(
            contracts.map(|contract| contract.trim_matches('"')).all(|contract| normalize(contract).is_ok())
        );
    }
}
