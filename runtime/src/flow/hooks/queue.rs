//! A queue of calls of hooks, in which no merchant holds up another.
//!
//! Permits are given out fairly: to the merchant with the fewest calls under way first, and to no merchant and no
//! hook more than its share. So ten thousand waiting calls of one merchant cost another a permit that becomes free a
//! little later, not the wait for all of them.
//!
//! Hooks whose last call waited long for somebody outside have half of all permits together, so that a service that
//! many of them ask and that does not answer leaves the other half to the rest.
//!
//! A call of which nothing was heard may have ended the process, and so may any that was made beside it. So after
//! [`UNHEARD_TO_BE_ALONE`] claims it is made while no other is; and if nothing is heard of that either, it is set aside
//! and its hook disabled.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::Future,
    panic::AssertUnwindSafe,
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    sync::{Notify, RwLock},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    config,
    db::{
        Conn, DbError, alarms,
        hooks::{self, HookState, run_queue::DueHook},
    },
    domain::{
        Millis,
        alarm::{Of, WorkSetAside},
        event::Data,
        id::{HookId, MerchantId},
        retry::UNHEARD_MAX,
    },
};

/// Time between polls: retries fall due, and another replica may have queued something.
const POLL: Duration = Duration::from_millis(250);
/// Time in which calls under way may end after a stop.
const GRACE: Duration = Duration::from_secs(5);

/// Time by which a claim outlasts a call's limit, milliseconds: the time to record its result.
pub(super) const LEASE_MARGIN_MS: Millis = 30_000;
/// Time after which a call counts as slow: it waits for an outside service.
pub(super) const SLOW: Duration = Duration::from_secs(1);
/// Maximum number of slow hooks remembered; beyond it all are forgotten.
const SLOW_KEPT_MAX: usize = 10_000;

/// Number of claims without a result after which a call is made alone.
const UNHEARD_TO_BE_ALONE: i64 = 2;
/// Lock held shared by each call under way, and exclusively by one that has to be alone.
static UNDER_WAY: RwLock<()> = RwLock::const_new(());

/// Outcome of a call, as far as it matters to the next ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunOutcome {
    Well,
    /// The call went well, but waited longer than [`SLOW`] for an outside service.
    Slowly,
    /// Calls of the same hook changed its storage under one another.
    InTheWay,
    /// The outcome is unknown; the call is made again when its lease ends.
    Broken,
}

/// A queue of calls.
pub(super) trait Queue: 'static {
    /// Name in the log.
    const NAME: &'static str;
    /// A call that was claimed.
    type Item: Send + 'static;

    fn bell(app: &App) -> &Notify;

    /// Hooks with something due, the longest waiting first.
    fn due(app: &App, now: Millis) -> impl Future<Output = Result<Vec<DueHook>, DbError>> + Send;

    /// Claims up to the given number of calls of each of these hooks.
    fn claim(
        app: &App,
        hooks: Vec<(HookId, usize)>,
        now: Millis,
    ) -> impl Future<Output = Result<Vec<Self::Item>, DbError>> + Send;

    /// Ids of the hook and of its merchant.
    fn owner(claimed: &Self::Item) -> (&HookId, &MerchantId);

    /// Number of claims in a row, before this one, without a result.
    fn unheard(claimed: &Self::Item) -> i64;

    /// Makes a call and records its result.
    fn make(app: App, claimed: Self::Item) -> impl Future<Output = RunOutcome> + Send;
}

