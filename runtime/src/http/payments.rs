//! Payments: transfers and what they pay.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    db::payments::Listed as Payment,
    domain::{
        id::PaymentId,
        view::{Names, PaymentView},
    },
    flow::resources,
    http::{
        auth::Merchant,
        input::{PathParam, Query, named},
        json::Answer,
        openapi::routes::{Routes, routes},
        page::{Listed, Page},
        problem::Problem,
    },
};

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(list)).routes(routes!(get))
}

/// A payment and where it is on chain.
#[derive(Debug, Serialize, ToSchema)]
struct PlacedPayment {
    #[serde(flatten)]
    payment: PaymentView,
    network: String,
    /// None: it is of a `rise`.
    tx_hash: Option<String>,
    height: i64,
}

impl From<Payment> for PlacedPayment {
    fn from(row: Payment) -> Self {
        let names = Names { address: &row.address, symbol: &row.symbol, decimals: row.decimals };
        Self {
            payment: PaymentView::new(&row.payment, names),
            network: row.network,
            tx_hash: row.tx,
            height: row.height,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PaymentParams {
    /// How many to give, from 1 to 100; 25 if not said.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only those of this invoice.
    invoice_id: Option<String>,
}

/// List payments
#[utoipa::path(get, path = "/v1/payments", tag = "payments",
    params(PaymentParams), responses((status = 200, body = Listed<PlacedPayment>)))]
async fn list(
    merchant: Merchant,
    State(app): State<App>,
    Query(params): Query<PaymentParams>,
) -> Result<Answer<Listed<PlacedPayment>>, Problem> {
    let page = Page::<PaymentId>::new(params.limit, params.cursor.as_deref())?;
    let rows = resources::list::<Payment>(
        &app,
        &merchant.tenant,
        params.invoice_id.as_deref().map(named),
        page.span(),
    )
    .await?;
    Ok(Answer(page.cut(rows, |row| &row.payment.id, Into::into)))
}

/// Get a payment
#[utoipa::path(get, path = "/v1/payments/{id}", tag = "payments",
    params(("id" = String, Path)), responses((status = 200, body = PlacedPayment)))]
async fn get(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
) -> Result<Answer<PlacedPayment>, Problem> {
    let id = id.id("payment")?;
    Ok(Answer(resources::get::<Payment>(&app, &merchant.tenant, &id).await?.into()))
}
