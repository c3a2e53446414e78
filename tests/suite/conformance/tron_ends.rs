//! TRON: a transaction that does not say how it ended is neither paid nor passed over.

use kassa_tests::{Change, Database, Fault, Rule, Suite, eventually};
use serde_json::{Value, json};

use super::{stage::Stage, upstreams};

pub(super) fn cases(suite: &mut Suite) {
    suite.both("conformance::tron_ends::what_does_not_say_how_it_ended_is_waited_for", unsaid);
}

async fn unsaid(database: Database) {
    let stage = Stage::start(database, "tron").await;
    // A node that leaves it out, and one that has an empty one.
    for (number, (ret, said)) in
        [(None, "0 ends"), (Some(json!([{}])), "does not say how it ended")].iter().enumerate()
    {
        let ret = ret.clone();
        let (head, _) = stage.chain.head(&stage.api()).await;
        let mut invoices = Vec::new();
        for asset in [stage.token(), stage.coin()] {
            invoices.push(stage.invoice(&asset.symbol, &(number + 1).to_string()).await);
        }
        stage.proxy().add(Rule::new(Fault::Changed(Change::new(move |_, mut answer| {
            unsay(&mut answer, ret.as_ref()).then(|| answer.to_string().into_bytes())
        }))));
        for invoice in &invoices {
            stage.pay(invoice).await;
        }
        stage.bury().await;
        eventually("a network that says why it stands still", || async {
            let upstream = stage.upstreams().await.remove(0);
            let why = upstream["health"]["last_error"].as_str().unwrap_or_default();
            if why.contains(said) { Ok(()) } else { Err(upstream.to_string()) }
        })
        .await;
        let read = stage.watching(&stage.network).await;
        assert!(read <= i64::try_from(head).expect("a height"), "nothing is passed over: {read}, {head}");
        for invoice in &invoices {
            assert_eq!(stage.get_invoice(invoice).await["sequence"], invoice["sequence"]);
        }
        stage.proxy().clear();
        for invoice in &invoices {
            upstreams::paid(&stage, invoice, "transactions that did not say how they ended").await;
        }
        stage.settled().await;
    }
    assert_eq!(stage.transfers().await.len(), 4);
    assert_eq!(stage.unmatched().await, Vec::<Value>::new());
    stage.no_retraction().await;
}

/// Replaces what transactions say of their ends; whether there was one.
fn unsay(value: &mut Value, ret: Option<&Value>) -> bool {
    match value {
        Value::Array(list) => list.iter_mut().fold(false, |any, inner| unsay(inner, ret) | any),
        Value::Object(fields) if fields.contains_key("txID") => match ret {
            Some(ret) => fields.insert("ret".to_owned(), ret.clone()).is_some(),
            None => fields.remove("ret").is_some(),
        },
        Value::Object(fields) => fields.values_mut().fold(false, |any, inner| unsay(inner, ret) | any),
        _ => false,
    }
}
