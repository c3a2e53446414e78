//! Blocks that are read again, step by step, and single transactions.

use super::*;
use crate::{
    db::{Conn, DbError, chain, rescans, transfers::Listed},
    domain::{
        id::{AddressId, Id, RescanId, TransferId},
        rescan::State,
        tenant::Tenant,
    },
    flow::{
        find::{FindFailed, Whereabouts, find},
        rescan::{
            Step as Rescanned, Worker,
            order::{Order, Refused, Start, place},
        },
    },
};

impl Shop {
    async fn order(&self, start: Start, to: Option<i64>) -> Result<rescans::Rescan, Refused> {
        let (id, now) = (self.app.ids.next::<RescanId>(1), self.app.clock.now());
        let order = Order { start, to };
        self.app
            .db
            .write(move |conn| Box::pin(async move { place(conn, NETWORK, order, id, now).await }))
            .await
    }

    fn worker(&self) -> Worker {
        Worker::new((*self.app).clone(), Arc::clone(&self.network))
    }

    /// Reads again until the rescan has ended. Returns it, and the number of steps.
    async fn rescan(&mut self, start: Start, to: Option<i64>) -> (rescans::Rescan, usize) {
        let rescan = self.order(start, to).await.unwrap();
        let mut worker = self.worker();
        let mut steps = 1;
        while !matches!(worker.step().await.unwrap(), Rescanned::Ended(_)) {
            steps += 1;
            assert!(steps < 200);
        }
        self.go_on().await;
        (self.rescan_now(rescan.id.as_str()).await, steps)
    }

    async fn rescan_now(&self, id: &str) -> rescans::Rescan {
        rescans::get(&mut self.conn().await, &id.into()).await.unwrap().unwrap()
    }

    async fn conn(&self) -> Conn {
        self.app.db.read().await.unwrap()
    }

    async fn cursor(&self) -> chain::Cursor {
        chain::cursor(&mut self.conn().await, NETWORK).await.unwrap().unwrap()
    }

    /// A customer's address, which is registered only later.
    async fn child(&self, index: u32) -> crate::host::Address {
        self.app.host.derive_address(&self.network, "sbxpub", index).await.unwrap().unwrap()
    }

    async fn register(&self, child: crate::host::Address, customer: &str) {
        let new = addresses::NewAddress {
            id: AddressId::new(1),
            merchant_id: self.merchant.clone(),
            network: NETWORK.to_owned(),
            address: child.text,
            key: child.key,
            kind: addresses::Kind::Customer,
            unique_id: Some(customer.to_owned()),
            meta: None,
            derived_index: None,
            created_at: 1,
        };
        self.app
            .db
            .write::<_, addresses::CreateError, _>(move |conn| Box::pin(addresses::create(conn, new)))
            .await
            .unwrap();
    }

