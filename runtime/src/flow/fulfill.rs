//! Fulfill: claims hook runs that are due, calls the hooks, and writes down what came of it.
//!
//! A run is made at least once: a claim lasts for a lease, so what was claimed by a worker that died is claimed
//! again, under the same id. What a call wrote into its storage, the webhooks that it queued and its outcome are
//! one transaction; only what it sent over HTTP has happened, and carries the run's id for that reason. When
//! another run of the same hook has changed the storage meanwhile, the call is made again with what is there now.
//!
//! Places are given out fairly: to the merchant with the fewest calls under way first, and to no merchant and no
//! hook more than its share. So ten thousand waiting runs of one merchant cost another a place that becomes free a
//! little later, not the wait for all of them.

pub(super) mod call;

use std::{
    collections::{BTreeMap, HashMap},
    panic::AssertUnwindSafe,
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::call::{Ran, run_once};
use crate::{
    app::App,
    config,
    db::{
        DbError,
        hook_runs::queue::{self, Claimed, DueHook},
    },
    domain::Millis,
};

/// How often it looks without being woken: retries fall due, another replica may have dispatched.
const POLL: Duration = Duration::from_millis(250);
/// A claim lasts so much longer than a call may, to write it down in.
const LEASE_MARGIN_MS: Millis = 30_000;
/// What is under way when the process is told to stop may end within this time.
const GRACE: Duration = Duration::from_secs(5);
/// How often hooks that are not used are let go.
const LET_GO_EVERY: Duration = Duration::from_secs(60);
/// How often the compiled code of hooks that are gone is deleted.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// Runs until told to stop.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let mut work: JoinSet<(String, Ran)> = JoinSet::new();
    let mut places = Places::new(&app.config.hooks);
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut let_go = tokio::time::interval(LET_GO_EVERY);
    let mut sweep = tokio::time::interval_at(tokio::time::Instant::now() + SWEEP_EVERY, SWEEP_EVERY);
    let mut look = true;
    loop {
        if look && places.free() > 0 {
            look = false;
            match claim(&app, &places).await {
                Ok(claimed) => {
                    for one in claimed {
                        places.taken(&one.hook_id, &one.merchant_id);
                        start(&mut work, &app, one);
                    }
                }
                Err(error) => tracing::error!(%error, "hook runs could not be claimed; it tries again"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            Some(done) = work.join_next() => {
                ended(&mut places, done);
                while let Some(done) = work.try_join_next() {
                    ended(&mut places, done);
                }
                look = true;
            }
            () = app.wake.fulfill.notified() => look = true,
            _ = poll.tick() => look = true,
            _ = let_go.tick() => app.host.hooks().let_go(),
            _ = sweep.tick() => {
                if let Err(error) = app.host.hooks().sweep().await {
                    tracing::warn!(%error, "compiled code of hooks that are gone was not deleted");
                }
            }
        }
    }
    let wound_up = tokio::time::timeout(GRACE, async { while work.join_next().await.is_some() {} }).await;
    if wound_up.is_err() {
        tracing::warn!("some hooks were at work at the end; their runs are made again");
    }
}

fn start(work: &mut JoinSet<(String, Ran)>, app: &App, claimed: Claimed) {
    let (app, hook_id) = (app.clone(), claimed.hook_id.clone());
    work.spawn(async move {
        let ran = AssertUnwindSafe(run_once(&app, claimed)).catch_unwind().await;
        (hook_id, ran.unwrap_or(Ran::Broken))
    });
}

fn ended(places: &mut Places, done: Result<(String, Ran), tokio::task::JoinError>) {
    match done {
        Ok((hook_id, ran)) => {
            if ran == Ran::Broken {
                tracing::error!(
                    hook = hook_id,
                    "a hook's run broke off; it is made again when its lease ends"
                );
            }
            places.given_back(&hook_id, ran);
        }
        // Its panic is caught inside, so this is the runtime going down.
        Err(error) => tracing::error!(%error, "a hook's run was cut off"),
    }
}

async fn claim(app: &App, places: &Places) -> Result<Vec<Claimed>, DbError> {
    let now = app.clock.now();
    let due = queue::due_hooks(&mut app.db.read().await?, now).await?;
    let chosen = places.choose(&due);
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let wall_ms = Millis::try_from(app.config.hooks.wall_ms).unwrap_or(Millis::MAX / 2);
    let lease_until = now + wall_ms + LEASE_MARGIN_MS;
    app.db
        .write(move |conn| Box::pin(async move { queue::claim(conn, chosen, now, lease_until).await }))
        .await
}

/// Who has how many calls under way. Pure bookkeeping.
struct Places {
    all: usize,
    per_merchant: usize,
    per_hook: usize,
    /// The merchant of each hook with calls under way, and how many.
    hooks: HashMap<String, (String, usize)>,
    /// Hooks whose runs were in each other's way: so many at once, growing with each that goes well.
    windows: HashMap<String, usize>,
}

impl Places {
    fn new(config: &config::Hooks) -> Self {
        Self {
            all: usize::try_from(config.calls_max).unwrap_or(1).max(1),
            per_merchant: config.concurrency_per_merchant.max(1),
            per_hook: config.concurrency_per_hook.max(1),
            hooks: HashMap::new(),
            windows: HashMap::new(),
        }
    }

    fn free(&self) -> usize {
        self.all.saturating_sub(self.hooks.values().map(|(_, under_way)| under_way).sum())
    }

    fn of_hook(&self, hook_id: &str) -> usize {
        self.hooks.get(hook_id).map_or(0, |(_, under_way)| *under_way)
    }

    fn window(&self, hook_id: &str) -> usize {
        self.windows.get(hook_id).copied().unwrap_or(self.per_hook)
    }

    /// How many runs to claim of which hook: place by place, each to the merchant that has the fewest, and there
    /// to the hook that has the fewest; of equals to the one that has waited longest.
    fn choose(&self, due: &[DueHook]) -> Vec<(String, usize)> {
        let mut of_merchant: HashMap<&str, usize> = HashMap::new();
        for (merchant_id, under_way) in self.hooks.values() {
            *of_merchant.entry(merchant_id).or_default() += under_way;
        }
        let mut of_hook: Vec<usize> = due.iter().map(|hook| self.of_hook(&hook.id)).collect();
        let mut chosen: BTreeMap<usize, usize> = BTreeMap::new();
        for _ in 0..self.free() {
            let open = |(place, hook): &(usize, &DueHook)| {
                let merchant = of_merchant.get(hook.merchant_id.as_str()).copied().unwrap_or(0);
                of_hook.get(*place).is_some_and(|under_way| *under_way < self.window(&hook.id))
                    && merchant < self.per_merchant
            };
            let rank = |(place, hook): &(usize, &DueHook)| {
                let merchant = of_merchant.get(hook.merchant_id.as_str()).copied().unwrap_or(0);
                (merchant, of_hook.get(*place).copied().unwrap_or(0), *place)
            };
            let Some((place, hook)) = due.iter().enumerate().filter(open).min_by_key(rank) else { break };
            *of_merchant.entry(&hook.merchant_id).or_default() += 1;
            if let Some(under_way) = of_hook.get_mut(place) {
                *under_way += 1;
            }
            *chosen.entry(place).or_default() += 1;
        }
        chosen.into_iter().filter_map(|(place, take)| Some((due.get(place)?.id.clone(), take))).collect()
    }

    fn taken(&mut self, hook_id: &str, merchant_id: &str) {
        self.hooks.entry(hook_id.to_owned()).or_insert_with(|| (merchant_id.to_owned(), 0)).1 += 1;
    }

    fn given_back(&mut self, hook_id: &str, ran: Ran) {
        if let Some((_, under_way)) = self.hooks.get_mut(hook_id) {
            *under_way -= 1;
            if *under_way == 0 {
                self.hooks.remove(hook_id);
            }
        }
        match ran {
            Ran::InTheWay => {
                self.windows.insert(hook_id.to_owned(), 1);
            }
            Ran::Well => {
                if let Some(window) = self.windows.get_mut(hook_id) {
                    *window += 1;
                    if *window >= self.per_hook {
                        self.windows.remove(hook_id);
                    }
                }
            }
            Ran::Broken => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(all: usize, per_merchant: usize, per_hook: usize) -> Places {
        Places { all, per_merchant, per_hook, hooks: HashMap::new(), windows: HashMap::new() }
    }

    fn due(hooks: &[(&str, &str)]) -> Vec<DueHook> {
        let hook =
            |&(id, merchant): &(&str, &str)| DueHook { id: id.to_owned(), merchant_id: merchant.to_owned() };
        hooks.iter().map(hook).collect()
    }

    fn chosen(places: &Places, hooks: &[(&str, &str)]) -> Vec<(String, usize)> {
        places.choose(&due(hooks))
    }

    #[test]
    fn a_merchant_with_much_to_do_leaves_room_for_others() {
        let mut places = places(8, 4, 3);
        let busy = [("a1", "a"), ("a2", "a"), ("a3", "a")];
        assert_eq!(chosen(&places, &busy), [("a1".into(), 2), ("a2".into(), 1), ("a3".into(), 1)]);
        for hook in ["a1", "a1", "a2", "a3"] {
            places.taken(hook, "a");
        }
        assert_eq!(chosen(&places, &busy), [], "its share is used up");
        let others = [("a1", "a"), ("b1", "b")];
        assert_eq!(chosen(&places, &others), [("b1".into(), 3)]);
        places.given_back("a1", Ran::Well);
        assert_eq!(chosen(&places, &others), [("a1".into(), 1), ("b1".into(), 3)]);
    }

    #[test]
    fn the_one_with_the_fewest_comes_first() {
        let mut places = places(4, 4, 4);
        for _ in 0..3 {
            places.taken("a1", "a");
        }
        // One place is left, and "a" has waited longer.
        assert_eq!(chosen(&places, &[("a1", "a"), ("b1", "b")]), [("b1".into(), 1)]);
        places.taken("b1", "b");
        assert_eq!(chosen(&places, &[("a1", "a"), ("b1", "b"), ("c1", "c")]), []);
    }

    #[test]
    fn runs_that_are_in_each_others_way_go_one_by_one_for_a_while() {
        let mut places = places(8, 8, 3);
        places.taken("a1", "a");
        places.given_back("a1", Ran::InTheWay);
        assert_eq!(chosen(&places, &[("a1", "a")]), [("a1".into(), 1)]);
        for window in [2, 3] {
            places.taken("a1", "a");
            places.given_back("a1", Ran::Well);
            assert_eq!(chosen(&places, &[("a1", "a")]), [("a1".into(), window)]);
        }
        assert!(places.windows.is_empty() && places.hooks.is_empty());
    }
}
