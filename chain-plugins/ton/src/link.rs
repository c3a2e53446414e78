//! Payment links: `ton://transfer/…` (<https://docs.ton.org/ecosystem/wallet-apps/deep-links>).

use kassa_sdk::chain::{Link, LinkError, PaymentRequest};
use kassa_sdk::types::Network;
use kassa_sdk::uri::{asset_of, encoded};
use std::fmt::Write as _;

pub(crate) fn payment_link(network: &Network, request: &PaymentRequest) -> Result<Link, LinkError> {
    let recipient = &request.recipient;
    let asset = asset_of(network, request)?;
    let mut uri = format!("ton://transfer/{recipient}?amount={}", u128::from(request.amount));
    if let Some(master) = &asset.contract {
        let _ = write!(uri, "&jetton={}", encoded(master));
    }
    if let Some(memo) = &request.memo {
        let _ = write!(uri, "&text={}", encoded(memo));
    }
    Ok(Link { qr: uri.clone(), uri: Some(uri), more: Vec::new() })
}
