//! Orders for rescans, from operators.

use crate::{
    app::App,
    db::{
        Conn, DbError, chain, networks,
        rescans::{self, Rescan},
    },
    domain::{
        Millis,
        id::RescanId,
        rescan::{BLOCKS_MAX, State, too_many},
    },
    flow::resources::{LookupError, Span},
};

/// Start of the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Height(i64),
    /// The first block that is not older than this.
    Time(Millis),
}

/// Which blocks to read again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) start: Start,
    /// Last height; `None`: the last one that was read.
    pub(crate) to: Option<i64>,
}

/// Reason that a rescan was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("there is no such network")]
    NoNetwork,
    #[error("the network is disabled")]
    Disabled,
    #[error("the network was not read yet")]
    NotStarted,
    #[error("the network is frozen: {0}")]
    Frozen(String),
    /// A field is wrong; `why` tells how.
    #[error("{why}")]
    Range { field: &'static str, why: String },
    #[error("{} is running", .0.id)]
    Running(Box<Rescan>),
}

/// Places an order for a rescan, if it can be done.
pub(crate) async fn place(
    conn: &mut Conn,
    network: &str,
    order: Order,
    id: RescanId,
    now: Millis,
) -> Result<Rescan, Refused> {
    let known = networks::get(conn, network).await?.ok_or(Refused::NoNetwork)?;
    if !known.enabled {
        return Err(Refused::Disabled);
    }
    let cursor = chain::cursor(conn, network).await?.ok_or(Refused::NotStarted)?;
    if let Some(why) = cursor.frozen {
        return Err(Refused::Frozen(why));
    }
    let to = order.to.unwrap_or(cursor.height);
    let refused = |field, why| Err(Refused::Range { field, why });
    let unread = |height: i64| match height > cursor.head {
        true => format!("block {height} is above the chain's head, which is {}", cursor.head),
        false => format!(
            "block {height} was not read yet: the network is at {}, and goes on by itself",
            cursor.height
        ),
    };
    if to > cursor.height {
        return refused("to", unread(to));
    }
    let (from, since) = match order.start {
        Start::Height(from) => (Some(from), None),
        Start::Time(since) => (None, Some(since)),
    };
    match (from, since) {
        (Some(from), _) if from < 1 => {
            return refused("from", "the first block that can be read again is 1".to_owned());
        }
        (Some(from), _) if from > cursor.height => return refused("from", unread(from)),
        (Some(from), _) if from > to => return refused("to", format!("it is below `from`, {from}")),
        (Some(from), _) if to - from >= BLOCKS_MAX => return refused("from", too_many(to - from + 1)),
        (None, Some(since)) if since > cursor.time => {
            return refused("since", "no block of that time was read yet".to_owned());
        }
        _ => {}
    }
    let rescan = Rescan {
        id,
        network: network.to_owned(),
        since,
        from,
        to,
        next: from,
        parent: String::new(),
        state: State::Running,
        found: 0,
        error: None,
        created_at: now,
        done_at: None,
    };
    if rescans::insert(conn, &rescan).await? {
        return Ok(rescan);
    }
    match rescans::running(conn, network).await? {
        Some(running) => Err(Refused::Running(Box::new(running))),
        // It has ended this very moment.
        None => Err(DbError::Stale("the rescans of the network").into()),
    }
}

/// A page of the rescans of a network, the newest first.
pub(crate) async fn list(
    app: &App,
    network: &str,
    (before, rows): Span<RescanId>,
) -> Result<Vec<Rescan>, Refused> {
    let mut conn = app.db.read().await?;
    networks::get(&mut conn, network).await?.ok_or(Refused::NoNetwork)?;
    Ok(rescans::list(&mut conn, network, &before, rows).await?)
}

/// Why a rescan is not cancelled. Texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CancelError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("It has ended already; there is nothing to cancel")]
    Ended,
}

impl From<DbError> for CancelError {
    fn from(error: DbError) -> Self {
        Self::Lookup(error.into())
    }
}

/// Ends a rescan. What it has found stays.
pub(crate) async fn cancel(app: &App, id: RescanId) -> Result<Rescan, CancelError> {
    let now = app.clock.now();
    let cancelled = app.db.write(move |conn| {
        Box::pin(async move {
            let ended = rescans::end(conn, &id, State::Cancelled, None, now).await?;
            let rescan = rescans::get(conn, &id).await?.ok_or(LookupError::Missing("rescan"))?;
            if ended || rescan.state == State::Cancelled { Ok(rescan) } else { Err(CancelError::Ended) }
        })
    });
    cancelled.await
}
