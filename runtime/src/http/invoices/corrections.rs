//! Corrections of an invoice by a person: it was paid in a way that is not seen here, or it gets more time.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{AMOUNT, EXPIRES_IN_S, EXPIRES_IN_S_MAX, EXPIRES_IN_S_MIN, amount_of};
use crate::{
    app::App,
    domain::{Millis, correction::Evidence, invoice::Invoice, view::InvoiceView},
    flow::{
        resolve::{self, Deadline, Marking},
        resources,
    },
    http::{
        auth::Merchant,
        corrections::{Reason, check_why, scope},
        idempotent::{Reply, idempotent},
        input::{PathParam, check_text},
        json::{Decimal, Json, MaybeJson},
        openapi::routes::{Routes, routes},
        problem::{Kind, Problem},
        time::Time,
    },
};

const TX_CHARS_MAX: usize = 200;
const EVIDENCE_CHARS_MAX: usize = 500;

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(mark_paid))
        .routes(routes!(unmark))
        .routes(routes!(extend))
        .routes(routes!(reopen))
}

/// That an invoice was paid in a way that is not seen here.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MarkPaid {
    /// In whole units of the asset; what is missing if it is left out.
    #[schema(value_type = Option<String>, example = "25.00")]
    amount: Option<Decimal>,
    /// Kept with it, for those who wonder later.
    #[schema(max_length = 500)]
    why: String,
    /// What shows that it was paid.
    evidence: Evidence,
}

fn check_evidence(evidence: &Evidence) -> Result<(), Problem> {
    if let Some(tx) = &evidence.tx {
        let plain = !tx.is_empty() && tx.len() <= TX_CHARS_MAX && tx.bytes().all(|b| b.is_ascii_graphic());
        if !plain {
            let detail = format!("evidence.tx: 1 to {TX_CHARS_MAX} visible characters of ASCII.");
            return Err(Problem::new(Kind::FieldMalformed, detail).field("evidence.tx"));
        }
    }
    if let Some(text) = &evidence.text {
        check_text("evidence.text", text, EVIDENCE_CHARS_MAX)?;
    }
    if evidence.tx.is_none() && evidence.text.is_none() {
        let detail = "evidence: give the hash of the transaction as `tx`, or what else shows it as `text`.";
        return Err(Problem::new(Kind::FieldMissing, detail).field("evidence.text"));
    }
    Ok(())
}

/// Reads the invoice.
async fn found(app: &App, merchant: &Merchant, id: PathParam) -> Result<Invoice, Problem> {
    let id = id.id("invoice")?;
    Ok(resources::get::<Invoice>(app, &merchant.tenant, &id).await?)
}

/// The answer that shows how an invoice stands after a correction.
fn shown(invoice: &Invoice, now: Millis) -> Result<Reply, Problem> {
    Reply::ok(&InvoiceView::at(invoice, now))
}

/// Mark an invoice as paid
///
/// For one that was paid in a way that is not seen here: to another address, through a contract, in cash. It counts as
/// credited, with the exception `manual`, and can be taken back (`unmark`). Once only: a second mark is refused. A
/// transaction that is listed as a transfer is assigned instead. If the same payment is seen on chain later, it is listed
/// as `already_paid` (or, on an address of the invoice's own, counted on top: take the mark back then).
#[utoipa::path(post, path = "/v1/invoices/{id}/mark_paid", tag = "corrections", params(("id" = String, Path)),
    request_body = MarkPaid, responses((status = 200, body = InvoiceView)),
    extensions(("x-problems" = json!([
        AMOUNT, [Kind::MarkedAlready, Kind::InvoiceClosed, Kind::TransactionSeen, Kind::PaymentOnItsWay]
    ]))))]
async fn mark_paid(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: Json<MarkPaid>,
) -> Result<Reply, Problem> {
    let Json { value: MarkPaid { amount, why, evidence }, once } = body;
    check_why(Some(&why))?;
    check_evidence(&evidence)?;
    let invoice = found(&app, &merchant, id).await?;
    let amount = amount.map(|amount| amount_of("amount", &amount, invoice.decimals)).transpose()?;
    let marking = Marking { amount, why, evidence };
    let (scope, now) = (scope(&merchant), app.clock.now());
    let mark_paid = idempotent(
        &app,
        merchant.owner(),
        once,
        move |conn| {
            Box::pin(async move { resolve::mark_paid(conn, &scope, &invoice.id, marking, now).await })
        },
        move |invoice| shown(&invoice, now),
    );
    let reply = mark_paid.await;
    app.wake.dispatch.notify_one();
    reply
}

/// Take back that an invoice was marked as paid
///
/// What was marked is reversed; payments that were seen stay.
#[utoipa::path(post, path = "/v1/invoices/{id}/unmark", tag = "corrections", params(("id" = String, Path)),
    request_body = Reason, responses((status = 200, body = InvoiceView)),
    extensions(("x-problems" = json!([[Kind::NotMarked]]))))]
