//! Payment links of EIP-681 (<https://eips.ethereum.org/EIPS/eip-681>).

use kassa_sdk::chain::{Link, PaymentRequest};
use kassa_sdk::types::Network;

pub(crate) fn payment_link(network: &Network, request: &PaymentRequest) -> Link {
    let recipient = &request.recipient;
    let asset = usize::try_from(request.asset).ok().and_then(|place| network.assets.get(place));
    let Some(asset) = asset else { return Link { uri: None, qr: recipient.clone() } };
    let (chain, amount) = (&network.chain_id, u128::from(request.amount));
    let uri = match &asset.contract {
        Some(token) => format!("ethereum:{token}@{chain}/transfer?address={recipient}&uint256={amount}"),
        None => format!("ethereum:{recipient}@{chain}?value={amount}"),
    };
    Link { qr: uri.clone(), uri: Some(uri) }
}
