//! Expire: what the chain's time decides. Invoices whose deadline has passed expire, and amounts and memos that were held
//! long enough are let go of, when the chain was read past that moment and settled: then no payment made in time can
//! come any more. It runs with settle, network by network; a network that is not read expires nothing.

use crate::{
    app::App,
    db::{DbError, chain, holds, invoices, payments, plugin_storage},
    domain::{
        Millis,
        id::InvoiceId,
        network::Manifest,
        settlement::{Book, SettlementFacts},
        tenant::Mode,
    },
    flow::settle,
};

const INVOICES_PER_STEP: i64 = 200;
const HOLDS_PER_STEP: i64 = 1000;

/// Work that is due on a network.
#[derive(Debug, Default)]
struct Due {
    /// The chain's time, if deadlines wait for it.
    pin_at: Option<Millis>,
    overdue: Vec<InvoiceId>,
    /// Holds that end before this time.
    holds_to: Option<Millis>,
}

/// Makes one step. Returns true if there may be more to do.
pub(crate) async fn step(app: &App, network: &Manifest) -> Result<bool, DbError> {
    // Looking costs a read; only work costs a write.
    let Due { pin_at, overdue, holds_to } = look(app, network).await?;
    let mut more = false;
    if let Some(at) = pin_at {
        let name = network.name.clone();
        let pinned = app.db.write::<_, DbError, _>(move |conn| {
            Box::pin(async move { invoices::pin(conn, &name, at, INVOICES_PER_STEP).await })
        });
        more |= pinned.await? > 0;
    }
    if !overdue.is_empty() {
        more = true;
        expire(app, network.mode(), overdue).await?;
    }
    if let Some(time) = holds_to {
        let name = network.name.clone();
        let ended = app.db.write::<_, DbError, _>(move |conn| {
            Box::pin(async move { holds::end(conn, &name, time, HOLDS_PER_STEP).await })
        });
        more |= ended.await? > 0;
    }
    Ok(more)
}

/// A chain that exists only here has no blocks but those that somebody asks for. So that deadlines pass on it as on any
/// other, it gets some when one has.
/// Blocks are given once for each height that was read, `given_at` the last.
pub(crate) async fn let_time_pass(
    app: &App,
    network: &Manifest,
    given_at: &mut Option<i64>,
) -> Result<(), DbError> {
    let Some(now) = app.chain_clock.now(network).filter(|_| network.is_simulated()) else { return Ok(()) };
    let mut conn = app.db.read().await?;
    let read_to = chain::cursor(&mut conn, &network.name).await?.map(|cursor| cursor.height);
    if read_to == *given_at || invoices::overdue(&mut conn, &network.name, now, 1).await?.is_empty() {
        return Ok(());
    }
    drop(conn);
    *given_at = read_to;
    let depth = network.settings.get("finality_depth").and_then(serde_json::Value::as_u64).unwrap_or(12);
    let action = serde_json::json!({ "do": "mine", "blocks": depth + 1 }).to_string();
    let turn = app.simulations.turn().await;
    let Ok(called) = app.host.simulate(network, &action).await else { return Ok(()) };
    app.db
        .write::<_, DbError, _>(move |conn| {
            Box::pin(async move { plugin_storage::apply(conn, &called.writes).await })
        })
        .await?;
    drop(turn);
    app.wake.observe.notify_waiters();
    Ok(())
}

async fn look(app: &App, network: &Manifest) -> Result<Due, DbError> {
    let (name, mut conn) = (&network.name, app.db.read().await?);
    // First how far the chain was read, then whether all of that is settled.
    let Some(cursor) = chain::cursor(&mut conn, name).await? else { return Ok(Due::default()) };
    app.chain_clock.saw(&cursor);
    if payments::any_unsettled(&mut conn, name).await? {
        return Ok(Due::default());
    }
    let time = cursor.final_time;
    let pin_at = match app.chain_clock.now(network) {
        Some(now) if invoices::any_unpinned(&mut conn, name).await? => Some(now),
        _ => None,
    };
    Ok(Due {
        pin_at,
        overdue: invoices::overdue(&mut conn, name, time, INVOICES_PER_STEP).await?,
        holds_to: holds::any_ended(&mut conn, name, time).await?.then_some(time),
    })
}

async fn expire(app: &App, mode: Mode, overdue: Vec<InvoiceId>) -> Result<(), DbError> {
    let (now, ids) = (app.clock.now(), app.ids.clone());
    app.db
        .write::<_, DbError, _>(move |conn| {
            Box::pin(async move {
                let mut known = SettlementFacts::of(mode);
                settle::add_invoices(conn, &mut known, &overdue).await?;
                // Another replica may have been here since they were looked up.
                known.invoices.retain(|_, invoice| invoice.expired_at.is_none());
                let invoice_ids: Vec<InvoiceId> = known.invoices.keys().cloned().collect();
                let mut book = Book::open(known, &ids, now);
                for id in &invoice_ids {
                    book.expire(id);
                }
                settle::write(conn, book.close(), &ids, now).await
            })
        })
        .await?;
    app.wake.dispatch.notify_one();
    Ok(())
}
