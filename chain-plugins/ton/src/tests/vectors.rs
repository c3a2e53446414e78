//! Known answers for payment links.

use super::index::{Index, SHOP, USDT};
use crate::link::payment_link;
use kassa_sdk::chain::{LinkError, PaymentRequest};

#[test]
fn links_that_wallets_open() {
    let network = Index::new(5_000).network();
    let (shop, usdt) = (SHOP.show(false), USDT.show(false));
    let request = |asset: u32, memo: Option<&str>| PaymentRequest {
        recipient: shop.clone(),
        asset,
        amount: 1_500_000_000.into(),
        memo: memo.map(Into::into),
        more: Vec::new(),
    };
    for (asset, memo, rest) in [
        (0, None, "?amount=1500000000".to_owned()),
        (0, Some("Order 1&2=\u{20ac}"), "?amount=1500000000&text=Order%201%262%3D%E2%82%AC".into()),
        (1, Some("k-7_a.b~"), format!("?amount=1500000000&jetton={usdt}&text=k-7_a.b~")),
    ] {
        let link = payment_link(&network, &request(asset, memo)).unwrap();
        assert_eq!(link.uri, Some(format!("ton://transfer/{shop}{rest}")));
        assert_eq!(link.qr, link.uri.unwrap());
    }
    assert!(matches!(payment_link(&network, &request(9, None)), Err(LinkError::Malformed(_))));
}