async fn unmark(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: MaybeJson<Reason>,
) -> Result<Reply, Problem> {
    let id = id.id("invoice")?;
    let why = body.value.checked()?;
    let (scope, now) = (scope(&merchant), app.clock.now());
    let unmark = idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| Box::pin(async move { resolve::unmark(conn, &scope, &id, why, now).await }),
        move |invoice| shown(&invoice, now),
    );
    let reply = unmark.await;
    app.wake.dispatch.notify_one();
    reply
}

/// Another deadline. Give one of the two.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewDeadline {
    /// Seconds from now, from 60 to 2592000 (30 days).
    #[schema(minimum = 60, maximum = 2_592_000)]
    expires_in_s: Option<i64>,
    /// When, by the time of the chain's blocks; at most 30 days ahead.
    expires_at: Option<Time>,
    /// Kept with it, for those who wonder later.
    #[schema(max_length = 500)]
    why: Option<String>,
}

impl NewDeadline {
    fn read(&self, app: &App, invoice: &Invoice) -> Result<Deadline, Problem> {
        check_why(self.why.as_deref())?;
        let network = app.networks.get(&invoice.network);
        let now = network.map_or(app.clock.now(), |network| app.chain_clock.moment(&network).at);
        let refused = |field: &str, detail: String| Problem::new(Kind::DeadlineRefused, detail).field(field);
        let at = match (self.expires_in_s, self.expires_at) {
            (None, None) => None,
            (Some(seconds), None) => {
                if !(EXPIRES_IN_S_MIN..=EXPIRES_IN_S_MAX).contains(&seconds) {
                    let detail = format!("expires_in_s is from {EXPIRES_IN_S_MIN} to {EXPIRES_IN_S_MAX}.");
                    return Err(refused("expires_in_s", detail));
                }
                Some(now.saturating_add(seconds.saturating_mul(1000)))
            }
            (None, Some(Time(at))) => {
                let ahead = at.saturating_sub(now);
                if !(EXPIRES_IN_S_MIN * 1000..=EXPIRES_IN_S_MAX * 1000).contains(&ahead) {
                    let detail = format!(
                        "expires_at is from {EXPIRES_IN_S_MIN} to {EXPIRES_IN_S_MAX} seconds ahead, by the chain's time."
                    );
                    return Err(refused("expires_at", detail));
                }
                Some(at)
            }
            (Some(_), Some(_)) => {
                return Err(refused("expires_at", "Give either expires_in_s or expires_at.".to_owned()));
            }
        };
        Ok(Deadline { at, now, usual_ms: EXPIRES_IN_S * 1000 })
    }
}

/// Extend an invoice
///
/// An open one gets a later deadline; what tells its payment apart is held as much longer. The payer's link stays.
#[utoipa::path(post, path = "/v1/invoices/{id}/extend", tag = "corrections", params(("id" = String, Path)),
    request_body = NewDeadline, responses((status = 200, body = InvoiceView)),
    extensions(("x-problems" = json!([[Kind::InvoiceClosed, Kind::DeadlineRefused]]))))]
async fn extend(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: Json<NewDeadline>,
) -> Result<Reply, Problem> {
    let Json { value, once } = body;
    let invoice = found(&app, &merchant, id).await?;
    let deadline = value.read(&app, &invoice)?;
    if deadline.at.is_none() {
        let detail = "Give the new deadline: expires_in_s, or expires_at.";
        return Err(Problem::new(Kind::FieldMissing, detail).field("expires_in_s"));
    }
    let (scope, now) = (scope(&merchant), app.clock.now());
    let extend = idempotent(
        &app,
        merchant.owner(),
        once,
        move |conn| {
            Box::pin(
                async move { resolve::extend(conn, &scope, &invoice.id, deadline, value.why, now).await },
            )
        },
        move |invoice| shown(&invoice, now),
    );
    let reply = extend.await;
    app.wake.dispatch.notify_one();
    reply
}

/// Reopen an invoice
///
/// One that expired or was cancelled can be paid again, while what tells its payment apart is still held for it; after
/// that only a new invoice is safe. Without a deadline it keeps its own if that is ahead, and has an hour if not.
#[utoipa::path(post, path = "/v1/invoices/{id}/reopen", tag = "corrections", params(("id" = String, Path)),
    request_body = NewDeadline, responses((status = 200, body = InvoiceView)),
    extensions(("x-problems" = json!([
        [Kind::InvoiceClosed, Kind::DeadlineRefused, Kind::OrderIdTaken, Kind::HeldNoMore]
    ]))))]
async fn reopen(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: MaybeJson<NewDeadline>,
) -> Result<Reply, Problem> {
    let MaybeJson { value, once } = body;
    let invoice = found(&app, &merchant, id).await?;
    let deadline = value.read(&app, &invoice)?;
    let (scope, now) = (scope(&merchant), app.clock.now());
    let reopen = idempotent(
        &app,
        merchant.owner(),
        once,
        move |conn| {
            Box::pin(
                async move { resolve::reopen(conn, &scope, &invoice.id, deadline, value.why, now).await },
            )
        },
        move |invoice| shown(&invoice, now),
    );
    let reply = reopen.await;
    app.wake.dispatch.notify_one();
    reply
}
