//! Known answers for keys and links.

use super::node::Node;
use super::txs::{SHOP, USDC};
use crate::address::derive;
use crate::link::payment_link;
use kassa_sdk::chain::{LinkError, PaymentRequest};

/// Extended public key `m/44'/60'/0'/0` of the mnemonic "test test … junk" that every local test chain uses.
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
}

#[test]
fn links_of_eip_681() {
    let network = Node::new(vec![]).network();
    let recipient = crate::address::show(&SHOP);
    let link = |asset| {
        let amount = 1_500_000u128.into();
        payment_link(
            &network,
            &PaymentRequest { recipient: recipient.clone(), asset, amount, memo: None, more: Vec::new() },
        )
    };
    let native = format!("ethereum:{recipient}@8453?value=1500000");
    let of_native = link(0).unwrap();
    assert_eq!((of_native.uri.as_deref(), of_native.qr.as_str()), (Some(native.as_str()), native.as_str()));
    let token = crate::address::show(&USDC);
    let expected = format!("ethereum:{token}@8453/transfer?address={recipient}&uint256=1500000");
    assert_eq!(link(1).unwrap().uri, Some(expected));
    assert!(matches!(link(9), Err(LinkError::Malformed(_))));
}