/// Works a queue off until told to stop.
pub(super) async fn run<Q: Queue>(app: &App, stop: &CancellationToken) {
    let mut work: JoinSet<(HookId, RunOutcome)> = JoinSet::new();
    let mut permits = Permits::new(&app.config.hooks);
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        if permits.free() > 0 {
            match claim::<Q>(app, &permits).await {
                Ok(claimed) => {
                    for one in claimed {
                        let (hook_id, merchant_id) = Q::owner(&one);
                        permits.taken(hook_id, merchant_id);
                        start::<Q>(&mut work, app, one);
                    }
                }
                Err(error) if error.trouble().is_some() => {}
                Err(error) => {
                    tracing::error!(queue = Q::NAME, %error, "nothing could be claimed; it tries again");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            Some(done) = work.join_next() => {
                ended::<Q>(&mut permits, done);
                while let Some(done) = work.try_join_next() {
                    ended::<Q>(&mut permits, done);
                }
            }
            () = Q::bell(app).notified() => {}
            _ = poll.tick() => {}
        }
    }
    let wound_up = tokio::time::timeout(GRACE, async { while work.join_next().await.is_some() {} }).await;
    if wound_up.is_err() {
        tracing::warn!(queue = Q::NAME, "some hooks were at work at the end; what they did is made again");
    }
}

async fn claim<Q: Queue>(app: &App, permits: &Permits) -> Result<Vec<Q::Item>, DbError> {
    let now = app.clock.now();
    let chosen = permits.choose(&Q::due(app, now).await?);
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    Q::claim(app, chosen, now).await
}

fn start<Q: Queue>(work: &mut JoinSet<(HookId, RunOutcome)>, app: &App, claimed: Q::Item) {
    let (app, hook_id) = (app.clone(), Q::owner(&claimed).0.to_owned());
    let alone = Q::unheard(&claimed) >= UNHEARD_TO_BE_ALONE;
    work.spawn(async move {
        let _turn = if alone {
            tracing::warn!(
                queue = Q::NAME,
                hook = hook_id.as_str(),
                "nothing was heard of a call, again; it is made while no other is"
            );
            (None, Some(UNDER_WAY.write().await))
        } else {
            (Some(UNDER_WAY.read().await), None)
        };
        let ran = AssertUnwindSafe(Q::make(app, claimed)).catch_unwind().await;
        (hook_id, ran.unwrap_or(RunOutcome::Broken))
    });
}

fn ended<Q: Queue>(permits: &mut Permits, done: Result<(HookId, RunOutcome), tokio::task::JoinError>) {
    match done {
        Ok((hook_id, ran)) => {
            if ran == RunOutcome::Broken {
                let queue = Q::NAME;
                tracing::error!(
                    queue,
                    hook = hook_id.as_str(),
                    "a call broke off; it is made again when its lease ends"
                );
            }
            permits.given_back(&hook_id, ran);
        }
        // Its panic is caught inside, so this is the runtime going down.
        Err(error) => tracing::error!(queue = Q::NAME, %error, "a call was cut off"),
    }
}

/// Number of calls under way, by hook. Pure bookkeeping.
struct Permits {
    all: usize,
    per_merchant: usize,
    per_hook: usize,
    /// The merchant of each hook with calls under way, and their number.
    hooks: HashMap<HookId, (MerchantId, usize)>,
    /// Maximum number of calls at once of hooks whose runs conflicted; it grows with each that goes well.
    windows: HashMap<HookId, usize>,
    /// Hooks whose last call went slowly.
    slow: HashSet<HookId>,
}

impl Permits {
    fn new(config: &config::Hooks) -> Self {
        Self {
            // Half of them may be waiting: see `host::seat`.
            all: usize::try_from(config.calls_max).unwrap_or(1).max(1).saturating_mul(2),
            per_merchant: config.concurrency_per_merchant.max(1),
            per_hook: config.concurrency_per_hook.max(1),
            hooks: HashMap::new(),
            windows: HashMap::new(),
            slow: HashSet::new(),
        }
    }

    fn free(&self) -> usize {
        self.all.saturating_sub(self.hooks.values().map(|(_, under_way)| under_way).sum())
    }

    fn of_hook(&self, hook_id: &HookId) -> usize {
        self.hooks.get(hook_id).map_or(0, |(_, under_way)| *under_way)
    }

    fn window(&self, hook_id: &HookId) -> usize {
        self.windows.get(hook_id).copied().unwrap_or(self.per_hook)
    }

    /// Number of runs to claim of each hook. Permits are given one by one to the merchant with the fewest, and there to
    /// the hook with the fewest; among equals, to the one that has waited longest.
    fn choose(&self, due: &[DueHook]) -> Vec<(HookId, usize)> {
        let mut of_merchant: HashMap<&MerchantId, usize> = HashMap::new();
        for (merchant_id, under_way) in self.hooks.values() {
            *of_merchant.entry(merchant_id).or_default() += under_way;
        }
        let is_slow = |id: &HookId| self.slow.contains(id);
        let mut slow: usize = self.hooks.iter().filter(|(id, _)| is_slow(id)).map(|(_, (_, n))| n).sum();
        let mut of_hook: Vec<usize> = due.iter().map(|hook| self.of_hook(&hook.id)).collect();
        let mut chosen: BTreeMap<usize, usize> = BTreeMap::new();
        for _ in 0..self.free() {
            let open = |(index, hook): &(usize, &DueHook)| {
                let merchant = of_merchant.get(&hook.merchant_id).copied().unwrap_or(0);
                of_hook.get(*index).is_some_and(|under_way| *under_way < self.window(&hook.id))
                    && merchant < self.per_merchant
                    && (slow < self.all.div_ceil(2) || !is_slow(&hook.id))
            };
            let rank = |(index, hook): &(usize, &DueHook)| {
                let merchant = of_merchant.get(&hook.merchant_id).copied().unwrap_or(0);
                (merchant, of_hook.get(*index).copied().unwrap_or(0), *index)
            };
            let Some((index, hook)) = due.iter().enumerate().filter(open).min_by_key(rank) else { break };
            *of_merchant.entry(&hook.merchant_id).or_default() += 1;
            slow += usize::from(is_slow(&hook.id));
            if let Some(under_way) = of_hook.get_mut(index) {
                *under_way += 1;
            }
            *chosen.entry(index).or_default() += 1;
        }
        chosen.into_iter().filter_map(|(index, take)| Some((due.get(index)?.id.clone(), take))).collect()
    }

    fn taken(&mut self, hook_id: &HookId, merchant_id: &MerchantId) {
        self.hooks.entry(hook_id.clone()).or_insert_with(|| (merchant_id.clone(), 0)).1 += 1;
    }

    fn given_back(&mut self, hook_id: &HookId, ran: RunOutcome) {
        if let Some((_, under_way)) = self.hooks.get_mut(hook_id) {
            *under_way -= 1;
            if *under_way == 0 {
                self.hooks.remove(hook_id);
            }
        }
        if ran == RunOutcome::Slowly {
            if self.slow.len() >= SLOW_KEPT_MAX {
                self.slow.clear();
            }
            self.slow.insert(hook_id.clone());
        } else if ran == RunOutcome::Well {
            self.slow.remove(hook_id);
        }
        match ran {
            RunOutcome::InTheWay => {
                self.windows.insert(hook_id.clone(), 1);
            }
            RunOutcome::Well | RunOutcome::Slowly => {
                if let Some(window) = self.windows.get_mut(hook_id) {
                    *window += 1;
                    if *window >= self.per_hook {
                        self.windows.remove(hook_id);
                    }
                }
            }
            RunOutcome::Broken => {}
        }
    }
}

/// Disables the hook of a call that ended the process too often, and tells the operator.
pub(super) async fn set_aside(
    conn: &mut Conn,
    queue: &'static str,
    hook_id: &HookId,
    item: &str,
    now: Millis,
) -> Result<(), DbError> {
    metrics::counter!("kassa_set_aside_total", "queue" => queue).increment(1);
    let why = format!(
        "a call ended the process {UNHEARD_MAX} times, the last time while no other was made: it is set aside, and its hook \
         is disabled. Look at the component before it is enabled again"
    );
    tracing::error!(queue, hook = hook_id.as_str(), item, "{why}");
    hooks::set_state(conn, hook_id, HookState::Disabled).await?;
    let of = Of::Hook { hook_id: hook_id.clone() };
    let alarm = Data::WorkSetAside(WorkSetAside { queue, work: item.to_owned(), of, why }.into());
    alarms::tell(conn, &alarm, now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(all: usize, per_merchant: usize, per_hook: usize) -> Permits {
        let (hooks, windows, slow) = (HashMap::new(), HashMap::new(), HashSet::new());
        Permits { all, per_merchant, per_hook, hooks, windows, slow }
    }

    fn due(hooks: &[(&str, &str)]) -> Vec<DueHook> {
        let hook = |&(id, merchant): &(&str, &str)| DueHook { id: id.into(), merchant_id: merchant.into() };
        hooks.iter().map(hook).collect()
    }

    fn chosen(permits: &Permits, hooks: &[(&str, &str)]) -> Vec<(HookId, usize)> {
        permits.choose(&due(hooks))
    }

    #[test]
    fn a_merchant_with_much_to_do_leaves_room_for_others() {
        let mut permits = permits(8, 4, 3);
        let busy = [("a1", "a"), ("a2", "a"), ("a3", "a")];
        assert_eq!(chosen(&permits, &busy), [("a1".into(), 2), ("a2".into(), 1), ("a3".into(), 1)]);
        for hook in ["a1", "a1", "a2", "a3"] {
            permits.taken(&hook.into(), &"a".into());
        }
        assert_eq!(chosen(&permits, &busy), [], "its share is used up");
        let others = [("a1", "a"), ("b1", "b")];
        assert_eq!(chosen(&permits, &others), [("b1".into(), 3)]);
        permits.given_back(&"a1".into(), RunOutcome::Well);
        assert_eq!(chosen(&permits, &others), [("a1".into(), 1), ("b1".into(), 3)]);
    }

    #[test]
    fn the_one_with_the_fewest_comes_first() {
        let mut permits = permits(4, 4, 4);
        for _ in 0..3 {
            permits.taken(&"a1".into(), &"a".into());
        }
        // One permit is left, and "a" has waited longer.
        assert_eq!(chosen(&permits, &[("a1", "a"), ("b1", "b")]), [("b1".into(), 1)]);
        permits.taken(&"b1".into(), &"b".into());
        assert_eq!(chosen(&permits, &[("a1", "a"), ("b1", "b"), ("c1", "c")]), []);
    }

    #[test]
    fn hooks_that_wait_long_have_half_of_the_permits() {
        let mut permits = permits(8, 4, 4);
        let slow = [("a1", "a"), ("b1", "b"), ("c1", "c")];
        for (hook, merchant) in slow {
            permits.taken(&hook.into(), &merchant.into());
            permits.given_back(&hook.into(), RunOutcome::Slowly);
        }
        let taken = |chosen: &[(HookId, usize)]| chosen.iter().map(|(_, take)| take).sum::<usize>();
        let chosen = chosen(&permits, &slow);
        assert_eq!(taken(&chosen), 4, "{chosen:?}");
        let with_another: Vec<_> = slow.into_iter().chain([("d1", "d")]).collect();
        let chosen = permits.choose(&due(&with_another));
        assert_eq!(taken(&chosen), 8, "{chosen:?}");
        assert!(chosen.contains(&("d1".into(), 4)));
        // One that is quick again is as any.
        permits.taken(&"a1".into(), &"a".into());
        permits.given_back(&"a1".into(), RunOutcome::Well);
        assert_eq!(permits.choose(&due(&slow[..1])), [("a1".into(), 4)]);
        assert_eq!(taken(&permits.choose(&due(&slow))), 8);
    }

    #[test]
    fn runs_that_are_in_each_others_way_go_one_by_one_for_a_while() {
        let mut permits = permits(8, 8, 3);
        permits.taken(&"a1".into(), &"a".into());
        permits.given_back(&"a1".into(), RunOutcome::InTheWay);
        assert_eq!(chosen(&permits, &[("a1", "a")]), [("a1".into(), 1)]);
        for window in [2, 3] {
            permits.taken(&"a1".into(), &"a".into());
            permits.given_back(&"a1".into(), RunOutcome::Well);
            assert_eq!(chosen(&permits, &[("a1", "a")]), [("a1".into(), window)]);
        }
        assert!(permits.windows.is_empty() && permits.hooks.is_empty());
    }
}
