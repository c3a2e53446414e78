//! The sandbox: a test key makes transfers happen on a network that is its own chain.

use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Merchant,
    idempotent::{Reply, idempotent},
    input::PathParam,
    invoices::network,
    json::Json,
    problem::{Kind, Problem},
};
use crate::{app::App, db::plugin_storage, host::SimulateError};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(simulate))
}

/// Make something happen on a sandbox network
///
/// Only with a test key. The action is an object with a field `do`: `{"do":"transfer","to":"sbx1…","asset":"usdt",
/// "amount":"1000000"}` (base units; `asset` is left out for the native coin), `{"do":"mine","blocks":3}`,
/// `{"do":"retract","tx":"…"}`, `{"do":"outage","ms":2000}`. The sandbox chain is shared by all test keys of this
/// installation, as a testnet is.
#[utoipa::path(post, path = "/v1/sandbox/{network}", tag = "sandbox",
    params(("network" = String, Path)), request_body = Object, responses((status = 200, body = Object)))]
async fn simulate(
    merchant: Merchant,
    State(app): State<App>,
    name: PathParam,
    body: Json<serde_json::Map<String, serde_json::Value>>,
) -> Result<Reply, Problem> {
    let network = network(&app, &merchant, &name.name("network")?)?;
    if !network.test {
        return Err(Problem::new(Kind::SimulationRefused, "Only a test network can be made to do things."));
    }
    let action = serde_json::Value::Object(body.value).to_string();
    // Its chain lives in the plugin's storage: one action at a time, each on what the one before left.
    let turn = app.simulations.lock().await;
    let called = app.host.simulate(&network, &action).await?;
    let answer = called.value.map_err(refused)?;
    let writes = called.writes;
    let reply = idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            plugin_storage::apply(conn, &writes).await?;
            let answer: serde_json::Value = serde_json::from_str(&answer).map_err(Problem::internal)?;
            Reply::ok(&answer)
        })
    })
    .await;
    drop(turn);
    app.wake.observe.notify_waiters();
    reply
}

fn refused(error: SimulateError) -> Problem {
    let detail = match error {
        SimulateError::Malformed(why) => format!("This is no action: {why:.300}."),
        SimulateError::NotFound(what) => format!("There is no {what:.300}."),
        SimulateError::TooDeep(why) => format!("That is final already: {why:.300}."),
        SimulateError::Storage(why) => return Problem::internal(why),
    };
    Problem::new(Kind::SimulationRefused, detail)
}
