//! Rescans: blocks that the operator wants to be read again.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::App,
    db::rescans::Rescan,
    domain::{id::RescanId, rescan::State as RescanState},
    flow::rescan::order::{self, CancelError, Order, Refused, Start},
    http::{
        auth::Operator,
        idempotent::{Reply, idempotent},
        input::{PathParam, Query},
        json::{Answer, Json},
        networks::missing,
        openapi::routes::{Routes, routes},
        page::{Listed, PageParams},
        problem::{Kind, Problem, sentence},
        time::Time,
    },
};

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(start, list)).routes(routes!(cancel))
}

/// Blocks that are read again.
#[derive(Debug, Serialize, ToSchema)]
struct RescanView {
    #[schema(example = "rsc_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    id: RescanId,
    #[schema(example = "base")]
    network: String,
    state: RescanState,
    /// The time that it was asked to begin at, if it was.
    since: Option<Time>,
    /// Its first block. None: the block of that time is still looked for.
    from: Option<i64>,
    /// Its last block.
    to: i64,
    /// The block that is read next; what lies below is read.
    next: Option<i64>,
    /// Blocks that are read, and all of them.
    read: i64,
    blocks: Option<i64>,
    /// Transfers that were found and not known before.
    found: i64,
    /// Why it failed, or what holds it up.
    error: Option<String>,
    created_at: Time,
    done_at: Option<Time>,
}

impl From<Rescan> for RescanView {
    fn from(rescan: Rescan) -> Self {
        let read = rescan.from.zip(rescan.next).map_or(0, |(from, next)| next - from);
        Self {
            blocks: rescan.from.map(|from| rescan.to - from + 1),
            id: rescan.id,
            network: rescan.network,
            state: rescan.state,
            since: rescan.since.map(Time),
            from: rescan.from,
            to: rescan.to,
            next: rescan.next,
            read,
            found: rescan.found,
            error: rescan.error,
            created_at: Time(rescan.created_at),
            done_at: rescan.done_at.map(Time),
        }
    }
}

/// Which blocks to read again. Give either `from` or `since`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRescan {
    /// Height of the first block.
    #[schema(minimum = 1, example = 41_000_000)]
    from: Option<i64>,
    /// Begins with the first block that is not older.
    since: Option<Time>,
    /// Height of the last block; the last one that was read if it is left out.
    #[schema(minimum = 1)]
    to: Option<i64>,
}

impl NewRescan {
    fn order(&self) -> Result<Order, Problem> {
        let start = match (self.from, self.since) {
            (Some(from), None) => Start::Height(from),
            (None, Some(Time(since))) => Start::Time(since),
            (None, None) => {
                let detail = "from: say where to begin, by a height in `from` or a time in `since`.";
                return Err(Problem::new(Kind::FieldMissing, detail).field("from"));
            }
            (Some(_), Some(_)) => {
                let detail = "since: give either `from` or `since`.";
                return Err(Problem::new(Kind::FieldMalformed, detail).field("since"));
            }
        };
        Ok(Order { start, to: self.to })
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Db(error) => error.into(),
            Refused::NoNetwork => missing(),
            Refused::Disabled => {
                Self::new(Kind::NetworkDisabled, "Enable the network first: a disabled one is not read.")
            }
            Refused::NotStarted => {
                let detail = "There is nothing to read again: no provider of the network has answered yet.";
                Self::new(Kind::NetworkNotStarted, detail).retry_after(10)
            }
            Refused::Frozen(why) => Self::new(
                Kind::NetworkFrozen,
                format!("The network is frozen: {why}. Look at it and unfreeze the network first."),
            ),
            Refused::Range { field, why } => {
                Self::new(Kind::RescanRefused, format!("{field}: {why}.")).field(field)
            }
            Refused::Running(rescan) => {
                let detail = format!("{} is under way. Wait for its end, or cancel it.", rescan.id);
                Self::new(Kind::RescanRunning, detail).with("rescan_id", rescan.id.as_str())
            }
        }
    }
}

/// Read blocks again
///
/// For transfers to addresses that were registered after the transfer, and for what a provider had kept back. Runs
/// beside the watcher and survives restarts. What is known stays as it is: nothing is credited twice, nothing is taken
/// back.
#[utoipa::path(post, path = "/v1/operator/networks/{name}/rescans", tag = "operator: networks",
    params(("name" = String, Path)), request_body = NewRescan, responses((status = 201, body = RescanView)),
    extensions(("x-problems" = json!([
        [Kind::NetworkDisabled, Kind::NetworkFrozen, Kind::NetworkNotStarted, Kind::RescanRefused,
        Kind::RescanRunning]
    ]))))]
async fn start(
    _: Operator,
    State(app): State<App>,
    name: PathParam,
    body: Json<NewRescan>,
) -> Result<Reply, Problem> {
    let name = name.name("network")?;
    let Json { value: new, once } = body;
    let order = new.order()?;
    let now = app.clock.now();
    let id = app.ids.next::<RescanId>(now);
    let start = idempotent(
        &app,
        Operator::OWNER.to_owned(),
        once,
        move |conn| Box::pin(async move { order::place(conn, &name, order, id, now).await }),
        |rescan| Reply::created(&RescanView::from(rescan)),
    );
    let reply = start.await;
    app.wake.rescan.notify_waiters();
    reply
}

/// List the rescans of a network
#[utoipa::path(get, path = "/v1/operator/networks/{name}/rescans", tag = "operator: networks",
    params(("name" = String, Path), PageParams), responses((status = 200, body = Listed<RescanView>)))]
async fn list(
    _: Operator,
    State(app): State<App>,
    name: PathParam,
    Query(params): Query<PageParams>,
) -> Result<Answer<Listed<RescanView>>, Problem> {
    let name = name.name("network")?;
    let page = params.page::<RescanId>()?;
    let rows = order::list(&app, &name, page.span()).await?;
    Ok(Answer(page.cut(rows, |row| &row.id, Into::into)))
}

/// Cancel a rescan
///
/// What it has found stays.
#[utoipa::path(delete, path = "/v1/operator/rescans/{id}", tag = "operator: networks",
    params(("id" = String, Path)), responses((status = 200, body = RescanView)),
    extensions(("x-problems" = json!([[Kind::Conflict]]))))]
async fn cancel(_: Operator, State(app): State<App>, id: PathParam) -> Result<Answer<RescanView>, Problem> {
    let id = id.id("rescan")?;
    Ok(Answer(order::cancel(&app, id).await?.into()))
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Self {
        let text = sentence(&error);
        match error {
            CancelError::Lookup(error) => error.into(),
            CancelError::Ended => Self::new(Kind::Conflict, text),
        }
    }
}
