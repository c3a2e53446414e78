//! Payment links of the sandbox: `sbx:<address>?amount=<base units>&asset=<contract>&memo=<text>`.

use kassa_sdk::chain::{Link, PaymentRequest};
use kassa_sdk::types::Network;
use kassa_sdk::uri::encoded;
use std::fmt::Write as _;

pub(crate) fn payment_link(network: &Network, request: &PaymentRequest) -> Link {
    let Some(asset) = usize::try_from(request.asset).ok().and_then(|place| network.assets.get(place)) else {
        return Link { uri: None, qr: request.recipient.clone() };
    };
    let mut uri = format!("sbx:{}?amount={}", request.recipient, u128::from(request.amount));
    if let Some(contract) = &asset.contract {
        let _ = write!(uri, "&asset={}", encoded(contract));
    }
    if let Some(memo) = &request.memo {
        let _ = write!(uri, "&memo={}", encoded(memo));
    }
    Link { qr: uri.clone(), uri: Some(uri) }
}
