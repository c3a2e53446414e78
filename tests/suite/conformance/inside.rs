//! Native coin that a contract sends: no transaction goes to the one who gets it, and no log tells of it.
//!
//! TRON lists such movements with every transaction. An EVM network has them in traces, where its settings say so.

use kassa_tests::{Database, Kind, Suite};
use serde_json::{Value, json};

use super::{
    malformed, payments,
    stage::{Stage, manifests},
};

/// The settings' word for it, and what is asked of the provider.
const DIALECTS: [(&str, &str); 2] = [("debug", "debug_traceBlockByHash"), ("parity", "trace_block")];

pub(super) fn cases(suite: &mut Suite) {
    suite.both("conformance::inside::tron_reads_what_contracts_send", |database| async move {
        let stage = Stage::start(database, "tron").await;
        paid_by_code(&stage).await;
        read_again(&stage).await;
    });
    suite.both("conformance::inside::evm_reads_what_contracts_send_in_either_dialect", in_either_dialect);
    suite.both("conformance::inside::evm_does_not_see_it_without_traces", unseen);
    for (dialect, method) in DIALECTS {
        macro_rules! case {
            ($name:ident) => {
                let name = format!("conformance::inside::evm_{dialect}_{}", stringify!($name));
                suite.on(Kind::Sqlite, &name, move |database| async move {
                    payments::$name(Stage::on(database, "evm", traced(dialect)).await).await;
                });
            };
        }
        case!(every_listed_asset_pays);
        case!(what_only_looks_like_a_payment_is_none);
        case!(what_failed_pays_nothing);
        let name = format!("conformance::inside::evm_{dialect}_malformed_at_every_field");
        suite.once(&name, move || malformed::at_every_field("evm", traced(dialect), Some(("", method))));
    }
}

fn traced(dialect: &str) -> Value {
    let mut manifest = manifests("evm").remove(0);
    manifest["settings"]["traces"] = json!(dialect);
    manifest
}

/// An invoice that a contract pays: once, with one transfer.
async fn paid_by_code(stage: &Stage) {
    let coin = stage.coin();
    let invoice = stage.invoice(&coin.symbol, "5").await;
    let tx = stage.chain.pay_by_code(stage.payment(&invoice, &coin, 1)).await;
    stage.bury().await;
    let paid = stage.until(&invoice, "paid").await;
    assert_eq!(paid["credited_amount_units"], invoice["payable_amount_units"]);
    stage.settled().await;
    let payments = stage.payments_of(&invoice).await;
    assert_eq!(payments.len(), 1, "{payments:?}");
    assert_eq!(payments[0]["tx_hash"], json!(tx));
    assert_eq!(stage.unmatched().await, Vec::<Value>::new());
}

/// Nothing that was read comes as another transfer.
async fn read_again(stage: &Stage) {
    let before = stage.final_books().await;
    let from = before[0].iter().filter_map(|transfer| transfer["height"].as_i64()).min();
    let done = stage.rescanned(&json!({"from": from})).await;
    assert_eq!((&done["state"], &done["found"]), (&json!("done"), &json!(0)), "{done}");
    stage.settled().await;
    assert_eq!(stage.books().await, before);
}

async fn in_either_dialect(database: Database) {
    let stage = Stage::on(database, "evm", traced("debug")).await;
    for (dialect, _) in [DIALECTS[0], DIALECTS[1], DIALECTS[0]] {
        stage.put_network(&traced(dialect)).await;
        if !stage.transfers().await.is_empty() {
            // What the other dialect has told is the same in this one.
            read_again(&stage).await;
        }
        paid_by_code(&stage).await;
    }
    let asked = stage.proxy().counts().methods;
    for (_, method) in DIALECTS {
        assert!(asked.contains_key(method), "{asked:?}");
    }
}

/// Without the setting no transaction of it is in a list, and a search says that nothing came; that the balance rose may be
/// listed. When the operator adds the setting, the blocks can be read again.
async fn unseen(database: Database) {
    let stage = Stage::start(database, "evm").await;
    let coin = stage.coin();
    let (head, _) = stage.chain.head(&stage.api()).await;
    let mut paid = Vec::new();
    for _ in 0..2 {
        let invoice = stage.invoice(&coin.symbol, "5").await;
        let tx = stage.chain.pay_by_code(stage.payment(&invoice, &coin, 1)).await;
        paid.push((invoice, tx));
    }
    stage.bury().await;
    stage.settled().await;
    for (invoice, _) in &paid {
        assert_eq!(stage.get_invoice(invoice).await["status"], "new");
    }
    assert_eq!(seen(stage.transfers().await), Vec::<Value>::new());
    let [(first, first_tx), (second, second_tx)] = paid.as_slice() else { panic!("two") };
    let nothing = stage.find(first_tx).await.ok();
    assert_eq!(nothing["status"], "nothing_for_you", "{nothing}");

    stage.put_network(&traced("debug")).await;
    let found = stage.find(second_tx).await.ok();
    assert_eq!(found["status"], "found", "{found}");
    stage.until(second, "paid").await;
    let done = stage.rescanned(&json!({"from": head + 1})).await;
    assert_eq!((&done["state"], &done["found"]), (&json!("done"), &json!(1)), "{done}");
    stage.until(first, "paid").await;
    stage.settled().await;
    assert_eq!(seen(stage.transfers().await).len(), 2);
    assert_eq!(seen(stage.unmatched().await), Vec::<Value>::new());
}

/// Those that a transaction is known of.
fn seen(transfers: Vec<Value>) -> Vec<Value> {
    transfers.into_iter().filter(|transfer| transfer["kind"] == "seen").collect()
}
