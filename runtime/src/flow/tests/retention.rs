//! Old rows are deleted, needed ones stay, and payments are unaffected.

use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    config::Days,
    db::{
        Conn, DbError, args,
        deliveries::{self, Of},
        disk::{self, DiskLimit, DiskUse},
        hooks::{self, Limits, NewVersion},
        retention::Kind,
    },
    domain::{
        Millis,
        hook::Binding,
        id::{DeliveryId, EventId, HookId, HookRunId, HookVersionId, Id, Ids},
        tenant::Tenant,
    },
    flow::retention::{self, Passed},
};

const DAY_MS: Millis = 86_400_000;
const ENDPOINT: &str = "ep_1";

impl Shop {
    async fn write<F>(&self, work: F)
    where
        F: for<'t> FnOnce(&'t mut Conn) -> crate::db::Work<'t, Result<(), DbError>> + Send + 'static,
    {
        self.app.db.write(work).await.unwrap();
    }

    fn at(&self, days_ago: i64) -> Millis {
        self.app.clock.now() - days_ago * DAY_MS
    }

    async fn pass(&self) -> u64 {
        let passed = retention::pass(&self.app, &Kind::ALL, &CancellationToken::new()).await.unwrap();
        assert!(passed.is_over);
        passed.deleted
    }

    async fn count(&self, sql: &'static str) -> i64 {
        let row = self.app.db.read().await.unwrap().row(sql, vec![]).await.unwrap();
        row.unwrap().int("n").unwrap()
    }

    /// Number of rows that a pass reports it would delete.
    async fn old(&self, kind: Kind) -> i64 {
        retention::old(&self.app, kind).await.unwrap().rows
    }

    async fn endpoint(&self) {
        let merchant = self.merchant.clone();
        self.write(|conn| {
            Box::pin(async move {
                conn.exec(
                    "INSERT INTO endpoint (id, merchant_id, test, url, secret, state, failures, created_at)
                     VALUES ('ep_1', $1, 1, 'https://x', $2, 'active', 0, 1)",
                    args![merchant, vec![1_u8]],
                )
                .await
                .map(|_| ())
            })
        })
        .await;
    }

    /// An event that has been dispatched.
    async fn event(&self, days_ago: i64) -> EventId {
        let (at, merchant) = (self.at(days_ago), self.merchant.clone());
        let id = old_id::<EventId>(at);
        let event = id.clone();
        self.write(move |conn| {
            Box::pin(async move {
                conn.exec(
                    "INSERT INTO event (id, merchant_id, test, kind, sequence, payload, created_at)
                     VALUES ($1, $2, 1, 'invoice.paid', 0, '{}', $3)",
                    args![event, merchant, at],
                )
                .await
                .map(|_| ())
            })
        })
        .await;
        id
    }

    /// A delivery of the event, ended `ended` days ago if at all.
    async fn delivery(
        &self,
        event: &EventId,
        days_ago: i64,
        ended: Option<i64>,
        attempts: i64,
    ) -> DeliveryId {
        let (at, merchant, event) = (self.at(days_ago), self.merchant.clone(), event.clone());
        let (id, done_at) = (old_id::<DeliveryId>(at), ended.map(|days| self.at(days)));
        let delivery = id.clone();
        self.write(move |conn| {
            Box::pin(async move {
                let state = if done_at.is_some() { "exhausted" } else { "pending" };
                conn.exec(
                    "INSERT INTO delivery (id, event_id, endpoint_id, merchant_id, test, state, attempts, created_at, done_at)
                     VALUES ($1, $2, 'ep_1', $3, 1, $4, $5, $6, $7)",
                    args![&delivery, event, merchant, state, attempts, at, done_at],
                )
                .await?;
                let rows = (1..=attempts).map(|number| args![&delivery, number, at, 1_i64]).collect();
                conn.insert_many("INSERT INTO attempt (delivery_id, number, at, duration_ms)", rows, "").await?;
                if done_at.is_none() {
                    let sql = "INSERT INTO delivery_queue (delivery_id, endpoint_id, due_at, fence, attempts_before)
                               VALUES ($1, 'ep_1', 1, 0, 0)";
                    conn.exec(sql, args![&delivery]).await?;
                }
                Ok(())
            })
        })
        .await;
        id
    }

    /// A hook with a version; its id and the version's.
    async fn hook(&self) -> (HookId, HookVersionId) {
        let tenant = Tenant::test(self.merchant.clone());
        let new = NewVersion {
            name: "hook".to_owned(),
            version: "0.1.0".to_owned(),
            sha256: "00".to_owned(),
            wasm: vec![0],
            compiled: 1,
            manifest: "{}".to_owned(),
            binding: Binding::default(),
        };
        let limits = Limits { hooks: 9, versions: 9, disk: DiskLimit::of_mib(0) };
        let stored = self
            .app
            .db
            .write(move |conn| Box::pin(async move { hooks::insert(conn, &tenant, new, limits, 5).await }));
        let (hook, version) = stored.await.unwrap();
        (hook.id, version.id)
    }

    /// A run that ended then, with a call whose recording has 100 bytes.
    async fn run(
        &self,
        hook: &(HookId, HookVersionId),
        event: &EventId,
        days_ago: i64,
        calls: i64,
    ) -> HookRunId {
        let (at, merchant, event, hook) =
            (self.at(days_ago), self.merchant.clone(), event.clone(), hook.clone());
        let id = old_id::<HookRunId>(at);
        let run = id.clone();
        self.write(move |conn| {
            Box::pin(async move {
                conn.exec(
                    "INSERT INTO hook_run (id, hook_id, event_id, merchant_id, test, state, attempts, created_at, done_at)
                     VALUES ($1, $2, $3, $4, 1, 'done', $5, $6, $6)",
                    args![&run, &hook.0, event, &merchant, calls, at],
                )
                .await?;
                let call = |number| args![&run, number, at, &hook.1, "t".repeat(100), 300_i64, 100_i64];
                let rows = (1..=calls).map(call).collect();
                conn.insert_many(
                    "INSERT INTO hook_attempt (run_id, number, at, version_id, outcome, note, duration_us, cpu_us, fuel,
                         memory_bytes, host_calls, http_requests, log, tape, bytes, tape_bytes)
                     SELECT v.column1, v.column2, v.column3, v.column4, 'done', '', 1, 1, 1, 1, 1, 1, '[]', v.column5,
                         v.column6, v.column7 FROM (",
                    rows,
                    ") AS v",
                )
                .await?;
                let sql = "INSERT INTO hook_shadow (hook_id, version_id, run_id, number, same, difference, at, bytes)
                           VALUES ($1, $2, $3, 1, 1, 'null', $4, 10)";
                conn.exec(sql, args![&hook.0, &hook.1, &run, at]).await?;
                disk::count(conn, &merchant, DiskUse::of_runs(300 * calls + 10)).await.map(|_| ())
            })
        })
        .await;
        id
    }

    async fn runs_bytes(&self) -> i64 {
        disk::taken(&mut self.app.db.read().await.unwrap(), &self.merchant).await.unwrap().runs
    }
}

