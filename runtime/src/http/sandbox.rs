//! The sandbox: a key makes transfers happen on a network that is its own chain.
//!
//! All merchants share the chain, as they would share a testnet. What one does is marked as this merchant's (`by`), and
//! the plugin lets it reach only what is; whom it pays is checked here, where addresses have owners.

use axum::extract::State;
use serde_json::Value;

use crate::{
    app::App,
    domain::{id::MerchantId, network::Manifest},
    flow::sandbox::{self, SandboxError},
    host::SimulateError,
    http::{
        auth::{Caller, Operator},
        idempotent::{Once, Reply, idempotent},
        input::PathParam,
        invoices::{self, NETWORK},
        json::Json,
        openapi::routes::{Routes, routes},
        problem::{Kind, PLUGIN, Problem},
    },
};

/// Maximum number of tries: another replica may act on the same chain between reading and writing.
const TRIES: u32 = 5;
/// Field of an action that names its merchant. Only the server sets it.
const BY: &str = "by";

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(simulate))
}

/// Make something happen on a sandbox network
///
/// With a test key. The action is an object with a field `do`: `{"do":"transfer","to":"sbx1…","asset":"usdt",
/// "amount":"1000000"}` (base units; `asset` is left out for the native coin), `{"do":"mine","blocks":3}`,
/// `{"do":"retract","tx":"…"}`, `{"do":"outage","ms":2000}`. The chain and its blocks are shared by all test keys of this
/// installation, as a testnet's are. What a merchant does reaches only the merchant's own: a transfer pays none of
/// another's addresses, `retract` takes back the merchant's own transactions, and during an outage (at most ten minutes)
/// the merchant's own transfers and blocks wait until it is over. A merchant has 600 actions in store and gets back 20 a
/// second. An operator's key acts on the whole chain: it takes back whatever is not final, and its outage (at most a day)
/// makes the provider fail for everybody.
#[utoipa::path(post, path = "/v1/sandbox/{network}", tag = "sandbox",
    params(("network" = String, Path)), request_body = Object, responses((status = 200, body = Object)),
    extensions(("x-problems" = json!([NETWORK, PLUGIN, [Kind::SimulationRefused, Kind::SimulationsLimited]]))))]
async fn simulate(
    caller: Caller,
    State(app): State<App>,
    name: PathParam,
    body: Json<serde_json::Map<String, Value>>,
) -> Result<Reply, Problem> {
    let name = name.name("network")?;
    let (network, owner, merchant_id) = match &caller {
        Caller::Merchant(merchant) => (
            invoices::network(&app, merchant, &name)?,
            merchant.owner(),
            Some(merchant.tenant.merchant.clone()),
        ),
        Caller::Operator(_) => {
            let network = app.networks.get(&name).ok_or_else(super::networks::missing)?;
            (network, Operator::OWNER.to_owned(), None)
        }
    };
    if !network.test {
        return Err(Problem::new(Kind::SimulationRefused, "Only a test network can be made to do things."));
    }
    let Json { value: mut action, once } = body;
    if action.contains_key(BY) {
        let detail = "by: whose an action is follows from the key. Leave it out.";
        return Err(Problem::new(Kind::FieldUnknown, detail).field(BY));
    }
    action.extend(merchant_id.clone().map(|id| (BY.to_owned(), Value::String(id.to_string()))));
    let action = Value::Object(action).to_string();
    let turn = sandbox::turn(&app, merchant_id.as_ref()).await.map_err(|limited| {
        let detail = "Do less at a time: 600 actions are in store, and 20 come back each second.";
        Problem::new(Kind::SimulationsLimited, detail).retry_after(limited.retry_s)
    })?;
    let mut reply = act(&app, &network, &action, (&owner, &once), merchant_id.as_ref()).await;
    for _ in 1..TRIES {
        if !matches!(&reply, Err(problem) if problem.kind == Kind::Busy) {
            break;
        }
        reply = act(&app, &network, &action, (&owner, &once), merchant_id.as_ref()).await;
    }
    drop(turn);
    app.wake.observe.notify_waiters();
    reply
}

async fn act(
    app: &App,
    network: &Manifest,
    action: &str,
    (owner, once): (&str, &Once),
    merchant_id: Option<&MerchantId>,
) -> Result<Reply, Problem> {
    let outcome = sandbox::simulate(app, network, action).await?;
    let (name, of) = (network.name.clone(), merchant_id.cloned());
    idempotent(
        app,
        owner.to_owned(),
        once.clone(),
        move |conn| Box::pin(async move { sandbox::commit(conn, &name, of.as_ref(), outcome).await }),
        |answer| Reply::ok(&answer),
    )
    .await
}

impl From<SandboxError> for Problem {
    fn from(error: SandboxError) -> Self {
        match error {
            SandboxError::Db(error) => error.into(),
            SandboxError::Plugin(failed) => failed.into(),
            SandboxError::Refused(error) => refused(error),
            SandboxError::Unreadable(error) => Self::internal(error),
            SandboxError::NotYours => {
                let detail = "to: it is a receive address of another merchant's. Pay one of your own.";
                Self::new(Kind::SimulationRefused, detail).field("to")
            }
        }
    }
}

fn refused(error: SimulateError) -> Problem {
    let detail = match error {
        SimulateError::Malformed(why) | SimulateError::Other(why) => {
            format!("This cannot be done: {why:.300}.")
        }
        SimulateError::NotFound(what) => {
            format!("There is no transaction {what:.100} of yours that can be taken back.")
        }
        SimulateError::TooDeep(why) => format!("That is final already: {why:.300}."),
        SimulateError::Storage(why) => return Problem::internal(why),
    };
    Problem::new(Kind::SimulationRefused, detail)
}
