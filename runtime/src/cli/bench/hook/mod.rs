//! `hook`: merchants' hooks, from the upload to the call.
//!
//! A call is made as production makes it (a fresh instance, all limits, what it asks recorded), beside the same
//! component in bare wasmtime: a fresh instance of a pooling engine, services that answer from memory, and nothing
//! else. The two take turns every [`call::SLICE`].
//!
//! *Decide* is an event that the hook refuses after it has read it: it asks the host nothing, so this measures the cost
//! of a call itself. *Sale* gives a license key out: three questions to the storage, two writes and a webhook. Each of
//! the five is a query of SQLite, of which the bare one makes none.

mod call;
mod components;
mod many;
mod upload;

use serde_json::{Value, json};

use self::components::{Components, Language};
use super::{Bench, Busy, world};
use crate::{
    app::App,
    db::{
        disk::DiskLimit,
        hooks::{self, Limits, NewVersion},
        merchants::{self, Merchant},
    },
    domain::{
        event::{self, Kind},
        hook::Binding,
        id::{HookId, Id, MerchantId},
        policy::Policy,
        tenant::Tenant,
    },
    host::{HookVersion, OfMerchant, fulfiller},
};

/// An event that the ready hooks act on.
pub(super) const PAID: Kind = Kind::InvoicePaid;
const NOW_MS: u64 = 1_800_000_000_000;
const RUN: &str = "run_01KAN2Q5T4W2J6G0Z8Y3V7X9BC";

pub(super) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let busy = Busy::new("hook");
    busy.says("building the ready hooks");
    let components = Components::build(bench.folder("hook-components")?).await?;
    let app = world::open(&bench.folder("hook")?).await?;
    call::run(bench, &app, &components, &busy).await?;
    app.db.close().await;
    upload::run(bench, &components, &busy).await?;
    match components.of(Language::Rust) {
        Ok(wasm) => many::run(bench, wasm, &busy).await,
        Err(why) => {
            bench.report.missing("hook", "many", why);
            Ok(())
        }
    }
}

/// A hook that can be called.
pub(super) struct Installed {
    pub(super) version: HookVersion,
    pub(super) of: OfMerchant,
}

/// Admits a component and stores it as a hook of a new merchant.
pub(super) async fn install(app: &App, wasm: Vec<u8>) -> anyhow::Result<Installed> {
    let admitted = app.host.hooks().admit(wasm.clone().into()).await?;
    if let Some(code) = admitted.code {
        app.host.hooks().keep(&admitted.sha256, code).await;
    }
    let now = app.clock.now();
    let merchant = Merchant {
        id: MerchantId::new(now),
        name: "bench".to_owned(),
        operator_events: false,
        policy: Policy::default(),
        created_at: now,
        disabled_at: None,
    };
    let tenant = Tenant::live(merchant.id.clone());
    let new = NewVersion {
        name: admitted.manifest.name.clone(),
        version: admitted.manifest.version.to_string(),
        sha256: admitted.sha256,
        wasm,
        compiled: admitted.compiled,
        manifest: serde_json::to_string(&admitted.manifest)?,
        binding: Binding::default(),
    };
    let limits = Limits { hooks: 1, versions: 1, disk: DiskLimit::of_mib(0) };
    let (hook, version) = app
        .db
        .write::<_, hooks::StoreError, _>(move |conn| {
            Box::pin(async move {
                merchants::insert(conn, &merchant).await?;
                hooks::insert(conn, &tenant, new, limits, now).await
            })
        })
        .await?;
    Ok(Installed {
        version: HookVersion {
            name: hook.name,
            version: version.version,
            version_id: version.id,
            sha256: version.sha256,
            manifest: admitted.manifest.into(),
        },
        of: of_merchant(hook.id),
    })
}

/// A merchant without hosts and secrets: the hooks here have none.
pub(super) fn of_merchant(hook_id: HookId) -> OfMerchant {
    OfMerchant {
        hook_id,
        tenant: Tenant::live(MerchantId::of_body("")),
        run_id: RUN.parse().ok(),
        hosts: Vec::new(),
        secrets: std::collections::BTreeMap::new(),
    }
}

/// Event and context of a fulfiller's call.
fn told(kind: Kind, payload: String) -> (fulfiller::Event, fulfiller::Context) {
    let event = fulfiller::Event {
        id: "evt_01KAN2Q5T4W2J6G0Z8Y3V7X9BC".to_owned(),
        kind: kind.as_str().to_owned(),
        payload,
        more: Vec::new(),
    };
    let context = fulfiller::Context {
        run: RUN.to_owned(),
        attempt: 1,
        now_ms: NOW_MS,
        settings: "{}".to_owned(),
        more: Vec::new(),
    };
    (event, context)
}

/// Payload of a paid invoice, with a real one's length.
pub(super) fn paid() -> String {
    let invoice = json!({
        "id": "inv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC", "status": "paid", "exception": "none", "title": "License, one year",
        "order_id": "A-1001", "tag": "shop", "meta": { "email": "someone@example.com", "seats": 3 },
        "payable_network": "base", "payable_asset": "USDC", "base_amount_usd": "12.50", "amount": "12.50",
        "payable_amount": "12.5037", "pending_amount": "0", "credited_amount": "12.5037",
        "address": "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "memo": null, "matching": "amount",
        "payment_uri": "ethereum:0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913@8453/transfer?uint256=12503700",
        "created_at": "2027-01-15T08:00:00.000Z", "expires_at": "2027-01-15T09:00:00.000Z", "sequence": 3,
    });
    payload(PAID, &json!({ "invoice": invoice }))
}

/// Payload of an event about no invoice.
fn unmatched() -> String {
    let transfer = json!({
        "id": "trf_01KAN2Q5T4W2J6G0Z8Y3V7X9BC", "network": "base", "asset": "USDC", "amount": "12.49",
        "tx": "0x88df016429689c079f3b2f6ad39fa052532c56795b733da78a91ebe6a713944b", "ordinal": 7,
        "sender": "0x4200000000000000000000000000000000000006", "memo": null, "height": 26_412_345,
        "recipient": "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "status": "confirmed", "reason": "no_match",
        "block_time": "2027-01-15T08:00:00.000Z", "seen_at": "2027-01-15T08:00:02.000Z", "payments": [],
    });
    payload(Kind::TransferUnmatched, &json!({ "transfer": transfer }))
}

fn payload(kind: Kind, data: &Value) -> String {
    event::payload(&kind.into(), 1_800_000_000_000, data)
}
