//! Payment links: `ton://transfer/…` (<https://docs.ton.org/ecosystem/wallet-apps/deep-links>).

use kassa_sdk::chain::{Link, PaymentRequest};
use kassa_sdk::types::Network;
use kassa_sdk::uri::encoded;
use std::fmt::Write as _;

pub(crate) fn payment_link(network: &Network, request: &PaymentRequest) -> Link {
    let recipient = &request.recipient;
    let asset = usize::try_from(request.asset).ok().and_then(|place| network.assets.get(place));
    let Some(asset) = asset else { return Link { uri: None, qr: recipient.clone() } };
    let mut uri = format!("ton://transfer/{recipient}?amount={}", u128::from(request.amount));
    if let Some(master) = &asset.contract {
        let _ = write!(uri, "&jetton={}", encoded(master));
    }
    if let Some(memo) = &request.memo {
        let _ = write!(uri, "&text={}", encoded(memo));
    }
    Link { qr: uri.clone(), uri: Some(uri) }
}
