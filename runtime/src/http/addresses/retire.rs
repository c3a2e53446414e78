//! Addresses that are no longer given out, and given out again.

use axum::extract::State;

use super::AddressView;
use crate::{
    app::App,
    flow::resolve,
    http::{
        auth::Merchant,
        corrections::{Reason, scope},
        idempotent::{Reply, idempotent},
        input::PathParam,
        json::MaybeJson,
        openapi::routes::{Routes, routes},
        problem::{Kind, Problem},
    },
};

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(retire)).routes(routes!(unretire))
}

/// Retire a receive address
///
/// For one with a mistake in it, or one that shall be replaced. A shared address, or a customer's, is no longer given out;
/// make another in its place. It stays watched, and invoices that were made on it keep it.
#[utoipa::path(post, path = "/v1/receive_addresses/{id}/retire", tag = "receive addresses", params(("id" = String, Path)),
    request_body = Reason, responses((status = 200, body = AddressView)),
    extensions(("x-problems" = json!([[Kind::AddressState, Kind::AddressTaken]]))))]
async fn retire(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: MaybeJson<Reason>,
) -> Result<Reply, Problem> {
    change(merchant, app, id, body, false).await
}

/// Give a retired address out again
///
/// While no other one has its place.
#[utoipa::path(post, path = "/v1/receive_addresses/{id}/unretire", tag = "receive addresses",
    params(("id" = String, Path)), request_body = Reason, responses((status = 200, body = AddressView)),
    extensions(("x-problems" = json!([[Kind::AddressState, Kind::AddressTaken]]))))]
async fn unretire(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: MaybeJson<Reason>,
) -> Result<Reply, Problem> {
    change(merchant, app, id, body, true).await
}

async fn change(
    merchant: Merchant,
    app: App,
    id: PathParam,
    body: MaybeJson<Reason>,
    given_out: bool,
) -> Result<Reply, Problem> {
    let id = id.id("receive address")?;
    let why = body.value.checked()?;
    let (scope, now) = (scope(&merchant), app.clock.now());
    idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| Box::pin(async move { resolve::give_out(conn, &scope, &id, given_out, why, now).await }),
        |row| Reply::ok(&AddressView::from(row)),
    )
    .await
}
