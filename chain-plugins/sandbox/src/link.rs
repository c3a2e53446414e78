//! Payment links of the sandbox: `sbx:<address>?amount=<base units>&asset=<contract>&memo=<text>`.

use kassa_sdk::chain::{Link, LinkError, PaymentRequest};
use kassa_sdk::types::Network;
use kassa_sdk::uri::{asset_of, encoded};
use std::fmt::Write as _;

pub(crate) fn payment_link(network: &Network, request: &PaymentRequest) -> Result<Link, LinkError> {
    let asset = asset_of(network, request)?;
    let mut uri = format!("sbx:{}?amount={}", request.recipient, u128::from(request.amount));
    if let Some(contract) = &asset.contract {
        let _ = write!(uri, "&asset={}", encoded(contract));
    }
    if let Some(memo) = &request.memo {
        let _ = write!(uri, "&memo={}", encoded(memo));
    }
    Ok(Link { qr: uri.clone(), uri: Some(uri), more: Vec::new() })
}
