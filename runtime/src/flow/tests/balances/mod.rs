//! Native coin that no transaction shows, step by step, on a chain that is scripted.

mod dark;

use self::dark::{DEPTH, darks};
use super::*;
use crate::{
    db::{DbError, balances, chain, events},
    domain::{
        id::{AddressId, EventId, ExtendedKeyId, Id},
        invoice::Matching,
        tenant::Tenant,
        transfer::Kind,
    },
    flow::balances::{Step as Compared, Worker},
    host::BalanceError,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_contract_pays_is_listed_once_and_paid_by_a_person() {
    for mut dark in darks().await {
        let (one, other) = (dark.invoice("5", None).await, dark.invoice("7", None).await);
        assert_eq!(dark.compared().await, [(98, None)]);
        let (to, due) = (one.address.clone(), one.due.0);
        dark.next(|now, at| now.hidden.push((at, to, due))).await;
        assert_eq!(dark.worker.step().await.unwrap(), Compared::Looked { rises: 0, more: false });
        assert_eq!(dark.worker.step().await.unwrap(), Compared::Idle, "it is not final");
        assert_eq!(dark.compare().await, 1);
        let rises = dark.rises().await;
        assert_eq!(rises.len(), 1);
        let rise = &rises[0];
        // Told by the exact amount, though there are two.
        assert_eq!(rise.invoice_id.as_ref(), Some(&one.id));
        assert_eq!((rise.transfer.kind, rise.transfer.tx_hash()), (Kind::Rise, None));
        assert_eq!((rise.transfer.amount, rise.transfer.height), (Some(one.due), 101));
        assert_eq!(rise.transfer.block_hash, "h101");
        assert_eq!(dark.shop.now(&one).await.status, Status::New);
        assert_eq!(dark.shop.ledger().await, (0, true));

        // Another life, and many more blocks.
        dark.worker = Worker::new((*dark.shop.app).clone(), Arc::clone(&dark.shop.network));
        for _ in 0..3 {
            assert_eq!(dark.compare().await, 0);
        }
        assert_eq!(dark.rises().await.len(), 1);

        let (scope, id) = (dark.shop.scope(), rise.transfer.id.clone());
        let (wanted, now) = (one.id.clone(), dark.shop.app.clock.now());
        let paid = dark.shop.app.db.write::<_, resolve::ResolveError, _>(move |conn| {
            Box::pin(async move { resolve::assign(conn, &scope, &id, &wanted, None, now).await })
        });
        let paid = paid.await.unwrap();
        assert_eq!((paid.status, paid.exception, paid.credited), (Status::Paid, Exception::Manual, one.due));
        assert_eq!(dark.compare().await, 0);
        assert_eq!(dark.shop.ledger().await, (1, true));
        assert_eq!(dark.shop.now(&other).await.status, Status::New);
        let told = events::list(
            &mut dark.conn().await,
            &Tenant::test(dark.shop.merchant.clone()),
            None,
            EventId::greatest(),
            100,
        )
        .await
        .unwrap();
        assert_eq!(told.iter().filter(|event| event.payload.contains("unexplained_rise")).count(), 1);
        assert!(told.iter().all(|event| !event.payload.contains("rise:")), "it is no hash");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_is_no_rise() {
    for mut dark in darks().await {
        let invoice = dark.invoice("5", None).await;
        let (to, due) = (invoice.address.clone(), invoice.due.0);
        dark.next(|now, at| now.seen.push((at, to, due))).await;
        assert_eq!(dark.compare().await, 0);
        assert_eq!(dark.shop.now(&invoice).await.status, Status::Paid);
        // Beside one that is, and after something was spent.
        let to = invoice.address.clone();
        dark.next(|now, at| {
            now.spent.push((at, to.clone(), 1_000));
            now.seen.push((at, to.clone(), 70));
        })
        .await;
        assert_eq!(dark.compare().await, 0);
        let to = invoice.address.clone();
        dark.next(|now, at| {
            now.seen.push((at, to.clone(), 80));
            now.hidden.push((at, to, 9));
        })
        .await;
        assert_eq!(dark.compare().await, 1);
        let rises = dark.rises().await;
        assert_eq!(rises[0].transfer.amount, Some(Amount(9)));
        // Nothing is open any more.
        assert_eq!(rises[0].invoice_id, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_is_waited_for_from_its_making_on_however_late_somebody_looks() {
    for mut dark in darks().await {
        let shared =
            addresses::shared_of(&mut dark.conn().await, &dark.shop.merchant, NETWORK).await.unwrap();
        let to = shared.unwrap().address;
        // What came before is no payment of it.
        dark.next(|now, at| now.hidden.push((at, to.clone(), 50))).await;
        dark.mine(DEPTH).await;
        let invoice = dark.invoice("5", None).await;
        dark.next(|now, at| now.hidden.push((at, to.clone(), 3))).await;
        dark.mine(40).await;
        assert_eq!(dark.compared().await, [(101, None)]);
        assert_eq!(dark.compare().await, 1);
        let rise = dark.rises().await.remove(0);
        assert_eq!((rise.transfer.amount, rise.invoice_id), (Some(Amount(3)), Some(invoice.id)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_look_at_once_list_one() {
    for mut dark in darks().await {
        let invoice = dark.invoice("5", None).await;
        assert_eq!(dark.compare().await, 0);
        let to = invoice.address.clone();
        dark.next(|now, at| now.hidden.push((at, to, 3))).await;
        dark.mine(DEPTH).await;
        let worker = || Worker::new((*dark.shop.app).clone(), Arc::clone(&dark.shop.network));
        let (mut one, mut other) = (worker(), worker());
        let (one, other) = tokio::join!(one.step(), other.step());
        let rises = [one.unwrap(), other.unwrap()].map(|step| match step {
            Compared::Looked { rises, .. } => rises,
            Compared::Idle => 0,
            step => panic!("{step:?}"),
        });
        assert_eq!(rises.iter().sum::<usize>(), 1);
        dark.shop.go_on().await;
        assert_eq!(dark.rises().await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_reach_a_provider_lets_another_replica_try() {
    for mut dark in darks().await {
        let invoice = dark.invoice("5", None).await;
        let (other, chain) = dark.replica();
        let mut watcher = Watcher::new(other.clone(), Arc::clone(&dark.shop.network));
        let mut worker = Worker::new(other, Arc::clone(&dark.shop.network));
        assert_eq!(dark.compare().await, 0);
        let to = invoice.address.clone();
        dark.next(|now, at| now.hidden.push((at, to.clone(), 3))).await;
        dark.mine(DEPTH).await;
        chain.now().hidden.push((101 + DEPTH, to, 3));
        chain.now().head = 110;

        dark.chain.now().trouble = Some(BalanceError::Upstream("away".to_owned()));
        for _ in 0..4 {
            assert_eq!(worker.step().await.unwrap(), Compared::NotOurs);
            assert!(matches!(dark.worker.step().await.unwrap(), Compared::Waits(_)));
        }
        assert_eq!(worker.step().await.unwrap(), Compared::Looked { rises: 1, more: false });

        dark.chain.now().head = 0;
        for _ in 0..4 {
            assert_eq!(watcher.step().await.unwrap(), Step::NotOurs);
            assert!(dark.shop.watcher.step().await.is_err());
        }
        assert!(matches!(watcher.step().await.unwrap(), Step::Read { .. }));
        assert_eq!(dark.shop.watcher.step().await.unwrap(), Step::NotOurs);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_provider_does_costs_time_alone() {
    for mut dark in darks().await {
        let invoice = dark.invoice("5", None).await;
        assert_eq!(dark.compare().await, 0);
        let to = invoice.address.clone();
        dark.next(|now, at| now.hidden.push((at, to, 3))).await;
        dark.mine(DEPTH).await;
        for trouble in [
            BalanceError::Upstream("away".to_owned()),
            BalanceError::Malformed("nonsense".to_owned()),
            BalanceError::WrongNetwork("5".to_owned()),
            BalanceError::RateLimited(1),
            BalanceError::Settings("what".to_owned()),
        ] {
            dark.chain.now().trouble = Some(trouble.clone());
            for _ in 0..10 {
                let step = dark.worker.step().await.unwrap();
                assert!(matches!(step, Compared::Waits(_)), "{trouble:?}: {step:?}");
                dark.mine(1).await;
            }
        }
        dark.chain.now().trouble = None;
        dark.chain.now().swallows = 1;
        assert!(matches!(dark.worker.step().await.unwrap(), Compared::Waits(_)));
        dark.chain.now().swallows = 0;
        assert!(dark.rises().await.is_empty());
        assert_eq!(dark.compare().await, 1);
        assert_eq!(dark.rises().await[0].transfer.amount, Some(Amount(3)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_look_that_comes_too_late_is_made_later() {
    for mut dark in darks().await {
        let invoice = dark.invoice("5", None).await;
        dark.mine(500).await;
        dark.chain.now().keeps_from = 400;
        for _ in 0..5 {
            assert!(matches!(dark.worker.step().await.unwrap(), Compared::Waits(_)));
        }
        // While nothing is read it may be the provider; and while it does not know the present either.
        assert!(matches!(dark.worker.step().await.unwrap(), Compared::Waits(_)));
        dark.mine(1).await;
        dark.chain.now().trouble = Some(BalanceError::Upstream("away".to_owned()));
        for _ in 0..10 {
            assert!(matches!(dark.worker.step().await.unwrap(), Compared::Waits(_)));
        }
        assert_eq!(dark.compared().await, [(98, None)]);
        dark.chain.now().trouble = None;
        assert!(matches!(dark.worker.step().await.unwrap(), Compared::Waits(_)));
        assert_eq!(dark.compared().await, [(599, None)]);
        let to = invoice.address.clone();
        dark.next(|now, at| now.hidden.push((at, to, 3))).await;
        assert_eq!(dark.compare().await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_compared_that_nobody_waits_for() {
    for mut dark in darks().await {
        dark.shop.invoice("3").await;
        assert!(dark.compared().await.is_empty(), "tokens are seen");
        let key = addresses::ExtendedKey {
            id: ExtendedKeyId::new(1),
            merchant_id: dark.shop.merchant.clone(),
            network: NETWORK.to_owned(),
            public_key: "own".to_owned(),
            next_index: 0,
            created_at: 1,
            ownership_proven_at: None,
        };
        let put = dark.shop.app.db.write::<_, addresses::SetKeyError, _>(move |conn| {
            Box::pin(async move {
                addresses::put_extended_key(conn, &key, "first", crate::db::ownership::Proof::NotNeeded).await
            })
        });
        put.await.unwrap();
        let own = dark.invoice("5", Some(Matching::Address)).await;
        let shared = dark.invoice("5", None).await;
        assert_eq!(dark.compare().await, 0);
        assert_eq!(dark.compared().await.len(), 2);
        let (to, due) = (own.address.clone(), own.due.0);
        dark.next(|now, at| now.seen.push((at, to, due))).await;
        // An own address is done with when its invoice is paid.
        assert_eq!(dark.compare().await, 0);
        assert_eq!(dark.shop.now(&own).await.status, Status::Paid);
        assert_eq!(dark.compare().await, 0);
        assert_eq!(dark.compared().await.len(), 1);
        // A shared one when the last payment would be too late; a late one is still noticed.
        dark.jump(shared.expires_at + 1_000);
        let to = shared.address.clone();
        dark.next(|now, at| now.hidden.push((at, to, 4))).await;
        assert_eq!(dark.compare().await, 1);
        dark.jump(shared.held_until + 3_700_000);
        dark.mine(1).await;
        assert_eq!(dark.compare().await, 0);
        assert!(dark.compared().await.is_empty());
        dark.chain.now().asked.clear();
        assert_eq!(dark.compare().await, 0);
        assert!(dark.chain.now().asked.is_empty());
        // And again from the next invoice on.
        dark.invoice("5", None).await;
        assert_eq!(dark.compared().await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_was_let_go_on_is_looked_at_anew() {
    for mut dark in darks().await {
        let invoice = dark.invoice("5", None).await;
        let to = invoice.address.clone();
        assert_eq!(dark.compare().await, 0);
        let frozen = dark.shop.app.db.write::<_, DbError, _>(|conn| {
            Box::pin(async move { chain::freeze(conn, NETWORK, "why", 1).await })
        });
        frozen.await.unwrap();
        assert_eq!(dark.worker.step().await.unwrap(), Compared::Idle);
        // On the new branch it was there before.
        dark.chain.now().hidden.push((90, to, 8));
        let unfrozen = dark
            .shop
            .app
            .db
            .write::<_, DbError, _>(|conn| Box::pin(async move { chain::unfreeze(conn, NETWORK).await }));
        assert!(unfrozen.await.unwrap());
        assert_eq!(dark.compared().await, [(100, None)]);
        dark.mine(1).await;
        assert_eq!(dark.compare().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_looked_at_in_turn() {
    for mut dark in darks().await {
        let invoice = dark.invoice("5", None).await;
        let merchant = dark.shop.merchant.clone();
        let (until, base) = (invoice.held_until, 98);
        let add = dark.shop.app.db.write::<_, addresses::CreateError, _>(move |conn| {
            Box::pin(async move {
                let mut begin = Vec::new();
                for place in 0..250 {
                    let new = addresses::NewAddress {
                        id: AddressId::new(1),
                        merchant_id: merchant.clone(),
                        network: NETWORK.to_owned(),
                        address: format!("many/{place}"),
                        key: format!("many/{place}").into_bytes(),
                        kind: addresses::Kind::Customer,
                        unique_id: Some(format!("{place}")),
                        meta: None,
                        derived_index: None,
                        created_at: 1,
                    };
                    let address_id = addresses::create(conn, new).await?.id;
                    begin.push(balances::Begin {
                        address_id,
                        network: NETWORK.to_owned(),
                        height: base,
                        until,
                    });
                }
                balances::begin(conn, begin).await?;
                Ok(())
            })
        });
        add.await.unwrap();
        for place in [0, 120, 249] {
            dark.next(|now, at| now.hidden.push((at, format!("many/{place}"), 2))).await;
        }
        assert_eq!(dark.compare().await, 3);
        assert!(dark.compared().await.iter().all(|(height, amount)| *height == 103 && amount.is_some()));
        assert!(dark.chain.now().asked.iter().all(|points| *points <= 200));
        assert_eq!(dark.chain.now().asked.len(), 3);
    }
}
