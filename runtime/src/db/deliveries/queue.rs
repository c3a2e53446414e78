//! The queue of deliveries: what dispatch puts in and deliver works off. How it is kept, [`crate::db::queue`] says.

use crate::{
    db::{
        Conn, DbError, args,
        queue::{Entry, LinePosition, lines::lines, queue},
    },
    domain::{
        Millis,
        id::{DeliveryId, EndpointId, EventId, HookId, MerchantId},
        tenant::Tenant,
    },
};

queue!(owner "endpoint": EndpointId, queue "delivery_queue", owner_id "endpoint_id", item_id "delivery_id": DeliveryId);
lines!(queue "delivery_queue", owner_id "endpoint_id": EndpointId, item_id "delivery_id": DeliveryId);

/// Number of endpoints that one statement looks at.
const PAGE: i64 = 64;

/// An event owed to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) delivery_id: DeliveryId,
    pub(crate) event_id: EventId,
    pub(crate) endpoint_id: EndpointId,
    pub(crate) tenant: Tenant,
    /// Position in the line of its events.
    pub(crate) position: Option<LinePosition>,
}

/// Adds deliveries and queues them, due now.
pub(crate) async fn insert(conn: &mut Conn, owed: Vec<Owed>, now: Millis) -> Result<(), DbError> {
    let entries = owed
        .iter()
        .map(|owed| Entry::new(owed.delivery_id.clone(), owed.endpoint_id.clone(), owed.position.as_ref()))
        .collect();
    let rows = owed
        .into_iter()
        .map(|owed| {
            args![
                owed.delivery_id,
                owed.event_id,
                owed.endpoint_id,
                owed.tenant.merchant,
                owed.tenant.mode,
                "pending",
                0_i64,
                now
            ]
        })
        .collect();
    conn.insert_many(
        "INSERT INTO delivery (id, event_id, endpoint_id, merchant_id, test, state, attempts, created_at)",
        rows,
        "",
    )
    .await?;
    push(conn, entries, now).await
}

/// The result of a claim.
#[derive(Debug)]
pub(crate) struct Claims {
    pub(crate) claims: Vec<Claim>,
    /// True if every endpoint with something due was looked at: none was locked, none left for want of room.
    pub(crate) complete: bool,
}

/// The deliveries claimed from one endpoint.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) endpoint_id: EndpointId,
    pub(crate) merchant_id: MerchantId,
    pub(crate) url: String,
    /// The hook that renders its deliveries; `None` for the form `standard`.
    pub(crate) form_hook_id: Option<HookId>,
    /// Secret, sealed.
    pub(crate) secret: Vec<u8>,
    /// Previous secret, sealed, and the time until which it signs too.
    pub(crate) old_secret: Option<(Vec<u8>, Millis)>,
    /// Number of failed attempts in a row.
    pub(crate) failures: u32,
    pub(crate) deliveries: Vec<DueDelivery>,
    /// True if more may be due.
    pub(crate) more: bool,
}

#[derive(Debug)]
pub(crate) struct DueDelivery {
    pub(crate) delivery_id: DeliveryId,
    pub(crate) event_id: EventId,
    pub(crate) event_kind: String,
    pub(crate) event_at: Millis,
    pub(crate) payload: String,
    pub(crate) fence: i64,
    /// Number of attempts logged so far, over all rounds.
    pub(crate) attempts: i64,
    /// Number of those before this round.
    pub(crate) attempts_before: i64,
    /// Number of earlier claims in a row that ended without a result.
    pub(crate) unheard: i64,
}

