//! A payer's personal data, erased by invoice: what a merchant has written into it, and all texts that were made of that.
//!
//! First the invoice itself, together with who did it: from then on nothing new has the data. Then what was told of it, and
//! what hooks made of that, in small steps. Whoever was cut off in between asks again; what is done already is no harm.

use std::collections::HashSet;

use super::{ResolveError, Scope, locked};
use crate::{
    app::App,
    db::{
        DbError,
        erasures::{self, Erasure, Kept},
    },
    domain::{
        erasure,
        id::{EventId, HookRunId, Id, InvoiceId},
    },
};

/// Maximum number of events in one step.
const EVENTS_PER_STEP: usize = 50;
/// Number of stored answers searched at once.
const ANSWERS_PER_STEP: i64 = 200;

/// Erases the personal data of an invoice that is in an end state. `owner` is the owner of the merchant's idempotency
/// keys.
pub(crate) async fn erase(
    app: &App,
    scope: Scope,
    id: &InvoiceId,
    owner: &str,
) -> Result<Erasure, ResolveError> {
    let (now, of, invoice_id) = (app.clock.now(), scope.clone(), id.clone());
    let (invoice, erasure) = app
        .db
        .write::<_, ResolveError, _>(move |conn| {
            Box::pin(async move {
                let known = locked(conn, &of, &invoice_id).await?;
                let invoice = known.invoices.get(&invoice_id).ok_or(ResolveError::NoInvoice)?;
                if invoice.status.is_open() {
                    return Err(ResolveError::StillOpen(invoice.status.as_str()));
                }
                let erasure = erasures::begin(conn, invoice, &of.key_id, now).await?;
                Ok((invoice.clone(), erasure))
            })
        })
        .await?;
    let mut conn = app.db.read().await?;
    let own = erasures::events_of(&mut conn, &invoice).await?;
    let asked = erasures::matches_about(&mut conn, &invoice).await?;
    drop(conn);
    let mut seen: HashSet<EventId> = own.iter().cloned().collect();
    let runs = of_events(app, &scope, own, Some(id.clone())).await?;
    for some in asked.chunks(EVENTS_PER_STEP) {
        let (merchant_id, some) = (scope.tenant.merchant.clone(), some.to_vec());
        app.db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move { erasures::of_matches(conn, &merchant_id, &some).await })
            })
            .await?;
    }
    let mut causes = texts(&runs);
    causes.extend(texts(&asked));
    // What hooks had sent, what other hooks did about that, and so on.
    while !causes.is_empty() {
        let sent = erasures::events_by(&mut app.db.read().await?, &causes).await?;
        let new = sent.into_iter().filter(|id| seen.insert(id.clone())).collect();
        causes = texts(&of_events(app, &scope, new, None).await?);
    }
    of_answers(app, id, owner).await?;
    Ok(erasure)
}

fn texts(ids: &[impl Id]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

/// Erases the data of these events. Returns the runs of hooks for them.
async fn of_events(
    app: &App,
    scope: &Scope,
    events: Vec<EventId>,
    invoice_id: Option<InvoiceId>,
) -> Result<Vec<HookRunId>, DbError> {
    let mut runs = Vec::new();
    for some in events.chunks(EVENTS_PER_STEP) {
        let (merchant_id, some, of) = (scope.tenant.merchant.clone(), some.to_vec(), invoice_id.clone());
        let made = app.db.write::<_, DbError, _>(move |conn| {
            Box::pin(async move { erasures::of_events(conn, &merchant_id, &some, of.as_ref()).await })
        });
        runs.extend(made.await?);
    }
    Ok(runs)
}

/// Erases stored answers that are about the invoice. The idempotency keys stay, so that a repeated request is still
/// recognised.
async fn of_answers(app: &App, id: &InvoiceId, owner: &str) -> Result<(), DbError> {
    let mut after = String::new();
    loop {
        let kept = erasures::kept(&mut app.db.read().await?, owner, &after, ANSWERS_PER_STEP).await?;
        let Some(last) = kept.last() else { return Ok(()) };
        after.clone_from(&last.key);
        for Kept { key, body } in kept {
            // Sealed ones are no text.
            let Ok(text) = String::from_utf8(body) else { continue };
            if !text.contains(id.as_str()) {
                continue;
            }
            let (owner, kept) = (owner.to_owned(), Kept { key, body: erasure::answer(&text).into_bytes() });
            let write = app.db.write::<_, DbError, _>(move |conn| {
                Box::pin(async move { erasures::keep(conn, &owner, kept).await })
            });
            write.await?;
        }
    }
}
