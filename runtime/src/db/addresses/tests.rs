//! Whose an address is, and which child a key derives next.

use super::*;
use crate::{
    db::{Db, merchants, networks},
    domain::{
        id::{AddressId, ExtendedKeyId, MerchantId},
        policy::Policy,
    },
    testing,
};

async fn prepare(db: &Db) {
    db.write::<_, DbError, _>(|conn| {
        Box::pin(async move {
            for id in ["mer_a", "mer_b"] {
                let merchant = merchants::Merchant {
                    id: id.into(),
                    name: id.to_owned(),
                    operator_events: false,
                    policy: Policy::default(),
                    created_at: 1,
                    disabled_at: None,
                };
                merchants::insert(conn, &merchant).await?;
            }
            let manifest = serde_json::from_value(serde_json::json!({
                "name": "base", "title": "Base", "caip2": "eip155:8453", "plugin": "evm", "credit": 3,
                "poll_ms": 2000, "asset": [{"symbol": "ETH", "name": "Ether", "decimals": 18}],
            }))
            .unwrap();
            networks::put(conn, &manifest, 1).await.unwrap();
            Ok(())
        })
    })
    .await
    .unwrap();
}

fn new(merchant: &MerchantId, address: &str, kind: Kind, unique_id: Option<&str>) -> NewAddress {
    NewAddress {
        id: AddressId::new(1),
        merchant_id: merchant.to_owned(),
        network: "base".to_owned(),
        address: address.to_owned(),
        key: address.as_bytes().to_vec(),
        kind,
        unique_id: unique_id.map(str::to_owned),
        meta: None,
        derived_index: None,
        created_at: 1,
    }
}

async fn make(db: &Db, new: NewAddress) -> Result<ReceiveAddress, CreateError> {
    db.write(move |conn| Box::pin(create(conn, new))).await
}

#[tokio::test]
async fn an_address_belongs_to_one_merchant_and_seq_counts_up() {
    for db in testing::databases().await {
        prepare(&db).await;
        let first = make(&db, new(&"mer_a".into(), "0x1", Kind::Shared, None)).await.unwrap();
        for taken in [
            new(&"mer_b".into(), "0x1", Kind::Shared, None),
            new(&"mer_a".into(), "0x2", Kind::Shared, None),
            new(&"mer_a".into(), "0x1", Kind::Customer, Some("u")),
        ] {
            assert!(matches!(make(&db, taken).await, Err(CreateError::Taken)));
        }
        let second = make(&db, new(&"mer_a".into(), "0x2", Kind::Customer, Some("u"))).await.unwrap();
        assert!(second.seq > first.seq);
        assert!(matches!(
            make(&db, new(&"mer_a".into(), "0x3", Kind::Customer, Some("u"))).await,
            Err(CreateError::Taken)
        ));
        let mut conn = db.read().await.unwrap();
        let texts = ["0x1".to_owned(), "0x9".to_owned()];
        let found = by_address(&mut conn, "base", &texts).await.unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["0x1"]);
        assert_eq!(shared_of(&mut conn, &"mer_a".into(), "base").await.unwrap().unwrap().id, first.id);
        assert_eq!(
            by_unique_id(&mut conn, &"mer_a".into(), "base", "u").await.unwrap().unwrap().id,
            second.id
        );
        assert_eq!(list(&mut conn, &Tenant::live("mer_a"), "b".into(), 9).await.unwrap().len(), 2);
        assert_eq!(list(&mut conn, &Tenant::test("mer_a"), "b".into(), 9).await.unwrap().len(), 0);
    }
}

