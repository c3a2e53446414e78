//! Matchers: hooks that say what a transfer pays, and the transfers that wait for them. How their queue is kept,
//! [`crate::db::queue`] says.

use crate::{
    db::{
        Conn, DbError, Row, Value, args,
        hooks::{Callee, run_queue::DueHook},
        queue::{Entry, judge, lock_free, queue},
    },
    domain::{
        Millis,
        hook::Binding,
        id::{HookId, HookVersionId, MerchantId, TransferId},
        settlement::{Matcher, Waiting},
        tenant::{Mode, Tenant},
    },
};

queue!(owner "matcher": HookId, queue "match_queue", owner_id "matcher_id", item_id "transfer_id": TransferId);

/// Maximum number of matchers with something due in one look.
const DUE_MAX: i64 = 1_000;

/// Lets a hook be asked, from now on or again; its failures so far are forgotten.
pub(super) async fn begin(conn: &mut Conn, hook_id: &HookId) -> Result<(), DbError> {
    let sql = "INSERT INTO matcher (id, failures) VALUES ($1, 0)
               ON CONFLICT (id) DO UPDATE SET failures = 0, paused_until = NULL";
    conn.exec(sql, args![hook_id]).await?;
    Ok(())
}

/// Ends a pause.
pub(super) async fn forgive(conn: &mut Conn, hook_id: &HookId) -> Result<(), DbError> {
    let sql = "UPDATE matcher SET failures = 0, paused_until = NULL WHERE id = $1";
    conn.exec(sql, args![hook_id]).await?;
    Ok(())
}

/// The matchers of these merchants that can be asked now, the oldest first.
pub(crate) async fn of_merchants(
    conn: &mut Conn,
    mode: Mode,
    merchant_ids: impl Iterator<Item = MerchantId>,
    now: Millis,
) -> Result<Vec<Matcher>, DbError> {
    let sql = "SELECT h.id, h.merchant_id, h.binding FROM hook h
               JOIN hook_role r ON r.hook_id = h.id AND r.role = 'matcher'
               JOIN matcher m ON m.id = h.id
               WHERE h.test = $1 AND h.state = 'active' AND h.deleted_at IS NULL
                 AND (m.paused_until IS NULL OR m.paused_until <= $2) AND h.merchant_id IN";
    let items = merchant_ids.map(Into::into).collect();
    conn.rows_in_with(sql, args![mode, now], items, "ORDER BY h.id")
        .await?
        .iter()
        .map(|row| {
            Ok(Matcher {
                id: row.id("id")?,
                merchant_id: row.id("merchant_id")?,
                binding: row.json("binding")?,
            })
        })
        .collect()
}

/// Queues transfers, due now.
pub(crate) async fn wait(conn: &mut Conn, waiting: Vec<Waiting>, now: Millis) -> Result<(), DbError> {
    if waiting.is_empty() {
        return Ok(());
    }
    let entry = |one: Waiting| Entry::new(one.transfer_id, one.matcher_id, None);
    push(conn, waiting.into_iter().map(entry).collect(), now).await
}

/// Matchers with something due, the longest waiting first, including those that can no longer be asked: their transfers
/// must not wait longer.
pub(crate) async fn due(conn: &mut Conn, now: Millis) -> Result<Vec<DueHook>, DbError> {
    let sql = "SELECT m.id, h.merchant_id FROM matcher m JOIN hook h ON h.id = m.id
               WHERE m.due_at <= $1 ORDER BY m.due_at, m.id LIMIT $2";
    conn.rows(sql, args![now, DUE_MAX])
        .await?
        .iter()
        .map(|row| Ok(DueHook { id: row.id("id")?, merchant_id: row.id("merchant_id")? }))
        .collect()
}

/// A claimed transfer, and all that its question needs.
#[derive(Debug, Clone)]
pub(crate) struct DueMatch {
    pub(crate) transfer_id: TransferId,
    pub(crate) hook_id: HookId,
    pub(crate) tenant: Tenant,
    pub(crate) fence: i64,
    /// Number of earlier claims in a row that ended without a result.
    pub(crate) unheard: i64,
    /// The hook to ask; `None` if it can no longer be asked.
    pub(crate) callee: Option<Callee>,
    /// The shadow version, which is asked too.
    pub(crate) shadow_id: Option<HookVersionId>,
    pub(crate) binding: Binding,
}

