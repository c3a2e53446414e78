//! Payment links of EIP-681 (<https://eips.ethereum.org/EIPS/eip-681>).

use kassa_sdk::chain::{Link, LinkError, PaymentRequest};
use kassa_sdk::types::Network;
use kassa_sdk::uri::asset_of;

pub(crate) fn payment_link(network: &Network, request: &PaymentRequest) -> Result<Link, LinkError> {
    let recipient = &request.recipient;
    let asset = asset_of(network, request)?;
    let (chain, amount) = (&network.chain_id, u128::from(request.amount));
    let uri = match &asset.contract {
        Some(token) => format!("ethereum:{token}@{chain}/transfer?address={recipient}&uint256={amount}"),
        None => format!("ethereum:{recipient}@{chain}?value={amount}"),
    };
    Ok(Link { qr: uri.clone(), uri: Some(uri), more: Vec::new() })
}
