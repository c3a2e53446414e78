//! Tests of what several modules of the domain do together.

mod events;
mod observation;
mod rescan;
mod settlement;

use super::{
    invoice::{Exception, Invoice, Matching, Status as InvoiceStatus},
    money::Amount,
    network::Manifest,
    policy::Policy,
    tenant::Tenant,
    transfer::{Status, Transfer},
};

fn network(credit: i64) -> Manifest {
    serde_json::from_value(serde_json::json!({
        "name": "net", "title": "Net", "caip2": "eip155:1", "plugin": "evm", "credit": credit, "poll_ms": 1000,
        "asset": [{"symbol": "USDC", "name": "USD Coin", "contract": "0xc", "decimals": 6}],
    }))
    .unwrap()
}

fn transfer(id: &str, amount: u128) -> Transfer {
    Transfer {
        id: id.into(),
        network: "net".to_owned(),
        kind: crate::domain::transfer::Kind::Seen,
        tx: format!("tx-{id}"),
        ordinal: 1,
        asset_id: "net:0xc".to_owned(),
        address_id: "adr".into(),
        merchant_id: "mer".into(),
        sender: None,
        amount: Some(Amount(amount)),
        memo: None,
        memo_problem: None,
        height: 101,
        block_hash: "101".to_owned(),
        block_time: 1_500_000,
        status: Status::Included,
        epoch: 1,
        seen_at: 1_500_000,
        seq: 101,
    }
}

fn invoice(id: &str, due: u128) -> Invoice {
    Invoice {
        id: id.into(),
        tenant: Tenant::live("mer"),
        order_id: None,
        title: "t".to_owned(),
        tag: None,
        meta: None,
        network: "net".to_owned(),
        asset_id: "net:0xc".to_owned(),
        symbol: "USDC".to_owned(),
        decimals: 6,
        address_id: "adr".into(),
        address: "0xa".to_owned(),
        matching: Matching::Address,
        memo: None,
        currency: None,
        price: None,
        amount: Amount(due),
        due: Amount(due),
        status: InvoiceStatus::New,
        exception: Exception::None,
        pending: Amount::ZERO,
        credited: Amount::ZERO,
        marked: Amount::ZERO,
        sequence: 0,
        payment_uri: None,
        policy: Policy::default(),
        sighted: 100,
        created_at: 1_000_000,
        expires_at: 2_000_000,
        held_until: 3_000_000,
        pinned: true,
        expired_at: None,
        cancelled_at: None,
        paid_at: None,
    }
}
