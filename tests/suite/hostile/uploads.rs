//! Uploads that mean harm to what reads, checks, compiles and tries them.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use kassa_tests::{
    Database, KassaOptions, Kind, Suite, asking, assembled, carrying, hostile, now_ms, numbered, quiet, stale,
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{Stage, said};

/// Writes a component.
type Make = fn() -> Vec<u8>;
/// A component, and the slug and the words that it is refused with.
type Refused = (&'static str, Make, &'static str, &'static str);

const REFUSED: [Refused; 21] = [
    ("start-loop", || hostile("start-loop"), "first-call-failed", "processor time"),
    ("panic-start", || hostile("panic-start"), "first-call-failed", "unreachable"),
    ("declared-memory", || hostile("declared-memory"), "does-not-compile", "memory"),
    ("declared-table", || hostile("declared-table"), "does-not-compile", "table"),
    ("stale-types", || stale("stale"), "wrong-types", "type"),
    ("cut-file", || quiet("cut")[..900].to_vec(), "truncated", "uploaded completely"),
    ("instances-nested", || assembled(&nested_instances()), "too-complex", "instances"),
    ("instances-101", || assembled(&instances(101)), "too-complex", "101 core instances"),
    ("functions-200001", || carrying("bomb", &module("", "(func)", 200_001)), "too-complex", "functions"),
    ("locals-1000000", || carrying("bomb", &locals(1_000_000, 1)), "invalid", "too many locals"),
    ("br-table-1000000", || carrying("bomb", &br_table(1_000_000)), "does-not-compile", "br_table"),
    ("globals-1000000", || carrying("bomb", &module("", GLOBAL, 1_000_000)), "does-not-compile", "instance"),
    ("exports-1000000", || carrying("bomb", &exports(1_000_000)), "invalid", "type size"),
    // Two bytes for each check of 1,000 parameters and 1,000 results.
    ("wide-calls-500000", || carrying("bomb", &wide_calls(500_000)), "does-not-compile", "memory or time"),
    // Each loop in another: what the compiler knows of each it asks of all around it.
    ("loops-100000", || carrying("bomb", &loops(100_000)), "does-not-compile", "memory or time"),
    ("schema", || asking("schema", &doubling_schema(40)), "bad-manifest", "$ref"),
    ("nested-dots-and-tables", || asking("deep", &nested_tables(78, 26)), "bad-manifest", "too deep"),
    ("nested-tables", || asking("deep", &nested_tables(40, 1)), "bad-manifest", "too deep"),
    ("nested-dots", || asking("deep", &nested_tables(1, 200)), "bad-manifest", "too deep"),
    ("nested-lists", || asking("deep", &nested_lists(5_000)), "bad-manifest", "too deep"),
    ("nested-headers", || asking("deep", &nested_headers(3_000)), "bad-manifest", "too deep"),
];

/// What is large, and honest as far as anyone can tell.
const TAKEN: [(&str, Make); 4] = [
    ("functions-100000", || carrying("bomb", &functions(100_000))),
    ("locals-50000-x-100", || carrying("bomb", &locals(50_000, 100))),
    ("data-100000", || carrying("bomb", &module("(memory 1)", "(data (i32.const 0) \"x\")", 100_000))),
    ("elements-100000", || {
        carrying("bomb", &module("(table 1 funcref)", "(elem (i32.const 0) func)", 100_000))
    }),
];

const GLOBAL: &str = "(global i32 (i32.const 0))";

fn module(first: &str, item: &str, count: usize) -> String {
    format!("(module {first} {})", item.repeat(count))
}

pub(super) fn functions(count: usize) -> String {
    module("", "(func (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))", count)
}

fn locals(count: usize, functions: usize) -> String {
    module("", &format!("(func (local{}))", " i32".repeat(count)), functions)
}

fn br_table(targets: usize) -> String {
    format!("(module (func (param i32) (br_table {} (local.get 0))))", "0 ".repeat(targets))
}

fn exports(count: usize) -> String {
    let exports: String = (0..count).map(|name| format!("(export \"{name}\" (func 0))")).collect();
    format!("(module (func) {exports})")
}

pub(super) fn wide_calls(count: usize) -> String {
    let (types, values) = (" i32".repeat(1_000), "i32.const 0 ".repeat(1_000));
    let calls = "call 0 ".repeat(count);
    format!(
        "(module (func (param{types}) (result{types}) unreachable) (func (result{types}) {values} {calls}))"
    )
}

pub(super) fn loops(depth: usize) -> String {
    format!("(module (func {} {}))", "loop ".repeat(depth), "end ".repeat(depth))
}

fn instances(count: usize) -> String {
    format!("(component (core module $m) {})", "(core instance (instantiate $m))".repeat(count))
}

/// Ten of ten of ten …, a billion in all.
fn nested_instances() -> String {
    let mut text = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for level in 1..=9 {
        let ten = format!("(instance (instantiate $c{}))", level - 1).repeat(10);
        text = format!("(component $c{level} {text} {ten})");
    }
    text
}

/// Settings of tables in tables, each under a key of so many parts.
fn nested_tables(tables: usize, parts: usize) -> String {
    let key = vec!["a"; parts].join(".");
    format!("[settings]\n{}a=1{}\n", format!("{key}={{").repeat(tables), "}".repeat(tables))
}

fn nested_lists(depth: usize) -> String {
    format!("[settings]\nenum = {}{}\n", "[".repeat(depth), "]".repeat(depth))
}

fn nested_headers(parts: usize) -> String {
    format!("[settings.{}]\ntype = \"object\"\n", vec!["a"; parts].join("."))
}

/// A schema of settings in which each line stands for twice the next one.
fn doubling_schema(lines: usize) -> String {
    let mut text = "[settings]\n\"$ref\" = \"#/$defs/a0\"\n".to_owned();
    for line in 0..lines {
        let next = format!("{{ \"$ref\" = \"#/$defs/a{}\" }}", line + 1);
        text += &format!("[settings.\"$defs\".a{line}]\nallOf = [{next}, {next}]\n");
    }
    text
}

pub(super) fn cases(suite: &mut Suite) {
    for (name, make, slug, words) in REFUSED {
        suite.on(Kind::Sqlite, &format!("hostile::{name}_is_refused"), move |database| async move {
            let stage = Stage::start(database).await;
            let (was, detail) = stage.refused(name, &make()).await;
            assert_eq!(was, slug, "{detail}");
            assert!(detail.contains(words), "{detail}");
            assert_eq!(stage.evil().get("/v1/hooks").await.ok()["data"], json!([]));
            stage.is_well().await;
        });
    }
    for (name, make) in TAKEN {
        suite.on(Kind::Sqlite, &format!("hostile::{name}_harms_nobody"), move |database| async move {
            let mut stage = Stage::start(database).await;
            // None of an earlier day, whose code is known.
            let wasm = numbered(&make(), now_ms());
            let began = Instant::now();
            let hook = stage.upload(&wasm).await;
            said(name, "taken", began.elapsed());
            let (run, _) = stage.attack(&hook).await;
            assert_eq!(run["state"], "done", "{run}");
            stage.is_well().await;
        });
    }
    suite.both("hostile::costly_settings_are_refused", costly_settings);
    suite.on(Kind::Sqlite, "hostile::upload_cut_off_in_the_middle", cut_off);
    suite.on(Kind::Sqlite, "hostile::10000_uploads_are_refused_cheaply", flood);
}

/// A schema of fifteen hundred alternatives, as a manifest says it.
pub(super) fn alternatives() -> String {
    format!("[settings]\nanyOf = [{}]\n", vec!["{enum=[]}"; 1_500].join(","))
}

/// Settings of eight thousand numbers, each of which would be held against each alternative.
pub(super) fn many_numbers() -> Value {
    json!({"a": vec![0; 8_000]})
}

async fn costly_settings(database: Database) {
    let stage = Stage::start(database).await;
    let schema = alternatives();
    let hooks = stage.evil_hooks();
    // As long as it has no settings nothing fits.
    let refused = hooks.try_upload(&asking("costly", &schema), true).await;
    assert_eq!(refused.problem(422), "/problems/hook_not_ready", "{refused:?}");
    let made = hooks.try_upload(&asking("costly", &schema), false).await.ok();
    let path = format!("/v1/hooks/{}/settings", kassa_tests::text(&made["hook"]["id"]));
    let began = Instant::now();
    let settings = many_numbers();
    let attacks = (0..8).map(|_| async { stage.evil().put(&path, &settings).await });
    let (refused, _) = tokio::join!(futures_util::future::join_all(attacks), async {
        stage.sandbox.invoice("5", &json!({})).await
    });
    for answer in refused {
        assert_eq!(answer.problem(422), "/problems/settings_refused", "{answer:?}");
        assert!(answer.body["detail"].to_string().contains("too many values"), "{answer:?}");
    }
    said("costly-settings", "refused (settings_refused)", began.elapsed());
    stage.is_well().await;
}

/// The connection ends when half of the component was sent.
async fn cut_off(database: Database) {
    let mut stage = Stage::start(database).await;
    let wasm = quiet("quiet");
    let (half, _) = wasm.split_at(wasm.len() / 2);
    let (began, address) = (Instant::now(), stage.sandbox.shop.kassa.url().replace("http://", ""));
    // The operator's limit of uploads under way is one: each of these has to give its permit back.
    for _ in 0..20 {
        let mut connection = TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "POST /v1/hooks?activate=true HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
             content-type: application/wasm\r\ncontent-length: {}\r\n\r\n",
            stage.evil.key,
            wasm.len()
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(half).await.unwrap();
        connection.shutdown().await.unwrap();
    }
    said("upload-cut-off", "20 connections cut in the middle", began.elapsed());
    assert_eq!(stage.evil().get("/v1/hooks").await.ok()["data"], json!([]));
    let hook = kassa_tests::eventually("the permit to be free", || async {
        let answer = stage.evil_hooks().try_upload(&wasm, true).await;
        if answer.status == 201 {
            Ok(answer.body["hook"]["id"].clone())
        } else {
            Err(answer.body.to_string())
        }
    })
    .await;
    let (run, _) = stage.attack(&kassa_tests::text(&hook)).await;
    assert_eq!(run["state"], "done", "{run}");
    stage.is_well().await;
}

const UPLOADS: usize = 10_000;
const AT_ONCE: usize = 8;

/// What is over the limits is refused before its body is read.
async fn flood(database: Database) {
    let options = KassaOptions::default()
        .with("KASSA_HOOKS__UPLOADS_PER_HOUR", "40")
        // So that it is the limits of uploads that refuse, and not that of requests.
        .with("KASSA_HTTP__RATE_PER_10S", "100000");
    let stage = Stage::with(database, options).await;
    let counts: [AtomicUsize; 4] = Default::default();
    let (wasm, sent, start) = (quiet("flood"), AtomicUsize::new(0), now_ms());
    let began = Instant::now();
    let attack = async |number: usize| {
        // Each is another component, so none is known.
        let answer = stage.evil_hooks().try_upload(&numbered(&wasm, start + number as u128), true).await;
        let kind = match (answer.status, answer.body["type"].as_str().unwrap_or_default()) {
            (201, _) => 0,
            (409, "/problems/hook_limit") => 1,
            (429, "/problems/uploads_limited") => 2,
            _ => panic!("{answer:?}"),
        };
        counts[kind].fetch_add(1, Ordering::Relaxed);
        kind
    };
    let attacker = || async {
        loop {
            let number = sent.fetch_add(1, Ordering::Relaxed);
            if number >= UPLOADS {
                return;
            }
            attack(number).await;
        }
    };
    let flood = futures_util::future::join_all((0..AT_ONCE).map(|_| attacker()));
    let neighbour = async {
        // In the middle of it.
        kassa_tests::eventually("half of the flood", || async {
            let sent = sent.load(Ordering::Relaxed);
            if sent >= UPLOADS / 2 { Ok(()) } else { Err(sent.to_string()) }
        })
        .await;
        let began = Instant::now();
        stage.sandbox.hooks().try_upload(&quiet("of-the-neighbour"), true).await.ok();
        said("10000-uploads", "another merchant's upload went through", began.elapsed());
    };
    tokio::join!(flood, neighbour);
    let took = began.elapsed();
    // On a slow machine the flood is over before the hour's uploads are used up: one after the other uses them up.
    let mut number = UPLOADS;
    while attack(number).await < 2 {
        number += 1;
    }
    let [taken, too_many, limited, _] = counts.map(AtomicUsize::into_inner);
    let how = format!(
        "{taken} taken, {too_many} over hooks.versions_max, {limited} over hooks.uploads_per_hour, {} us each",
        took.as_micros() / 10_000
    );
    said("10000-uploads", &how, took);
    assert_eq!((taken, taken + too_many), (20, 40));
    stage.is_well().await;
}
