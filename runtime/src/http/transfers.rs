//! Transfers: what moved on chain towards the merchant's addresses, and what became of it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    db::transfers::{Filter, Listed as Transfer},
    domain::{
        id::{InvoiceId, PaymentId, TransferId},
        near::NearMiss,
        view::{InvoiceView, Names, TransferView},
    },
    flow::{
        resolve::{self, Decision},
        resources,
    },
    http::{
        auth::Merchant,
        corrections::{CorrectionView, Reason, check_why, scope},
        idempotent::{Reply, idempotent},
        input::{PathParam, Query},
        json::{Answer, Json, MaybeJson},
        openapi::routes::{Routes, routes},
        page::{Listed, Page},
        problem::{Kind, Problem},
    },
};

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(assign))
        .routes(routes!(dismiss))
        .routes(routes!(unassign))
        .routes(routes!(undismiss))
}

/// A payment of a transfer.
#[derive(Debug, Serialize, ToSchema)]
struct PaidView {
    payment_id: PaymentId,
    /// None: a deposit to a customer's address.
    invoice_id: Option<InvoiceId>,
    amount: String,
}

/// A transfer, and what it pays or why it pays nothing.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SettledTransfer {
    #[serde(flatten)]
    transfer: TransferView,
    /// What it pays: mostly one payment, several if a hook divided it.
    payments: Vec<PaidView>,
    /// The invoice that it may be meant for, if it pays nothing by itself.
    invoice_id: Option<InvoiceId>,
    /// Why it pays nothing by itself.
    reason: Option<String>,
    /// Of one that has a reason: `open`, `assigned` or `dismissed`.
    state: Option<String>,
    /// Open invoices that it could be meant for, as they stood when it was listed: at most five, the likeliest first.
    near_misses: Vec<NearMiss>,
    /// What was decided about it by hand, the oldest first.
    corrections: Vec<CorrectionView>,
}

impl From<Transfer> for SettledTransfer {
    fn from(row: Transfer) -> Self {
        let names = Names { address: &row.address, symbol: &row.symbol, decimals: row.decimals };
        let paid = row.paid.into_iter().map(|paid| PaidView {
            amount: paid.amount.to_decimal(row.decimals),
            payment_id: paid.payment_id,
            invoice_id: paid.invoice_id,
        });
        Self {
            transfer: TransferView::new(&row.transfer, names),
            payments: paid.collect(),
            invoice_id: row.invoice_id,
            reason: row.reason,
            state: row.state,
            near_misses: row.near,
            corrections: row.corrections.into_iter().map(Into::into).collect(),
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TransferState {
    /// Those that pay nothing and wait for a person.
    Unmatched,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TransferParams {
    /// How many to give, from 1 to 100; 25 if not said.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    #[param(inline)]
    state: Option<TransferState>,
}

/// List transfers
#[utoipa::path(get, path = "/v1/transfers", tag = "transfers",
    params(TransferParams), responses((status = 200, body = Listed<SettledTransfer>)))]
async fn list(
    merchant: Merchant,
    State(app): State<App>,
    Query(params): Query<TransferParams>,
) -> Result<Answer<Listed<SettledTransfer>>, Problem> {
    let page = Page::<TransferId>::new(params.limit, params.cursor.as_deref())?;
    let filter = Filter { unmatched: params.state.is_some() };
    let rows = resources::list::<Transfer>(&app, &merchant.tenant, filter, page.span()).await?;
    Ok(Answer(page.cut(rows, |row| &row.transfer.id, Into::into)))
}

/// Get a transfer
#[utoipa::path(get, path = "/v1/transfers/{id}", tag = "transfers",
    params(("id" = String, Path)), responses((status = 200, body = SettledTransfer)))]
