//! Several workers over one database.

use super::{
    fixture::{Receiver, each_database, ok},
    *,
};
use crate::flow::dispatch;

#[tokio::test]
async fn two_replicas_share_the_work_and_send_nothing_twice() {
    each_database(async |desk| {
        let receivers = [Receiver::start(|_| ok("")).await, Receiver::start(|_| ok("")).await];
        for receiver in &receivers {
            desk.endpoint("mer_a", &receiver.url).await;
        }
        desk.events("mer_a", 1000).await;
        let (first, second) = tokio::join!(dispatch_all(&desk), dispatch_all(&desk));
        assert_eq!(first + second, 1000);
        let (mut one, mut two) = (desk.worker(), desk.worker());
        let mut sent = 0;
        while sent < 2000 {
            let (first, second) = tokio::join!(one.step(), two.step());
            assert!(first + second > 0, "{sent} were sent");
            sent += first + second;
        }
        assert_eq!(sent, 2000);
        for receiver in &receivers {
            assert_eq!((receiver.requests().len(), receiver.ids().len()), (1000, 1000));
        }
    })
    .await;
}

async fn dispatch_all(desk: &Desk) -> usize {
    let mut sum = 0;
    loop {
        match dispatch::step(&desk.db, &desk.clock).await.unwrap() {
            0 => return sum,
            count => sum += count,
        }
    }
}

#[tokio::test]
async fn a_worker_told_to_stop_gives_back_what_it_has_not_sent() {
    each_database(async |desk| {
        let receiver = Receiver::start(|_| ok("")).await;
        desk.endpoint("mer_a", &receiver.url).await;
        desk.events("mer_a", 100).await;
        desk.dispatch().await;
        let mut worker = desk.worker();
        let mut look = true;
        while receiver.requests().len() < 30 {
            worker.start(&mut look);
            let done = worker.work.join_next().await.unwrap();
            look |= worker.done(done);
        }
        worker.wind_up().await;
        let sent = receiver.requests().len();
        assert!(sent < 100);
        assert_eq!(desk.worker().step().await, 100 - sent, "no lease stands in the way");
        assert_eq!((receiver.requests().len(), receiver.ids().len()), (100, 100));
    })
    .await;
}