#[tokio::test]
async fn no_two_get_the_same_child() {
    for db in testing::databases().await {
        prepare(&db).await;
        let key = |merchant: &MerchantId, public: &str| ExtendedKey {
            id: ExtendedKeyId::new(1),
            merchant_id: merchant.to_owned(),
            network: "base".to_owned(),
            public_key: public.to_owned(),
            next_index: 0,
            created_at: 1,
            ownership_proven_at: None,
        };
        let put = async |key: ExtendedKey| {
            db.write(move |conn| {
                Box::pin(async move {
                    let first = format!("first of {}", key.public_key.trim());
                    put_extended_key(conn, &key, &first, Proof::NotNeeded).await
                })
            })
            .await
        };
        let made = put(key(&"mer_a".into(), "xpub1")).await.unwrap();
        assert!(matches!(put(key(&"mer_b".into(), "xpub1")).await, Err(SetKeyError::Taken)));
        for expected in 0..3 {
            let id = made.id.clone();
            let taken = db
                .write::<_, DbError, _>(move |conn| {
                    Box::pin(async move { next_index(conn, &id, 0, 1_000).await })
                })
                .await
                .unwrap();
            assert_eq!(taken, Some(expected));
        }
        assert_eq!(put(key(&"mer_a".into(), "xpub1")).await.unwrap().next_index, 3);
        assert_eq!(put(key(&"mer_a".into(), "xpub2")).await.unwrap().next_index, 0);
        // The same key, written differently.
        assert_eq!(put(key(&"mer_a".into(), " xpub1")).await.unwrap().next_index, 3);
        assert!(matches!(put(key(&"mer_b".into(), "xpub1 ")).await, Err(SetKeyError::Taken)));
        assert_eq!(put(key(&"mer_a".into(), "xpub2 ")).await.unwrap().public_key, "xpub2");
        // The key's position and its owner are remembered.
        assert!(matches!(put(key(&"mer_b".into(), "xpub1")).await, Err(SetKeyError::Taken)));
        assert_eq!(put(key(&"mer_a".into(), "xpub1")).await.unwrap().next_index, 3);
        let id = made.id.clone();
        let taken = db.write::<_, DbError, _>(move |conn| {
            Box::pin(async move {
                step_over(conn, &id, 10).await?;
                step_over(conn, &id, 5).await?;
                let first = next_index(conn, &id, 1, 1_000).await?;
                Ok((first, next_index(conn, &id, 1, 1_000).await?))
            })
        });
        assert_eq!(taken.await.unwrap(), (Some(1_010), Some(1_011)));
    }
}

#[tokio::test]
async fn whose_it_is_is_told_once_a_day_and_proven() {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    for db in testing::databases().await {
        prepare(&db).await;
        let address = make(&db, new(&"mer_a".into(), "0x1", Kind::Shared, None)).await.unwrap();
        let key = ExtendedKey {
            id: ExtendedKeyId::new(1),
            merchant_id: "mer_a".into(),
            network: "base".to_owned(),
            public_key: "xpub1".to_owned(),
            next_index: 0,
            created_at: 1,
            ownership_proven_at: None,
        };
        let put = async |key: &ExtendedKey, proof: Proof| {
            let key = key.clone();
            db.write(move |conn| Box::pin(async move { put_extended_key(conn, &key, "0xf", proof).await }))
                .await
        };
        assert!(matches!(put(&key, Proof::Missing).await, Err(SetKeyError::Unproven)));
        put(&key, Proof::NotNeeded).await.unwrap();
        // After a clock that was ahead is set back, the merchant is told at once.
        for (at, by, is_told) in [
            (DAY, "mer_a", false),
            (DAY, "mer_b", true),
            (DAY + 1, "mer_b", false),
            (2 * DAY - 1, "mer_b", false),
            (2 * DAY, "mer_b", true),
            (DAY, "mer_b", true),
        ] {
            let claimed = db.write::<_, DbError, _>(move |conn| {
                Box::pin(async move {
                    let address = ownership::claimed_address(conn, "base", "0x1", &by.into(), at).await?;
                    Ok((address, ownership::claimed_key(conn, "base", "0xf", &by.into(), at).await?))
                })
            });
            let (of_address, of_key) = claimed.await.unwrap();
            let mer_a: MerchantId = "mer_a".into();
            let of_address = of_address.map(|found| (found.id, found.merchant_id));
            assert_eq!(of_address, is_told.then(|| (address.id.clone(), mer_a.clone())), "{at} {by}");
            let of_key = of_key.map(|found| (found.id, found.merchant_id));
            assert_eq!(of_key, is_told.then(|| (key.id.clone(), mer_a)), "{at} {by}");
        }
        let unproven = async || ownership::unproven(&mut db.read().await.unwrap()).await.unwrap();
        assert_eq!(unproven().await, (1, 1));
        assert_eq!(put(&key, Proof::Missing).await.unwrap().ownership_proven_at, None, "it was there");
        assert_eq!(put(&key, Proof::Given(7)).await.unwrap().ownership_proven_at, Some(7));
        assert_eq!(put(&key, Proof::NotNeeded).await.unwrap().ownership_proven_at, Some(7));
        let id = address.id.clone();
        db.write::<_, DbError, _>(move |conn| {
            Box::pin(async move { ownership::prove_address(conn, &id, 8).await })
        })
        .await
        .unwrap();
        assert_eq!(unproven().await, (0, 0));
        let mut conn = db.read().await.unwrap();
        let found = get(&mut conn, &Tenant::live("mer_a"), &address.id).await.unwrap().unwrap();
        assert_eq!(found.ownership_proven_at, Some(8));
    }
}
