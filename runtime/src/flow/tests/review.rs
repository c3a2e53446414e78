//! An invoice that waits for a person does so until nobody has to look any more.

use super::*;
use crate::domain::{id::TransferId, policy::Late};

impl Shop {
    /// Dismisses a transfer, or takes that back.
    async fn decide(&self, transfer_id: &TransferId, dismiss: bool) {
        let (scope, of, now) = (self.scope(), transfer_id.clone(), self.app.clock.now());
        let decided = self.app.db.write(move |conn| {
            Box::pin(async move {
                if dismiss {
                    resolve::dismiss(conn, &scope, &of, None, now).await
                } else {
                    resolve::undismiss(conn, &scope, &of, None, now).await
                }
            })
        });
        decided.await.unwrap();
    }

    async fn assign(&self, transfer_id: &TransferId, invoice: &Invoice) {
        let (scope, of, to, now) =
            (self.scope(), transfer_id.clone(), invoice.id.clone(), self.app.clock.now());
        let assigned = self.app.db.write(move |conn| {
            Box::pin(async move { resolve::assign(conn, &scope, &of, &to, None, now).await })
        });
        assigned.await.unwrap();
    }

    async fn unassign(&self, transfer_id: &TransferId) {
        let (scope, of, now) = (self.scope(), transfer_id.clone(), self.app.clock.now());
        let taken = self.app.db.write(move |conn| {
            Box::pin(async move { resolve::unassign(conn, &scope, &of, None, now).await })
        });
        taken.await.unwrap();
    }

    /// A late payment of this invoice, which a person has to decide on. Returns transaction and transfer.
    async fn late(&mut self, invoice: &Invoice) -> (String, TransferId) {
        let tx = self.pay(&invoice.address, &invoice.due.to_string()).await;
        self.go_on().await;
        let listed = self.unmatched().await;
        let one = listed.iter().find(|one| one.transfer.tx == tx).unwrap();
        assert_eq!((one.reason.as_deref(), one.invoice_id.as_ref()), (Some("late"), Some(&invoice.id)));
        (tx, one.transfer.id.clone())
    }

    /// Number of events of this type about the invoice.
    async fn told(&self, invoice: &Invoice, kind: &str) -> i64 {
        let mut conn = self.app.db.read().await.unwrap();
        let args = vec![invoice.id.clone().into(), kind.to_owned().into()];
        let sql = "SELECT COUNT(*) AS n FROM event WHERE invoice_id = $1 AND kind = $2";
        conn.row(sql, args).await.unwrap().unwrap().int("n").unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_late_payments_is_decided_about() {
    for mut shop in shops().await {
        let mut new = shop.new_invoice(TOKEN, "3");
        new.policy.late = Late::Review;
        let Made::New(invoice) = invoicing::make(&shop.app, new, None).await.unwrap() else { panic!() };
        let other = shop.invoice("9").await;
        shop.app.clock.shift(700_000);
        shop.mine(13).await;
        shop.go_on().await;
        assert_eq!(shop.now(&invoice).await.status, Status::Expired);
        let ((_, first), (gone, second)) = (shop.late(&invoice).await, shop.late(&invoice).await);
        let waits = async |shop: &Shop| {
            let seen = shop.now(&invoice).await;
            assert_eq!(seen.status, Status::ManualReview);
            assert_eq!(shop.told(&invoice, "invoice.expired").await, 1, "when it did");
        };
        waits(&shop).await;
        shop.decide(&first.as_str().into(), true).await;
        waits(&shop).await;
        let (_, third) = shop.late(&invoice).await;
        waits(&shop).await;
        // To another invoice, and back.
        shop.assign(&third.as_str().into(), &other).await;
        waits(&shop).await;
        shop.unassign(&third.as_str().into()).await;
        shop.decide(&first.as_str().into(), false).await;
        shop.decide(&third.as_str().into(), true).await;
        shop.decide(&first.as_str().into(), true).await;
        waits(&shop).await;
        // The last that waits leaves the chain, comes back, and is decided about.
        shop.simulate(json!({"do": "retract", "tx": gone, "again": true})).await;
        shop.go_on().await;
        waits(&shop).await;
        shop.simulate(json!({"do": "retract", "tx": gone})).await;
        shop.go_on().await;
        assert_eq!(shop.now(&invoice).await.status, Status::Expired);
        assert_eq!(shop.told(&invoice, "invoice.expired").await, 2);
        shop.decide(&third.as_str().into(), false).await;
        assert_eq!(shop.now(&invoice).await.status, Status::ManualReview);
        shop.decide(&second.as_str().into(), true).await;
        assert_eq!(shop.now(&invoice).await.status, Status::ManualReview);
        shop.assign(&third.as_str().into(), &invoice).await;
        shop.mine(5).await;
        shop.go_on().await;
        let paid = shop.now(&invoice).await;
        assert_eq!((paid.status, paid.exception), (Status::Paid, Exception::Manual));
        let mut conn = shop.app.db.read().await.unwrap();
        let kept = conn.row("SELECT COUNT(*) AS n FROM correction", vec![]).await.unwrap().unwrap();
        assert_eq!(kept.int("n").unwrap(), 9);
    }
}