/// Claims transfers until `lease_until`, for each of these matchers as many as `take` says. Skips matchers that another
/// transaction has locked.
pub(crate) async fn claim(
    conn: &mut Conn,
    matchers: Vec<(HookId, usize)>,
    now: Millis,
    lease_until: Millis,
) -> Result<Vec<DueMatch>, DbError> {
    let ids = matchers.iter().map(|(id, _)| id);
    let locked = lock_free(conn, "SELECT id FROM matcher WHERE id IN", ids).await?;
    let mut claimed = Vec::new();
    for (hook_id, take) in matchers.into_iter().filter(|(id, _)| locked.contains(id)) {
        claimed.extend(due_of(conn, hook_id, now, take).await?);
    }
    let leased = claimed.iter().map(|one| (&one.transfer_id, one.fence));
    let looked_at: Vec<Value> = locked.iter().map(Into::into).collect();
    lease(conn, leased, lease_until, looked_at).await?;
    Ok(claimed)
}

async fn due_of(
    conn: &mut Conn,
    hook_id: HookId,
    now: Millis,
    take: usize,
) -> Result<Vec<DueMatch>, DbError> {
    let sql = "SELECT q.transfer_id, q.matcher_id AS hook_id, q.fence, q.claims, h.name, h.merchant_id, h.test, h.settings, h.binding,
                   h.shadow_id, h.state, r.role, m.paused_until, v.id AS version_id, v.version, v.sha256, v.manifest
               FROM match_queue q
               JOIN matcher m ON m.id = q.matcher_id
               JOIN hook h ON h.id = q.matcher_id
               LEFT JOIN hook_role r ON r.hook_id = h.id AND r.role = 'matcher'
               LEFT JOIN hook_version v ON v.id = h.active_id
               WHERE q.matcher_id = $1 AND q.waits = 0 AND q.due_at <= $2
               ORDER BY q.due_at, q.transfer_id LIMIT $3 /*pg: FOR UPDATE OF q SKIP LOCKED*/";
    let take = i64::try_from(take).unwrap_or(i64::MAX);
    conn.rows(sql, args![hook_id, now, take]).await?.iter().map(|row| claimed(row, now)).collect()
}

fn claimed(row: &Row, now: Millis) -> Result<DueMatch, DbError> {
    let paused = row.opt_int("paused_until")?.is_some_and(|until| until > now);
    let asked = !paused && row.opt_text("role")?.is_some() && row.text("state")? == "active";
    let callee = match row.opt_text("version_id")? {
        Some(_) if asked => Some(Callee::read(row)?),
        _ => None,
    };
    Ok(DueMatch {
        transfer_id: row.id("transfer_id")?,
        hook_id: row.id("hook_id")?,
        tenant: row.tenant()?,
        fence: row.int("fence")? + 1,
        unheard: row.int("claims")?,
        callee,
        shadow_id: row.opt_id("shadow_id")?,
        binding: row.json("binding")?,
    })
}

/// Takes a transfer out of the queue. Returns false if the claim was lost: nothing of it may be kept.
pub(crate) async fn take(conn: &mut Conn, claimed: &DueMatch) -> Result<bool, DbError> {
    if fences(conn, std::iter::once(&claimed.transfer_id)).await?.get(&claimed.transfer_id)
        != Some(&claimed.fence)
    {
        return Ok(false);
    }
    conn.exec("DELETE FROM match_queue WHERE transfer_id = $1", args![&claimed.transfer_id]).await?;
    Ok(true)
}

/// Tells the breaker the outcome of a question to this matcher. Returns true if this failure paused the matcher.
pub(crate) async fn judged(
    conn: &mut Conn,
    hook_id: &HookId,
    well: bool,
    now: Millis,
) -> Result<bool, DbError> {
    let mut breakers = lock_owners(conn, std::iter::once(hook_id)).await?;
    let judged = judge(&mut breakers, well, now);
    if judged.changed {
        set_breakers(conn, &breakers).await?;
    }
    Ok(judged.paused)
}
