//! Payment links of the sandbox: `sbx:<address>?amount=<base units>&asset=<contract>&memo=<text>`.

use kassa_sdk::chain::{Link, PaymentRequest};
use kassa_sdk::types::Network;
use std::fmt::Write as _;

pub(crate) fn payment_link(network: &Network, request: &PaymentRequest) -> Link {
    let Some(asset) = usize::try_from(request.asset).ok().and_then(|place| network.assets.get(place)) else {
        return Link { uri: None, qr: request.recipient.clone() };
    };
    let mut uri = format!("sbx:{}?amount={}", request.recipient, u128::from(request.amount));
    if let Some(contract) = &asset.contract {
        let _ = write!(uri, "&asset={}", escape(contract));
    }
    if let Some(memo) = &request.memo {
        let _ = write!(uri, "&memo={}", escape(memo));
    }
    Link { qr: uri.clone(), uri: Some(uri) }
}

/// Percent-encoding of everything but the unreserved characters of RFC 3986.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
