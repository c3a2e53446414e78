//! Events: what happened, as webhooks tell it. Whoever has missed some reads them here.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    db::events::Event,
    domain::{
        event,
        id::{EventId, InvoiceId, TransferId},
        verbatim::Verbatim,
    },
    flow::resources,
    http::{
        auth::Merchant,
        input::{PathParam, Query, named},
        json::Answer,
        openapi::routes::{Routes, routes},
        page::{Listed, Page},
        problem::Problem,
        time::Time,
    },
};

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(list)).routes(routes!(get))
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
struct EventView {
    /// The `webhook-id` of its deliveries: what to recognise a repetition by.
    #[schema(example = "evt_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    id: EventId,
    r#type: event::Type,
    invoice_id: Option<InvoiceId>,
    transfer_id: Option<TransferId>,
    /// Counts the events of an invoice, from 1; 0 without an invoice. They are delivered in this order.
    sequence: i64,
    created_at: Time,
    /// What is sent: `{"type", "timestamp", "data"}`.
    #[schema(value_type = Object)]
    payload: Verbatim,
}

impl TryFrom<Event> for EventView {
    type Error = Problem;

    fn try_from(event: Event) -> Result<Self, Problem> {
        Ok(Self {
            payload: Verbatim::of_text(event.payload).map_err(Problem::internal)?,
            id: event.id,
            r#type: event.kind,
            invoice_id: event.invoice_id,
            transfer_id: event.transfer_id,
            sequence: event.sequence,
            created_at: Time(event.created_at),
        })
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventParams {
    /// How many to give, from 1 to 100; 25 if not said.
    #[param(minimum = 1, maximum = 100, default = 25)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only those of this invoice.
    invoice_id: Option<String>,
}

/// List events
#[utoipa::path(get, path = "/v1/events", tag = "webhooks", params(EventParams),
    responses((status = 200, body = Listed<EventView>)))]
async fn list(
    merchant: Merchant,
    State(app): State<App>,
    Query(params): Query<EventParams>,
) -> Result<Answer<Listed<EventView>>, Problem> {
    let page = Page::<EventId>::new(params.limit, params.cursor.as_deref())?;
    let rows = resources::list::<Event>(
        &app,
        &merchant.tenant,
        params.invoice_id.as_deref().map(named),
        page.span(),
    )
    .await?;
    let Listed { data, next_cursor } = page.cut(rows, |row| &row.id, EventView::try_from);
    Ok(Answer(Listed { data: data.into_iter().collect::<Result<_, _>>()?, next_cursor }))
}

/// Get an event
#[utoipa::path(get, path = "/v1/events/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, body = EventView)))]
async fn get(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
) -> Result<Answer<EventView>, Problem> {
    let id = id.id("event")?;
    Ok(Answer(resources::get::<Event>(&app, &merchant.tenant, &id).await?.try_into()?))
}
