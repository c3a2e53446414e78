//! What workers report: how attempts ended, and what follows for deliveries and endpoints.

use std::collections::{BTreeMap, BTreeSet};

use super::queue::{advance, due_by, fences, lock_owners, remove, reschedule, set_breakers, step_aside};
use crate::{
    db::{
        Conn, DbError, alarms, args,
        hooks::{run_queue, runs::Used},
    },
    domain::{
        Millis,
        event::Data,
        id::{DeliveryId, EndpointId, HookId},
        retry::{self, Breaker, Next},
    },
};

/// An attempt that has ended, and its consequence.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) delivery_id: DeliveryId,
    pub(crate) endpoint_id: EndpointId,
    pub(crate) fence: i64,
    /// Number over all rounds, from 1.
    pub(crate) number: i64,
    /// Number within this round, from 1.
    pub(crate) in_round: u32,
    pub(crate) at: Millis,
    pub(crate) duration_ms: i64,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<String>,
    pub(crate) response: Option<String>,
    pub(crate) next: Next,
    /// Reason that it ends unsent without a failure.
    pub(crate) skipped: Option<String>,
    /// Alarm of a delivery that was not sent, since sending it ended the process too often.
    pub(crate) set_aside: Option<Data>,
    /// The call that rendered it.
    pub(crate) form_call: Option<FormCall>,
}

/// A call of a hook that renders deliveries.
#[derive(Debug, Clone)]
pub(crate) struct FormCall {
    pub(crate) hook_id: HookId,
    /// It gave nothing to send.
    pub(crate) failed: bool,
    pub(crate) used: Used,
}

impl Ended {
    pub(crate) fn failed(&self) -> bool {
        !matches!(self.next, Next::Delivered | Next::Skipped)
    }
}

/// The result of reporting attempts.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    /// Endpoints that were paused by this.
    pub(crate) paused: Vec<EndpointId>,
    /// Number of attempts whose claims were lost: nothing of them was written.
    pub(crate) stale: usize,
    /// True if deliveries that waited for these are due now.
    pub(crate) advanced: bool,
}

/// Records the end of attempts: the log, the state, the queue, the endpoint's breaker.
pub(crate) async fn finish(conn: &mut Conn, ended: &[Ended], now: Millis) -> Result<Finished, DbError> {
    let held = fences(conn, ended.iter().map(|one| &one.delivery_id)).await?;
    let live: Vec<&Ended> =
        ended.iter().filter(|one| held.get(&one.delivery_id) == Some(&one.fence)).collect();
    use_up(conn, &live).await?;
    log(conn, &live).await?;
    for alarm in live.iter().filter_map(|one| one.set_aside.as_ref()) {
        alarms::tell(conn, alarm, now).await?;
    }
    conn.insert_many(
        "WITH v (id, state, done_at, why) AS (",
        live.iter()
            .map(|one| {
                let (state, done_at) = match one.next {
                    Next::Delivered => ("delivered", Some(now)),
                    Next::RetryAt(_) => ("pending", None),
                    Next::Skipped | Next::Exhausted | Next::DisableEndpoint => ("exhausted", Some(now)),
                };
                args![&one.delivery_id, state, done_at, &one.skipped]
            })
            .collect(),
        ") UPDATE delivery SET state = v.state, done_at = v.done_at, why = v.why, attempts = delivery.attempts + 1
           FROM v WHERE delivery.id = v.id",
    )
    .await?;
    let done = live.iter().filter(|one| !matches!(one.next, Next::RetryAt(_)));
    let mut lines = remove(conn, done.map(|one| (&one.delivery_id).into()).collect()).await?;
    let retries = live.iter().filter_map(|one| match one.next {
        Next::RetryAt(at) => Some(args![&one.delivery_id, at]),
        _ => None,
    });
    reschedule(conn, retries.collect()).await?;
    let passed =
        |one: &&&Ended| matches!(one.next, Next::RetryAt(_)) && retry::lets_others_pass(one.in_round);
    let passed = live.iter().filter(passed).map(|one| (&one.delivery_id).into()).collect();
    lines.extend(step_aside(conn, passed).await?);
    let advanced = advance(conn, lines, now).await?;
    let paused = tell_endpoints(conn, &live, now).await?;
    Ok(Finished { paused, stale: ended.len() - live.len(), advanced })
}

/// Counts the calls of forms, hook by hook in one order, so that no two reports wait for each other.
async fn use_up(conn: &mut Conn, ended: &[&Ended]) -> Result<(), DbError> {
    let mut calls: Vec<_> = ended.iter().filter_map(|one| Some((one.form_call.as_ref()?, one.at))).collect();
    calls.sort_by(|(one, _), (other, _)| one.hook_id.cmp(&other.hook_id));
    for (FormCall { hook_id, failed, used }, at) in calls {
        run_queue::use_up(conn, hook_id, at, *failed, *used).await?;
    }
    Ok(())
}

async fn log(conn: &mut Conn, ended: &[&Ended]) -> Result<(), DbError> {
    let rows = ended
        .iter()
        .map(|one| {
            let status = one.status.map(i64::from);
            args![&one.delivery_id, one.number, one.at, one.duration_ms, status, &one.error, &one.response]
        })
        .collect();
    conn.insert_many(
        "INSERT INTO attempt (delivery_id, number, at, duration_ms, status, error, response)",
        rows,
        "",
    )
    .await?;
    Ok(())
}

/// Updates the breakers of the endpoints, disables those that want no more, and sets their due times. Returns the
/// endpoints that were paused. An endpoint without failures that gets none is not touched.
async fn tell_endpoints(conn: &mut Conn, ended: &[&Ended], now: Millis) -> Result<Vec<EndpointId>, DbError> {
    let mut touched: BTreeSet<EndpointId> =
        ended.iter().filter(|one| one.failed()).map(|one| one.endpoint_id.clone()).collect();
    let all: BTreeSet<&EndpointId> = ended.iter().map(|one| &one.endpoint_id).collect();
    let all = all.into_iter().map(Into::into).collect();
    for row in conn.rows_in("SELECT id FROM endpoint WHERE failures > 0 AND id IN", all, "").await? {
        touched.insert(row.id("id")?);
    }
    if touched.is_empty() {
        return Ok(Vec::new());
    }
    let mut breakers = lock_owners(conn, touched.iter()).await?;
    let mut due: BTreeMap<EndpointId, Millis> = BTreeMap::new();
    let mut unwanted = BTreeSet::new();
    for one in ended {
        // Of what was not sent the receiver knows nothing.
        if one.next != Next::Skipped
            && let Some(breaker) = breakers.get_mut(&one.endpoint_id)
        {
            *breaker = breaker.after(!one.failed(), now);
        }
        match one.next {
            Next::RetryAt(at) => {
                due.entry(one.endpoint_id.clone()).and_modify(|due| *due = at.min(*due)).or_insert(at);
            }
            Next::DisableEndpoint => {
                unwanted.insert(one.endpoint_id.clone());
            }
            Next::Delivered | Next::Skipped | Next::Exhausted => {}
        }
    }
    set_breakers(conn, &breakers).await?;
    conn.exec_in(
        "UPDATE endpoint SET state = 'disabled', disabled_why = 'its receiver asked for it'
         WHERE state = 'active' AND id IN",
        unwanted.into_iter().map(Into::into).collect(),
        "",
    )
    .await?;
    due_by(conn, due).await?;
    let paused = |breaker: &Breaker| breaker.paused_until.is_some_and(|until| until > now);
    Ok(breakers.into_iter().filter(|(_, breaker)| paused(breaker)).map(|(id, _)| id).collect())
}
