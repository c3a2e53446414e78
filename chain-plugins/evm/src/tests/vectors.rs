//! Known answers for keys and links.

use super::node::{Node, SHOP, USDC};
use crate::link::payment_link;
use crate::xpub::derive;
use kassa_sdk::chain::{DeriveError, PaymentRequest};

/// `m/44'/60'/0'/0` of the mnemonic "test test … junk" that every local test chain uses.
const JUNK: &str = "xpub6DyUKdwoLWmUJ4Tn9Bbsdtx7B5Ws18mEN19e5HT52ikE53FiUheSQXrZUNPovqfyKmw4579A1Mm3GXXKM39N64uooBfJ4tNAzFsEbodRTx4";

#[test]
fn the_addresses_that_local_test_chains_fund() {
    for (index, address) in [
        (0, "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
        (1, "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"),
        (2, "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"),
        (9, "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720"),
    ] {
        assert_eq!(derive(JUNK, index).unwrap().text, address);
        assert_eq!(derive(&format!(" {JUNK}\n"), index).unwrap().text, address);
    }
    assert!(derive(JUNK, u32::MAX >> 1).is_ok());
    assert_eq!(derive(JUNK, 1 << 31).unwrap_err(), DeriveError::NoChild);
}

/// BIP-32, test vector 2: the child 0 of m is the key that the vector gives for m/0. Its address is that of
/// the point, which is derived here from the second key's own bytes.
#[test]
fn bip_32_vector_2() {
    let root = "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB";
    let child = "xpub69H7F5d8KSRgmmdJg2KhpAK8SR3DjMwAdkxj3ZuxV27CprR9LgpeyGmXUbC6wb7ERfvrnKZjXoUmmDznezpbZb7ap6r1D3tgFxHmwMkQTPH";
    let bytes = bs58::decode(child).with_check(None).into_vec().unwrap();
    let point = crate::xpub::address_of_point(bytes[45..].try_into().unwrap()).unwrap();
    assert_eq!(derive(root, 0).unwrap().text, point);
}

fn with_version(version: [u8; 4]) -> String {
    let mut bytes = bs58::decode(JUNK).with_check(None).into_vec().unwrap();
    bytes[..4].copy_from_slice(&version);
    bs58::encode(bytes).with_check().into_string()
}

#[test]
fn keys_that_are_refused() {
    let text = |key: &str| match derive(key, 0) {
        Err(DeriveError::MalformedKey(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(text(&with_version([0x04, 0x88, 0xad, 0xe4])).contains("private"));
    assert!(text(&with_version([0x04, 0x9d, 0x7c, 0xb2])).contains("neither"));
    assert!(derive(&with_version([0x04, 0x35, 0x87, 0xcf]), 0).is_ok());
    let typo = JUNK.replace("Wm", "Wn");
    for wrong in ["", "xpub", "0x00", &typo, &JUNK[..100], &JUNK.repeat(1_000), "xpub\u{e9}"] {
        text(wrong);
    }
    // Right checksum, but x = 5 is on no point of the curve.
    let mut bytes = bs58::decode(JUNK).with_check(None).into_vec().unwrap();
    bytes[46..78].fill(0);
    bytes[77] = 5;
    assert!(text(&bs58::encode(bytes).with_check().into_string()).contains("curve"));
}

#[test]
fn links_of_eip_681() {
    let network = Node::new(vec![]).network();
    let recipient = crate::address::show(&SHOP);
    let link = |asset| {
        let amount = 1_500_000u128.into();
        payment_link(&network, &PaymentRequest { recipient: recipient.clone(), asset, amount, memo: None })
    };
    let native = format!("ethereum:{recipient}@8453?value=1500000");
    assert_eq!(link(0).uri.as_deref(), Some(native.as_str()));
    assert_eq!(link(0).qr, native);
    let token = crate::address::show(&USDC);
    let expected = format!("ethereum:{token}@8453/transfer?address={recipient}&uint256=1500000");
    assert_eq!(link(1).uri, Some(expected));
    assert_eq!((link(9).uri, link(9).qr), (None, recipient));
}
