//! What is old and of no more use, deleted a few rows at a time.
//!
//! A pass walks a table in the order of its primary key, from the oldest row up to those that are young: so it needs no
//! index of its own, and what has to stay is walked past once a pass. Each step is a transaction of its own; a pass that
//! breaks off is begun again.
//!
//! What may go, and why nothing misses it:
//! - *Deliveries*, with their attempts, once they have ended. Dispatch owes an event to an endpoint once, when it takes
//!   it off its queue, and never asks again whether it did; workers read what is queued, which is pending. A delivery
//!   that is gone cannot be sent again by hand.
//! - *Runs of hooks*, with their calls, likewise: only dispatch makes them, and workers claim from the queue. Replays
//!   begin with runs that are left.
//! - *Recordings* (tapes), before their runs: a replay says of one that it is not complete. Those of versions that were
//!   deleted go at once.
//! - *Differences of shadows*: only shown.
//! - *Events* that dispatch has fanned out and to which no delivery and no run is left. An invoice counts its events by
//!   itself (`invoice.sequence`), and its next one follows from its own row.
//! - *Questions to matchers* that were answered: what came of them stands in payments, and a matcher is not asked twice.
//! - *Sightings* that settle has read, of transfers that are final or gone. Settle reads on from its cursor; the number of
//!   the last one stands in `cursor.seq`, and where a transfer was first seen in `transfer.seq`, so what was paid before an
//!   invoice was made (`invoice.sighted`) is told without them. A transfer that comes back is a sighting of its own.
//! - *Answers under an Idempotency-Key*: whoever repeats a request later than that is a new one.
//!
//! All else stays: transfers, payments, the ledger, invoices, what tells payments apart (`hold`, `past_hold`), corrections.
//! Pages are by ids, and a page that begins behind a row that has gone begins where it was.

mod recorded;
mod told;

use super::{Conn, DbError, args, idempotency};
use crate::domain::{
    Millis,
    id::Id,
    word::{Word as _, words},
};

words! {
    /// What is kept for a while.
    #[schema(as = RetentionKind)]
    Kind {
        Deliveries = "deliveries",
        HookRuns = "hook_runs",
        Tapes = "tapes",
        HookShadows = "hook_shadows",
        Events = "events",
        HookMatches = "hook_matches",
        Sightings = "sightings",
        IdempotencyKeys = "idempotency_keys",
    }
}

impl Kind {
    /// All kinds, in the order in which a pass deletes them: events go after everything that refers to them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Deliveries,
        Self::HookRuns,
        Self::Tapes,
        Self::HookShadows,
        Self::Events,
        Self::HookMatches,
        Self::Sightings,
        Self::IdempotencyKeys,
    ];
}

/// Number of rows that one step looks at.
const ROWS: i64 = 200;
/// Maximum number of attempts or calls that one step deletes with their deliveries or runs.
const PARTS: i64 = 2_000;
/// Maximum number of old rows that are counted.
pub(crate) const COUNTED: i64 = 100_000;

/// The place at which a pass goes on: after this row, in this part of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    part: String,
    after: String,
    seq: i64,
}

impl Place {
    fn after(id: &impl Id) -> Self {
        Self { after: id.as_str().to_owned(), ..Self::default() }
    }
}

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) deleted: u64,
    /// `None` if the pass is over.
    pub(crate) next: Option<Place>,
}

/// Deletes some rows older than `before`, from this place on.
pub(crate) async fn step(conn: &mut Conn, kind: Kind, place: Place, before: Millis) -> Result<Step, DbError> {
    match kind {
        Kind::Deliveries => told::deliveries(conn, place, before).await,
        Kind::HookRuns => told::hook_runs(conn, place, before).await,
        Kind::Events => told::events(conn, place, before).await,
        Kind::Tapes => recorded::tapes(conn, place, before).await,
        Kind::HookShadows => recorded::shadows(conn, before).await,
        Kind::HookMatches => recorded::matches(conn, place, before).await,
        Kind::Sightings => recorded::sightings(conn, place, before).await,
        Kind::IdempotencyKeys => {
            let deleted = idempotency::sweep(conn, before, ROWS).await?;
            let more = i64::try_from(deleted).is_ok_and(|deleted| deleted >= ROWS);
            Ok(Step { deleted, next: more.then(Place::default) })
        }
    }
}

/// The rows that a pass would delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Old {
    /// Number of rows, at most [`COUNTED`].
    pub(crate) rows: i64,
    pub(crate) oldest: Option<Millis>,
}

/// Counts the rows that a pass would delete now.
pub(crate) async fn count(conn: &mut Conn, kind: Kind, before: Millis) -> Result<Old, DbError> {
    let row = match kind {
        Kind::Deliveries => told::count_deliveries(conn, before).await?,
        Kind::HookRuns => told::count_hook_runs(conn, before).await?,
        Kind::Events => told::count_events(conn, before).await?,
        Kind::Tapes => recorded::count_tapes(conn, before).await?,
        Kind::HookShadows => {
            let sql = "SELECT COUNT(*) AS n, MIN(at) AS oldest
                       FROM (SELECT at FROM hook_shadow WHERE at < $1 ORDER BY at LIMIT $2) AS d";
            conn.row(sql, args![before, COUNTED]).await?
        }
        Kind::HookMatches => recorded::count_matches(conn, before).await?,
        Kind::Sightings => recorded::count_sightings(conn, before).await?,
        Kind::IdempotencyKeys => {
            let sql = "SELECT COUNT(*) AS n, MIN(at) AS oldest FROM (SELECT created_at AS at FROM idempotency
                       WHERE created_at < $1 ORDER BY created_at LIMIT $2) AS d";
            conn.row(sql, args![before, COUNTED]).await?
        }
    };
    let Some(row) = row else { return Ok(Old { rows: 0, oldest: None }) };
    Ok(Old { rows: row.int("n")?, oldest: row.opt_int("oldest")? })
}

/// Records that older rows may be gone from now on.
pub(crate) async fn begin(conn: &mut Conn, kind: Kind, before: Millis, now: Millis) -> Result<(), DbError> {
    conn.exec(
        "INSERT INTO retention (kind, before, at) VALUES ($1, $2, $3) ON CONFLICT (kind) DO UPDATE SET
             before = CASE WHEN retention.before > excluded.before THEN retention.before ELSE excluded.before END,
             at = excluded.at",
        args![kind.word(), before, now],
    )
    .await?;
    Ok(())
}

/// The ids that a step looks at: after `after`, and made before `before`.
struct Window<I> {
    after: String,
    /// The last id; above all old ones if no id follows.
    to: I,
    is_last: bool,
}

impl<I: Id> Window<I> {
    /// Finds the next window. `ends` reads the last id of `$3` rows after `$1` and below `$2`.
    async fn next(
        conn: &mut Conn,
        ends: &'static str,
        place: Place,
        before: Millis,
    ) -> Result<Self, DbError> {
        let end = I::first_at(before);
        let row = conn.row(ends, args![&place.after, end.as_str().to_owned(), ROWS - 1]).await?;
        let to = row.map(|row| row.id("id")).transpose()?;
        Ok(Self { after: place.after, is_last: to.is_none(), to: to.unwrap_or(end) })
    }

    fn next_place(self) -> Option<Place> {
        (!self.is_last).then(|| Place::after(&self.to))
    }
}