/// An id as it was made then: the ids of a process never go back.
fn old_id<I: Id>(at: Millis) -> I {
    let random: I = Ids::of_process().next(1_800_000_000_000);
    let (random, first) = (random.as_str(), I::first_at(at));
    let body = format!("{}{}", &first.as_str()[..first.as_str().len() - 16], &random[random.len() - 16..]);
    I::of_body(&body[I::PREFIX.len()..])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_goes_and_what_is_needed_stays() {
    for shop in shops().await {
        shop.endpoint().await;
        let hook = shop.hook().await;
        // More than a step takes, with one that was sent again very often, and one that is not ended among them.
        let mut kept = Vec::new();
        for number in 0..450 {
            let event = shop.event(400).await;
            let ended = (number % 150 != 7).then_some(100);
            let delivery = shop.delivery(&event, 400, ended, if number == 20 { 4_500 } else { 1 }).await;
            if ended.is_none() {
                kept.push(delivery);
            }
        }
        // Sent again of late; young; of an event that is too young itself.
        let late = shop.event(400).await;
        kept.push(shop.delivery(&late, 400, Some(10), 1).await);
        let young = shop.event(1).await;
        kept.push(shop.delivery(&young, 1, Some(1), 1).await);
        let of_young = shop.event(300).await;
        shop.delivery(&of_young, 300, Some(300), 1).await;
        // One is run by a hook, one waits for dispatch.
        let ran = shop.event(400).await;
        shop.run(&hook, &ran, 400, 2_100).await;
        let ran_of_late = shop.event(400).await;
        shop.run(&hook, &ran_of_late, 40, 1).await;
        let waiting = shop.event(400).await;
        let queued = waiting.clone();
        shop.write(|conn| {
            Box::pin(async move {
                conn.exec("DELETE FROM dispatch_queue", args![]).await?;
                let sql = "INSERT INTO dispatch_queue (event_id) VALUES ($1)";
                conn.exec(sql, args![queued]).await.map(|_| ())
            })
        })
        .await;
        assert_eq!((shop.old(Kind::Deliveries).await, shop.old(Kind::HookRuns).await), (448, 1));
        assert_eq!((shop.old(Kind::Tapes).await, shop.old(Kind::HookShadows).await), (2_101, 1));
        assert_eq!(shop.runs_bytes().await, 300 * 2_101 + 20);
        let deleted = shop.pass().await;
        // 447 events of deliveries that went, and that of the run; of recordings one is of a run that is left.
        assert_eq!(deleted, 448 + 1 + 1 + 1 + 447 + 1);
        let left = shop.count("SELECT COUNT(*) AS n FROM delivery").await;
        assert_eq!((left, kept.len()), (5, 5));
        assert_eq!(shop.count("SELECT COUNT(*) AS n FROM attempt").await, 5);
        assert_eq!(shop.count("SELECT COUNT(*) AS n FROM hook_run").await, 1);
        assert_eq!(shop.count("SELECT COUNT(*) AS n FROM hook_attempt WHERE tape_bytes = 0").await, 1);
        assert_eq!(shop.count("SELECT COUNT(*) AS n FROM hook_shadow").await, 1);
        assert_eq!(shop.count("SELECT COUNT(*) AS n FROM event").await, 3 + 1 + 1 + 1 + 1 + 1);
        assert_eq!(shop.runs_bytes().await, 200 + 10);
        for kind in Kind::ALL {
            // What waits for dispatch is counted with the others: nothing else tells it apart there.
            let waits = i64::from(kind == Kind::Events);
            assert_eq!(shop.old(kind).await, waits, "{}", kind.as_str());
        }
        assert_eq!(shop.pass().await, 0);
        // Pages and ranges go on behind what has gone.
        let gone = old_id::<DeliveryId>(shop.at(200));
        let mut conn = shop.app.db.read().await.unwrap();
        let of = Of::Endpoint(ENDPOINT.into());
        let page =
            deliveries::list(&mut conn, &Tenant::test(shop.merchant.clone()), of, None, gone.clone(), 99)
                .await
                .unwrap();
        assert_eq!(page.len(), 4, "those that are older");
        drop(conn);
        let (merchant, after) = (shop.merchant.clone(), Some(gone));
        let range = deliveries::Range {
            endpoint_id: ENDPOINT.into(),
            from: 0,
            to: Millis::MAX,
            delivered_too: true,
            after,
        };
        let resent = shop.app.db.write::<_, DbError, _>(move |conn| {
            Box::pin(async move {
                deliveries::resend_range(conn, &Tenant::test(merchant.clone()), range, 99, 5).await
            })
        });
        assert_eq!(resent.await.unwrap().len(), 1, "those that are younger");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn money_goes_on_when_its_log_has_gone() {
    for mut shop in shops().await {
        let paid = shop.invoice("12.50").await;
        let open = shop.invoice("7").await;
        shop.pay(&paid.address, &paid.due.to_string()).await;
        shop.mine(30).await;
        shop.go_on().await;
        assert_eq!(shop.now(&paid).await.status, Status::Paid);
        let sightings = "SELECT COUNT(*) AS n FROM sighting";
        let final_ones = shop.count(sightings).await;
        // Not settled yet, and not final yet: its sightings are needed.
        shop.pay(&open.address, &open.due.to_string()).await;
        shop.mine(2).await;
        while matches!(shop.watcher.step().await.unwrap(), Step::Read { more: true, .. }) {}
        let all = shop.count(sightings).await;
        shop.app.clock.shift(40 * DAY_MS);
        assert_eq!(shop.old(Kind::Sightings).await, final_ones);
        shop.pass().await;
        assert_eq!(shop.count(sightings).await, all - final_ones);
        assert!(final_ones > 0 && all > final_ones);
        shop.go_on().await;
        assert_eq!(shop.now(&open).await.status, Status::Paid);
        // What was seen before an invoice was made pays it not, though nothing is left of how it was seen.
        shop.mine(30).await;
        shop.go_on().await;
        shop.pass().await;
        assert_eq!(shop.count(sightings).await, 0);
        let next = shop.invoice("12.50").await;
        shop.pay(&next.address, &next.due.to_string()).await;
        shop.mine(30).await;
        shop.go_on().await;
        assert_eq!(shop.now(&next).await.status, Status::Paid);
        assert_eq!(shop.now(&paid).await.credited, paid.due);
        assert_eq!(shop.ledger().await, (3, true));
        assert!(shop.unmatched().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_for_ever_stays_and_recordings_of_deleted_versions_go_at_once() {
    for mut shop in shops().await {
        let hook = shop.hook().await;
        let event = shop.event(900).await;
        shop.run(&hook, &event, 900, 1).await;
        shop.write(|conn| {
            Box::pin(async { conn.exec("DELETE FROM dispatch_queue", args![]).await.map(|_| ()) })
        })
        .await;
        let mut config = (*shop.app.config).clone();
        let never = Days(None);
        config.retention.hook_runs_days = never;
        config.retention.events_days = never;
        config.retention.tapes_days = never;
        shop.app.app.config = Arc::new(config);
        assert_eq!((shop.old(Kind::Tapes).await, shop.pass().await), (0, 0));
        let id = hook.1.clone();
        shop.write(|conn| {
            Box::pin(async move {
                // As if there had been more of them than are deleted with their version.
                conn.exec("DELETE FROM hook_version WHERE id = $1", args![id]).await.map(|_| ())
            })
        })
        .await;
        assert_eq!((shop.old(Kind::Tapes).await, shop.pass().await), (1, 1));
        assert_eq!(shop.runs_bytes().await, 210);
        // While another replica is at it, this one is not, and looks again soon.
        let sql = "UPDATE lease SET holder = 'another' WHERE resource = 'retention'";
        shop.write(move |conn| Box::pin(async move { conn.exec(sql, args![]).await.map(|_| ()) })).await;
        shop.app.leases.remember("retention", None, 0);
        let passed = retention::pass(&shop.app, &Kind::ALL, &CancellationToken::new()).await.unwrap();
        assert_eq!(passed, Passed { deleted: 0, is_over: false });
    }
}
