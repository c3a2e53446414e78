//! Find: "I have paid, here is the hash".

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::App,
    flow::{
        again::AgainError,
        find::{self, Denied, FindFailed, Seen},
    },
    http::{
        auth::Merchant,
        idempotent::{Reply, remembered},
        input::check_text,
        invoices::{NETWORK, network},
        json::Json,
        openapi::routes::{Routes, routes},
        problem::{Kind, PLUGIN, Problem, sentence},
        transfers::SettledTransfer,
    },
};

/// Maximum length of a transaction id on any chain, characters.
const TX_CHARS_MAX: usize = 128;
/// Time after which a transaction that is in no block yet is worth another look, seconds.
const ASK_AGAIN_S: u64 = 30;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(find_transfers))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WantedTransaction {
    #[schema(example = "base")]
    network: String,
    /// The transaction's id (its hash), as a wallet or an explorer shows it. On TON that of any transaction or message
    /// of the payment.
    #[schema(max_length = 128)]
    tx: String,
}

/// The findings about a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum FindStatus {
    /// No block holds it: it waits to be included, was never sent, or belongs to another network.
    NotFound,
    /// It is in a block that is still to be read.
    NotReadYet,
    /// It is in a block, and moved nothing of a listed asset to an address of yours.
    NothingForYou,
    /// It moved what is listed in `transfers`.
    Found,
}

/// A transaction's block, and its transfers to your addresses.
#[derive(Debug, Serialize, ToSchema)]
struct FoundTransaction {
    status: FindStatus,
    /// The same in plain words.
    detail: String,
    /// The block that holds it.
    height: Option<i64>,
    /// Seconds until it makes sense to ask again.
    ask_again_s: Option<u64>,
    transfers: Vec<SettledTransfer>,
}

impl FoundTransaction {
    fn new(status: FindStatus, height: Option<i64>, detail: String) -> Self {
        Self { status, detail, height, ask_again_s: None, transfers: Vec::new() }
    }

    fn again_in(self, seconds: u64) -> Self {
        Self { ask_again_s: Some(seconds), ..self }
    }
}

/// Find a transaction
///
/// For a payer who says "I have paid, here is the hash". The block that holds it is read again, and what it moved to your
/// addresses is taken in as if it had just been seen: also what went to an address before that was registered. Nothing is
/// credited twice.
#[utoipa::path(post, path = "/v1/transfers/find", tag = "transfers",
    request_body = WantedTransaction, responses((status = 200, body = FoundTransaction)),
    extensions(("x-problems" = json!([
        NETWORK, PLUGIN, [Kind::TransactionMalformed, Kind::FindUnsupported, Kind::FindsLimited,
        Kind::NetworkNotStarted, Kind::NetworkFrozen, Kind::ProviderFailed]
    ]))))]
async fn find_transfers(
    merchant: Merchant,
    State(app): State<App>,
    body: Json<WantedTransaction>,
) -> Result<Reply, Problem> {
    let Json { value: WantedTransaction { network: name, tx }, once } = body;
    check_text("tx", &tx, TX_CHARS_MAX)?;
    let network = network(&app, &merchant, &name).map_err(|problem| problem.field("network"))?;
    let work = async {
        let seen = find::for_merchant(&app, &network, &merchant.tenant, &tx).await?;
        let poll_s = network.poll_ms.div_ceil(1000).max(1);
        Reply::ok(&view(&network.name, poll_s, seen))
    };
    Box::pin(remembered(&app, merchant.owner(), once, work)).await
}

fn view(network: &str, poll_s: u64, seen: Seen) -> FoundTransaction {
    match seen {
        Seen::Nowhere => {
            let detail = format!(
                "No block of {network} holds this transaction. It may still wait to be included: ask again in a minute. \
                 Otherwise it was never sent, or belongs to another network: have the payer look it up in an explorer."
            );
            FoundTransaction::new(FindStatus::NotFound, None, detail).again_in(ASK_AGAIN_S)
        }
        Seen::Moved { height, transfers } => {
            let detail = format!("It is in block {height}; what it moved to your addresses is listed.");
            let found = FoundTransaction::new(FindStatus::Found, Some(height), detail);
            FoundTransaction { transfers: transfers.into_iter().map(Into::into).collect(), ..found }
        }
        Seen::Unread { height, read_to } => {
            let soon = height - read_to <= 10;
            let detail = format!(
                "It is in block {height}, and {network} was read up to block {read_to}. Its turn comes by itself, {}.",
                if soon { "within moments" } else { "as soon as the network has caught up" }
            );
            let found = FoundTransaction::new(FindStatus::NotReadYet, Some(height), detail);
            found.again_in(if soon { poll_s } else { ASK_AGAIN_S })
        }
        Seen::Nothing { height } => {
            let detail = format!(
                "It is in block {height}, and moved nothing of a listed asset to an address of yours. It may have failed, \
                 or gone to another address, in another asset, or for another shop."
            );
            FoundTransaction::new(FindStatus::NothingForYou, Some(height), detail)
        }
    }
}

impl From<FindFailed> for Problem {
    fn from(failed: FindFailed) -> Self {
        match failed {
            FindFailed::NotAnId(why) => Self::new(Kind::TransactionMalformed, sentence(&why)).field("tx"),
            FindFailed::Unsupported => {
                let detail = "Wait for the network to be read, or ask the operator to read its blocks again.";
                Self::new(Kind::FindUnsupported, detail).field("network")
            }
            FindFailed::Denied(Denied::Limited { retry_s }) => {
                let detail = "Each search asks the network's provider. Ask for one transaction at a time.";
                Self::new(Kind::FindsLimited, detail).retry_after(retry_s)
            }
            FindFailed::Denied(Denied::Busy) => {
                Self::new(Kind::Busy, "Many look for transactions just now. Ask again in a moment.")
                    .retry_after(2)
            }
            FindFailed::Again(error) => error.into(),
        }
    }
}

impl From<AgainError> for Problem {
    fn from(error: AgainError) -> Self {
        let detail = "What it knows of a transaction is not to be had at the moment. Ask again later.";
        match error {
            AgainError::Db(error) => error.into(),
            AgainError::NotStarted => {
                let detail =
                    "Nothing of the network was read yet, so nothing can be looked for. Ask again later.";
                Self::new(Kind::NetworkNotStarted, detail).field("network").retry_after(10)
            }
            AgainError::Frozen => {
                let detail = "The network stands still until its operator decides. Ask again later.";
                Self::new(Kind::NetworkFrozen, detail).field("network").retry_after(60)
            }
            AgainError::Wait { why, ms } => {
                tracing::warn!(why, "a search for a transaction has to wait");
                Self::new(Kind::ProviderFailed, detail).retry_after(ms.div_ceil(1000).clamp(1, 60))
            }
            AgainError::Unanswered { why, .. } => {
                tracing::warn!(why, "a search for a transaction was not answered");
                Self::new(Kind::ProviderFailed, detail).retry_after(10)
            }
            AgainError::Stale => Self::internal(error),
        }
    }
}
