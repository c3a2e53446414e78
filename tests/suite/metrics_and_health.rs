//! What machines ask: health, readiness, figures, the document of the API.

use kassa_tests::{Api, Database, Fault, Kassa, NETWORK, Rule, Suite, World, eventually, text};
use serde_json::Value;

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("metrics_and_health::a_running_server_says_how_it_is", figures);
    suite.both("metrics_and_health::the_document_covers_every_route_that_is_guarded", document);
    suite.both("metrics_and_health::a_stop_is_in_good_order", stop);
    suite.once("metrics_and_health::a_bench_credits_what_it_says", bench);
}

/// The value of a series, summed over its labels.
fn figure(metrics: &str, name: &str, labels: &str) -> f64 {
    let lines = metrics.lines().filter(|line| !line.starts_with('#') && line.contains(labels));
    let of_name =
        lines.filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    of_name.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

async fn figures(database: Database) {
    let world = World::start(database).await;
    let anyone = Api::new(world.kassa.url(), "");
    assert_eq!(anyone.get("/health").await.ok()["status"], "ok");
    let ready = anyone.get("/ready").await.ok();
    assert_eq!(
        (&ready["status"], &ready["database"]),
        (&"ready".into(), &world.database.kind().word().into())
    );
    let invoice = world.invoice("USDT", "10").await;
    world.pay(&invoice).await;
    world.anvil.mine(3).await;
    world.until(&invoice, "paid").await;
    world.settled().await;
    assert_eq!(anyone.get("/metrics").await.problem(401), "/problems/key_missing");
    let operator = world.kassa.operator();
    let metrics = text(&operator.get("/metrics").await.ok());
    let label = format!("network=\"{NETWORK}\"");
    for name in ["kassa_blocks_read_total", "kassa_cursor_height", "kassa_upstream_requests_total"] {
        assert!(figure(&metrics, name, &label) > 0.0, "{name} in\n{metrics}");
    }
    assert!(figure(&metrics, "kassa_http_requests_total", "route=\"/v1/invoices\"") > 0.0, "{metrics}");
    assert!(!metrics.contains(&world.merchant.key) && !metrics.contains("127.0.0.1"), "{metrics}");
    assert!(!metrics.contains(&text(&invoice["id"])), "no ids as labels");

    // A network that falls behind shows it.
    world.proxy.add(Rule::new(Fault::HangUp));
    let before = figure(&metrics, "kassa_scan_failures_total", &label);
    eventually("failures that are counted", || async {
        let now = figure(&text(&operator.get("/metrics").await.ok()), "kassa_scan_failures_total", &label);
        if now > before { Ok(()) } else { Err(format!("{now}")) }
    })
    .await;
    assert_eq!(
        anyone.get("/ready").await.status,
        200,
        "one ill network is no reason to take Kassa out of use"
    );
}

async fn document(database: Database) {
    let world = World::start(database).await;
    let document = Api::new(world.kassa.url(), "").get("/openapi.json").await.ok();
    assert!(text(&document["openapi"]).starts_with("3.1"), "{}", document["openapi"]);
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() > 20, "{} paths", paths.len());
    let anyone = Api::new(world.kassa.url(), "");
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().expect("operations") {
            if operation["security"]
                .as_array()
                .is_some_and(|ways| ways.contains(&Value::Object(serde_json::Map::default())))
            {
                continue;
            }
            let method = method.to_uppercase().parse().expect("a method");
            let concrete = path.replace("{id}", "inv_01ARZ3NDEKTSV4RRFFQ69G5FAV").replace(['{', '}'], "");
            let body = (method != reqwest::Method::GET).then(|| b"{}".to_vec());
            let answer = anyone.send(method, &concrete, &[], body).await;
            assert!(answer.problem(401).ends_with("/key_missing"), "{path}: {answer:?}");
        }
    }
    let page = anyone.get("/docs").await;
    assert_eq!(page.status, 200);
    assert!(page.body.to_string().contains("<html"), "a page for people");
}

async fn stop(database: Database) {
    let mut world = World::start(database).await;
    let invoice = world.invoice("USDT", "10").await;
    world.pay(&invoice).await;
    world.anvil.mine(3).await;
    assert!(world.kassa.stop().await, "SIGTERM ends it with status 0");
    kassa_tests::invariants::check(&world.database).await;
    let now = kassa_tests::now_ms();
    let held = format!("SELECT resource, CAST(expires_at AS TEXT) FROM lease WHERE expires_at > {now}");
    assert_eq!(world.database.rows(&held).await, Vec::<Vec<Option<String>>>::new(), "leases are given back");
    world.kassa.spawn(&[]);
    world.kassa.ready().await;
    world.until(&invoice, "paid").await;
    world.settled().await;
}

/// A bench that breaks off measures nothing: it checks what it has written, whatever the figures.
async fn bench() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = tokio::process::Command::from(Kassa::command("bench"));
    command.args(["settle", "--seconds", "1", "--open", "2000", "--json", "--dir"]).arg(folder.path());
    let output = command.kill_on_drop(true).output().await.expect("kassa bench");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let figures = said.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let credited: Vec<Value> = figures.filter(|figure| figure["metric"] == "credited").collect();
    assert!(credited.len() == 1 && credited[0]["ratio"].as_f64() > Some(0.0), "{said}");
}