    /// Row counts of all tables that show movements of money.
    async fn marks(&self) -> Vec<i64> {
        let mut conn = self.conn().await;
        let sql = "SELECT (SELECT COUNT(*) FROM transfer) AS a, (SELECT COUNT(*) FROM sighting) AS b,
                       (SELECT COUNT(*) FROM payment) AS c, (SELECT COUNT(*) FROM journal) AS d,
                       (SELECT COUNT(*) FROM event) AS e, (SELECT COUNT(*) FROM unmatched) AS f,
                       (SELECT COUNT(*) FROM block) AS g, (SELECT seq FROM cursor WHERE network = 'sandbox') AS h";
        let row = conn.row(sql, vec![]).await.unwrap().unwrap();
        ["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| row.int(name).unwrap()).to_vec()
    }

    async fn all(&self) -> Vec<Listed> {
        let filter = transfers::Filter::default();
        transfers::list(
            &mut self.conn().await,
            &Tenant::test(self.merchant.clone()),
            &filter,
            TransferId::greatest(),
            100,
        )
        .await
        .unwrap()
    }

    async fn find(&self, tx: &str) -> Result<Whereabouts, FindFailed> {
        find(&self.app, &self.network, &self.merchant, tx).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_its_address_was_known_is_found_and_credited_once() {
    for mut shop in shops().await {
        let child = shop.child(8).await;
        shop.pay(&child.text, "5000000").await;
        let invoice = shop.invoice("3").await;
        shop.pay(&invoice.address, &invoice.due.to_string()).await;
        shop.mine(40).await;
        shop.go_on().await;
        shop.register(child, "ann").await;
        assert_eq!(shop.ledger().await, (1, true));
        let cursor = shop.cursor().await;

        let (done, _) = shop.rescan(Start::Height(1), None).await;
        assert_eq!((done.state, done.found, done.error), (State::Done, 1, None));
        assert_eq!(shop.ledger().await, (2, true));
        let found = &shop.all().await[0];
        assert_eq!((found.transfer.amount, found.transfer.height), (Some(Amount(5_000_000)), 1));
        assert_eq!(found.transfer.status, crate::domain::transfer::Status::Final);
        assert_eq!(found.paid.len(), 1);
        // The watcher's place is as it was.
        assert_eq!(shop.cursor().await, cursor);

        // Once more, and once more over a part: nothing changes.
        let marks = shop.marks().await;
        for (from, to) in [(1, None), (1, Some(2)), (40, None), (cursor.height, None)] {
            let (done, _) = shop.rescan(Start::Height(from), to).await;
            assert_eq!((done.state, done.found), (State::Done, 0));
            assert_eq!(shop.marks().await, marks);
        }
        assert_eq!(shop.ledger().await, (2, true));
        assert_eq!(shop.now(&invoice).await.status, Status::Paid);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_deep_yet_is_credited_when_it_is() {
    for mut shop in shops().await {
        let child = shop.child(8).await;
        shop.pay(&child.text, "5000000").await;
        shop.go_on().await;
        shop.register(child, "ann").await;
        let (done, _) = shop.rescan(Start::Height(1), None).await;
        assert_eq!((done.state, done.found), (State::Done, 1));
        assert_eq!(shop.all().await[0].transfer.status, crate::domain::transfer::Status::Included);
        assert_eq!(shop.ledger().await, (0, true));
        shop.mine(2).await;
        shop.go_on().await;
        assert_eq!(shop.ledger().await, (1, true));
        // And it is taken back like any other.
        let tx = shop.all().await[0].transfer.tx.clone();
        shop.simulate(json!({"do": "retract", "tx": tx})).await;
        shop.go_on().await;
        assert_eq!(shop.ledger().await, (0, true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_after_a_restart_and_ends_when_it_is_cancelled() {
    for mut shop in shops().await {
        let child = shop.child(8).await;
        for _ in 0..3 {
            shop.mine(300).await;
            shop.pay(&child.text, "7").await;
        }
        shop.go_on().await;
        shop.register(child, "ann").await;
        let rescan = shop.order(Start::Height(1), None).await.unwrap();
        // Each step is another life.
        let mut lives = 0;
        while !matches!(shop.worker().step().await.unwrap(), Rescanned::Ended(State::Done)) {
            lives += 1;
            let now = shop.rescan_now(rescan.id.as_str()).await;
            assert!(now.next > now.from && now.state == State::Running);
        }
        assert!(lives >= 2);
        assert_eq!(shop.rescan_now(rescan.id.as_str()).await.found, 3);
        assert_eq!(shop.worker().step().await.unwrap(), Rescanned::Idle);

        let rescan = shop.order(Start::Height(1), None).await.unwrap();
        let mut worker = shop.worker();
        assert_eq!(worker.step().await.unwrap(), Rescanned::Moved);
        let id = rescan.id.clone();
        shop.app
            .db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move { rescans::end(conn, &id, State::Cancelled, None, 5).await })
            })
            .await
            .unwrap();
        assert_eq!(worker.step().await.unwrap(), Rescanned::Idle);
        assert_eq!(shop.rescan_now(rescan.id.as_str()).await.state, State::Cancelled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_is_where_its_first_block_is() {
    for mut shop in shops().await {
        shop.mine(700).await;
        shop.app.clock.shift(3_600_000);
        let since = shop.app.clock.now();
        for _ in 0..300 {
            shop.app.clock.shift(60_000);
            shop.mine(1).await;
        }
        shop.go_on().await;
        let (done, steps) = shop.rescan(Start::Time(since), None).await;
        assert_eq!((done.state, done.from, done.to), (State::Done, Some(701), 1_000));
        assert!(steps < 40, "{steps}");
        // The clock runs on beside its shifts.
        let (done, _) = shop.rescan(Start::Time(since + 100 * 60_000 - 30_000), Some(900)).await;
        assert_eq!((done.state, done.from, done.to), (State::Done, Some(800), 900));
        let (end, _) = shop.rescan(Start::Time(since + 250 * 60_000), Some(900)).await;
        assert_eq!(end.state, State::Failed);
        assert!(end.error.unwrap().contains("above the last one"));
        let (done, _) = shop.rescan(Start::Time(0), Some(3)).await;
        assert_eq!((done.state, done.from), (State::Done, Some(1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn below_what_is_kept_it_fails_and_says_why() {
    for mut shop in shops().await {
        for _ in 0..13 {
            shop.mine(1_000).await;
            shop.go_on().await;
        }
        let (end, steps) = shop.rescan(Start::Height(1), None).await;
        assert_eq!(end.state, State::Failed);
        let why = end.error.unwrap();
        assert!(
            why.starts_with("block 1 could not be read again: the sandbox has forgotten block 1."),
            "{why}"
        );
        assert!(why.contains("archive node"), "{why}");
        assert_eq!(steps, 6);
        // The next one is free to run.
        let (done, _) = shop.rescan(Start::Height(12_000), None).await;
        assert_eq!(done.state, State::Done);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_waited_out() {
    for shop in shops().await {
        let mut shop = shop;
        shop.mine(50).await;
        shop.go_on().await;
        for kind in ["upstream", "rate-limited", "malformed", "behind"] {
            let rescan = shop.order(Start::Height(1), None).await.unwrap();
            let mut worker = shop.worker();
            shop.simulate(json!({"do": "outage", "ms": 600_000, "kind": kind})).await;
            for _ in 0..3 {
                assert!(matches!(worker.step().await.unwrap(), Rescanned::Waits(_)), "{kind}");
            }
            shop.simulate(json!({"do": "outage", "ms": 0})).await;
            assert_eq!(worker.step().await.unwrap(), Rescanned::Ended(State::Done), "{kind}");
            assert_eq!(shop.rescan_now(rescan.id.as_str()).await.error, None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_contradicts_what_was_read_is_not_taken() {
    for mut shop in shops().await {
        let child = shop.child(8).await;
        let tx = shop.pay(&child.text, "7").await;
        shop.pay(&child.text, "8").await;
        shop.mine(3).await;
        shop.go_on().await;
        shop.register(child, "ann").await;
        // The chain is another one from block 1 on, and the watcher has not seen it yet.
        shop.simulate(json!({"do": "retract", "tx": tx})).await;
        let rescan = shop.order(Start::Height(1), None).await.unwrap();
        let mut worker = shop.worker();
        assert!(matches!(worker.step().await.unwrap(), Rescanned::Waits(_)));
        let waits = shop.rescan_now(rescan.id.as_str()).await;
        assert_eq!((waits.next, waits.found), (Some(1), 0));
        assert!(waits.error.unwrap().contains("by what was read"));
        assert!(shop.all().await.is_empty());
        shop.go_on().await;
        assert_eq!(worker.step().await.unwrap(), Rescanned::Ended(State::Done));
        // The reorg itself has brought what is on the new branch.
        assert_eq!(shop.all().await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_again_is_refused() {
    for mut shop in shops().await {
        shop.mine(30).await;
        shop.go_on().await;
        let height = shop.cursor().await.height;
        let range = |refused: Result<rescans::Rescan, Refused>| match refused {
            Err(Refused::Range { field, why }) => (field, why),
            other => panic!("{other:?}"),
        };
        for (from, to, field, says) in [
            (0, None, "from", "is 1"),
            (-5, None, "from", "is 1"),
            (height + 1, None, "from", "above the chain's head"),
            (i64::MAX, None, "from", "above the chain's head"),
            (5, Some(height + 1), "to", "above the chain's head"),
            (5, Some(4), "to", "below `from`"),
        ] {
            let (at, why) = range(shop.order(Start::Height(from), to).await);
            assert!(at == field && why.contains(says), "{from} {to:?}: {at} {why}");
        }
        let (at, _) = range(shop.order(Start::Time(shop.app.clock.now() + 1), None).await);
        assert_eq!(at, "since");
        let id = shop.order(Start::Height(1), None).await.unwrap().id;
        match shop.order(Start::Height(2), None).await {
            Err(Refused::Running(running)) => assert_eq!(running.id, id),
            other => panic!("{other:?}"),
        }
        let set = |enabled: bool, frozen: Option<&'static str>| {
            shop.app.db.write::<_, DbError, _>(move |conn| Box::pin(change(conn, enabled, frozen)))
        };
        set(false, None).await.unwrap();
        assert!(matches!(shop.order(Start::Height(1), None).await, Err(Refused::Disabled)));
        set(true, Some("why")).await.unwrap();
        assert!(matches!(shop.order(Start::Height(1), None).await, Err(Refused::Frozen(_))));
        // One that runs waits.
        assert!(matches!(shop.worker().step().await.unwrap(), Rescanned::Waits(_)));
    }
}

async fn change(conn: &mut Conn, enabled: bool, frozen: Option<&str>) -> Result<(), DbError> {
    crate::db::networks::set_enabled(conn, NETWORK, enabled).await?;
    match frozen {
        Some(why) => chain::freeze(conn, NETWORK, why, 1).await,
        None => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_transaction_is_found_read_and_credited_once() {
    for mut shop in shops().await {
        let child = shop.child(8).await;
        let tx = shop.pay(&child.text, "5000000").await;
        let height = 1;
        assert_eq!(shop.find(&tx).await.unwrap(), Whereabouts::Unread { height });
        shop.mine(20).await;
        shop.go_on().await;
        shop.register(child, "ann").await;
        shop.app.clock.shift(10_000);
        let read = Whereabouts::Read { height, txs: vec![tx.clone()], unread: None };
        assert_eq!(shop.find(&format!(" 0X{} ", tx.to_uppercase())).await.unwrap(), read);
        assert_eq!(shop.ledger().await, (1, true), "it is settled by the time of the answer");
        let marks = shop.marks().await;
        shop.app.clock.shift(10_000);
        assert_eq!(shop.find(&tx).await.unwrap(), read);
        shop.go_on().await;
        assert_eq!(shop.marks().await, marks);
        let rows = transfers::of_merchant(
            &mut shop.conn().await,
            &shop.merchant,
            NETWORK,
            std::slice::from_ref(&tx),
        )
        .await;
        assert_eq!(rows.unwrap().len(), 1);
        let rows = transfers::of_merchant(&mut shop.conn().await, &"mer_other".into(), NETWORK, &[tx]).await;
        assert!(rows.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_nowhere_failed_or_no_transaction() {
    for mut shop in shops().await {
        let invoice = shop.invoice("3").await;
        let action = json!({"do": "transfer", "to": invoice.address, "amount": "1", "fail": true});
        let failed = shop.simulate(action).await["tx"].as_str().unwrap().to_owned();
        let action = json!({"do": "transfer", "to": invoice.address, "amount": "1", "mine": 0});
        let waits = shop.simulate(action).await["tx"].as_str().unwrap().to_owned();
        shop.go_on().await;
        let marks = shop.marks().await;
        let read = Whereabouts::Read { height: 1, txs: vec![failed.clone()], unread: None };
        assert_eq!(shop.find(&failed).await.unwrap(), read);
        assert_eq!(shop.find(&waits).await.unwrap(), Whereabouts::Nowhere);
        assert_eq!(shop.find(&"ab".repeat(32)).await.unwrap(), Whereabouts::Nowhere);
        assert!(matches!(shop.find("EQ-a-ton-hash").await, Err(FindFailed::NotAnId(_))));
        assert_eq!(shop.marks().await, marks);
    }
}
