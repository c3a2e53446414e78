//! A payer's personal data.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    db::erasures::Erasure,
    domain::id::{ApiKeyId, InvoiceId},
    flow::resolve,
    http::{
        auth::Merchant,
        corrections::scope,
        idempotent::{Reply, remembered},
        input::PathParam,
        json::NoBody,
        openapi::routes::{Routes, routes},
        problem::{Kind, Problem},
        time::Time,
    },
};

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(erase))
}

/// That a payer's personal data was erased.
#[derive(Debug, Serialize, ToSchema)]
struct ErasureView {
    #[schema(example = "inv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    invoice_id: InvoiceId,
    /// The first time that it was asked for.
    erased_at: Time,
    /// The API key that it was done with then.
    api_key_id: ApiKeyId,
}

impl From<Erasure> for ErasureView {
    fn from(erasure: Erasure) -> Self {
        let Erasure { invoice_id, key_id, at } = erasure;
        Self { invoice_id, erased_at: Time(at), api_key_id: key_id }
    }
}

/// Erase a payer's personal data
///
/// `title`, `tag` and `meta` of an invoice that is paid, expired or cancelled, and every text that was made of them:
/// payloads of its events and of those that hooks sent because of them, answers of receivers, what hooks were given,
/// said, logged and recorded, questions to matchers, answers kept under an Idempotency-Key. What money needs stays:
/// amounts, addresses, transfers, payments, the ledger, `order_id`, and the reasons of corrections. Not reached is what
/// left this server, and what hooks have stored (see `storage` of each). Asking again does no harm.
#[utoipa::path(delete, path = "/v1/invoices/{id}/personal_data", tag = "invoices", params(("id" = String, Path)),
    responses((status = 200, body = ErasureView)),
    extensions(("x-problems" = json!([[Kind::InvoiceOpen]]))))]
async fn erase(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: NoBody,
) -> Result<Reply, Problem> {
    let id = id.id("invoice")?;
    // In a task of its own: it goes on though the client has hung up.
    let task = tokio::spawn(async move {
        let owner = merchant.owner();
        let work = async {
            let erasure = resolve::erase(&app, scope(&merchant), &id, &owner).await?;
            Reply::ok(&ErasureView::from(erasure))
        };
        remembered(&app, owner.clone(), body.once, work).await
    });
    task.await.unwrap_or_else(|error| Err(Problem::internal(error)))
}