async fn get(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
) -> Result<Answer<SettledTransfer>, Problem> {
    let id = id.id("transfer")?;
    Ok(Answer(resources::get::<Transfer>(&app, &merchant.tenant, &id).await?.into()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Assignment {
    invoice_id: String,
    /// Kept with it, for those who wonder later.
    #[schema(max_length = 500)]
    why: Option<String>,
}

/// Assign a transfer to an invoice
///
/// For one that pays nothing by itself. It then pays the invoice, whose exception becomes `manual`. It can be taken back
/// (`unassign`).
#[utoipa::path(post, path = "/v1/transfers/{id}/assign", tag = "transfers",
    params(("id" = String, Path)), request_body = Assignment, responses((status = 200, body = InvoiceView)),
    extensions(("x-problems" = json!([[Kind::TransferResolved, Kind::TransferRetracted, Kind::AssignmentRefused]]))))]
async fn assign(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: Json<Assignment>,
) -> Result<Reply, Problem> {
    let id = id.id("transfer")?;
    let Json { value: Assignment { invoice_id, why }, once } = body;
    check_why(why.as_deref())?;
    let invoice_id: InvoiceId = invoice_id.parse().map_err(|_| Problem::not_found("invoice"))?;
    let (scope, now) = (scope(&merchant), app.clock.now());
    let assign = idempotent(
        &app,
        merchant.owner(),
        once,
        move |conn| Box::pin(async move { resolve::assign(conn, &scope, &id, &invoice_id, why, now).await }),
        |invoice| Reply::ok(&InvoiceView::from(&invoice)),
    );
    let reply = assign.await;
    app.wake.dispatch.notify_one();
    reply
}

/// Set a transfer aside
///
/// For one that pays nothing by itself and shall pay nothing. It leaves the list of unmatched transfers. It can be taken
/// back (`undismiss`).
#[utoipa::path(post, path = "/v1/transfers/{id}/dismiss", tag = "transfers", params(("id" = String, Path)),
    request_body = Reason, responses((status = 200, body = SettledTransfer)),
    extensions(("x-problems" = json!([[Kind::TransferResolved]]))))]
async fn dismiss(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: MaybeJson<Reason>,
) -> Result<Reply, Problem> {
    decide(merchant, app, id, body, Decision::Dismiss).await
}

/// Take an assignment back
///
/// For a transfer that was assigned by hand: what was credited is reversed, the invoice is what it is without it, and the
/// transfer is listed as unmatched again. Whoever was told that the invoice is paid is told `invoice.reverted`.
#[utoipa::path(post, path = "/v1/transfers/{id}/unassign", tag = "corrections", params(("id" = String, Path)),
    request_body = Reason, responses((status = 200, body = SettledTransfer)),
    extensions(("x-problems" = json!([[Kind::TransferNotAssigned]]))))]
async fn unassign(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: MaybeJson<Reason>,
) -> Result<Reply, Problem> {
    decide(merchant, app, id, body, Decision::Unassign).await
}

/// Take back that a transfer was set aside
///
/// It is listed as unmatched again.
#[utoipa::path(post, path = "/v1/transfers/{id}/undismiss", tag = "corrections", params(("id" = String, Path)),
    request_body = Reason, responses((status = 200, body = SettledTransfer)),
    extensions(("x-problems" = json!([[Kind::TransferNotDismissed]]))))]
async fn undismiss(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: MaybeJson<Reason>,
) -> Result<Reply, Problem> {
    decide(merchant, app, id, body, Decision::Undismiss).await
}

async fn decide(
    merchant: Merchant,
    app: App,
    id: PathParam,
    body: MaybeJson<Reason>,
    decision: Decision,
) -> Result<Reply, Problem> {
    let id = id.id("transfer")?;
    let why = body.value.checked()?;
    let (scope, now) = (scope(&merchant), app.clock.now());
    let decide = idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| Box::pin(async move { resolve::decide(conn, &scope, &id, decision, why, now).await }),
        |transfer| Reply::ok(&SettledTransfer::from(transfer)),
    );
    let reply = decide.await;
    app.wake.dispatch.notify_one();
    reply
}