/// Claims up to `room` deliveries until `lease_until`, of each endpoint as many as `allowed(id, failures)` says. Skips
/// endpoints that another transaction has locked.
pub(crate) async fn claim(
    conn: &mut Conn,
    now: Millis,
    lease_until: Millis,
    mut room: usize,
    allowed: impl Fn(&EndpointId, u32) -> usize + Send,
) -> Result<Claims, DbError> {
    let mut claims = Vec::new();
    let mut looked_at = Vec::new();
    let mut seen = 0;
    let (mut after_at, mut after_id) = (i64::MIN, String::new());
    while room > 0 {
        let rows = conn
            .rows(
                "SELECT id, merchant_id, url, form_hook_id, secret, old_secret, old_until, failures, due_at FROM endpoint
                 WHERE due_at <= $1 AND state = 'active' AND (paused_until IS NULL OR paused_until <= $1)
                   AND (due_at, id) > ($2, $3)
                 ORDER BY due_at, id LIMIT $4 /*pg: FOR NO KEY UPDATE SKIP LOCKED*/",
                args![now, after_at, &after_id, PAGE],
            )
            .await?;
        let Some(last) = rows.last() else { break };
        (after_at, after_id) = (last.int("due_at")?, last.text("id")?);
        seen += rows.len();
        for row in &rows {
            let endpoint_id: EndpointId = row.id("id")?;
            let failures = u32::try_from(row.int("failures")?).unwrap_or(u32::MAX);
            let take = allowed(&endpoint_id, failures).min(room);
            if take == 0 {
                continue;
            }
            looked_at.push((&endpoint_id).into());
            let deliveries = due_of(conn, &endpoint_id, now, take).await?;
            if deliveries.is_empty() {
                continue;
            }
            room -= deliveries.len();
            claims.push(Claim {
                merchant_id: row.id("merchant_id")?,
                url: row.text("url")?,
                form_hook_id: row.opt_id("form_hook_id")?,
                secret: row.blob("secret")?,
                old_secret: row.opt_blob("old_secret")?.zip(row.opt_int("old_until")?),
                failures,
                more: deliveries.len() == take,
                endpoint_id,
                deliveries,
            });
        }
    }
    let complete = room > 0 && seen >= count_due(conn, now).await?;
    let leased = claims.iter().flat_map(|claim| &claim.deliveries);
    lease(conn, leased.map(|claimed| (&claimed.delivery_id, claimed.fence)), lease_until, looked_at).await?;
    Ok(Claims { claims, complete })
}

/// Number of endpoints with something due, locked or not.
async fn count_due(conn: &mut Conn, now: Millis) -> Result<usize, DbError> {
    let sql = "SELECT COUNT(*) AS n FROM endpoint
               WHERE due_at <= $1 AND state = 'active' AND (paused_until IS NULL OR paused_until <= $1)";
    let count = conn.row(sql, args![now]).await?.map_or(Ok(0), |row| row.int("n"))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

async fn due_of(
    conn: &mut Conn,
    endpoint_id: &EndpointId,
    now: Millis,
    take: usize,
) -> Result<Vec<DueDelivery>, DbError> {
    let sql = "SELECT q.delivery_id, d.event_id, e.kind, e.created_at, e.payload, q.fence, q.claims, d.attempts, q.attempts_before
               FROM delivery_queue q
               JOIN delivery d ON d.id = q.delivery_id
               JOIN event e ON e.id = d.event_id
               WHERE q.endpoint_id = $1 AND q.waits = 0 AND q.due_at <= $2
               ORDER BY q.due_at, q.delivery_id LIMIT $3 /*pg: FOR UPDATE OF q SKIP LOCKED*/";
    let take = i64::try_from(take).unwrap_or(i64::MAX);
    let rows = conn.rows(sql, args![endpoint_id, now, take]).await?;
    rows.iter()
        .map(|row| {
            Ok(DueDelivery {
                delivery_id: row.id("delivery_id")?,
                event_id: row.id("event_id")?,
                event_kind: row.text("kind")?,
                event_at: row.int("created_at")?,
                payload: row.text("payload")?,
                fence: row.int("fence")? + 1,
                attempts: row.int("attempts")?,
                attempts_before: row.int("attempts_before")?,
                unheard: row.int("claims")?,
            })
        })
        .collect()
}
