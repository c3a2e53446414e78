//! Actions on a network that is its own chain: the plugin says what they change, and that is committed.

use serde_json::Value;

use super::simulations::{Limited, Turn};
use crate::{
    app::App,
    db::{
        Conn, DbError, addresses,
        plugin_storage::{self, StorageWrites},
    },
    domain::{id::MerchantId, network::Manifest},
    host::{CallFailed, Called, SimulateError},
};

/// Why an action is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Plugin(#[from] CallFailed),
    #[error("the plugin refuses the action: {0:?}")]
    Refused(SimulateError),
    /// The plugin's answer is no JSON (a defect).
    #[error(transparent)]
    Unreadable(#[from] serde_json::Error),
    /// It pays another merchant.
    #[error("it is a receive address of another merchant's")]
    NotYours,
}

/// What an action would do.
#[derive(Debug)]
pub(crate) struct Outcome {
    answer: Value,
    writes: StorageWrites,
}

/// Waits for the turn of a merchant, or of the operator.
pub(crate) async fn turn(app: &App, merchant_id: Option<&MerchantId>) -> Result<Turn, Limited> {
    match merchant_id {
        None => Ok(app.simulations.turn().await),
        Some(id) => app.simulations.turn_of(id, app.clock.passed()).await,
    }
}

/// Asks the plugin what an action does to the chain as it is.
pub(crate) async fn simulate(app: &App, network: &Manifest, action: &str) -> Result<Outcome, SandboxError> {
    let Called { value, writes, .. } = app.host.simulate(network, action).await?;
    Ok(Outcome { answer: serde_json::from_str(&value.map_err(SandboxError::Refused)?)?, writes })
}

/// Commits what an action does. Errors if it pays another merchant than the one who acts. Returns the plugin's answer.
pub(crate) async fn commit(
    conn: &mut Conn,
    network: &str,
    merchant_id: Option<&MerchantId>,
    Outcome { answer, writes }: Outcome,
) -> Result<Value, SandboxError> {
    if let (Some(merchant_id), Some(to)) = (merchant_id, answer.get("to").and_then(Value::as_array)) {
        let to: Vec<String> = to.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let known = addresses::by_address(conn, network, &to).await?;
        if known.values().any(|address| address.merchant_id != *merchant_id) {
            return Err(SandboxError::NotYours);
        }
    }
    plugin_storage::apply(conn, &writes).await?;
    Ok(answer)
}
