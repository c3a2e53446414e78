//! Uploads that mean harm to what checks and compiles them.

use std::time::Instant;

use kassa_tests::{Database, Kind, Suite, carrying, text};

use super::{Stage, said};

pub(super) fn cases(suite: &mut Suite) {
    for (name, module) in BOMBS {
        suite.on(Kind::Sqlite, &format!("hostile::{name}"), move |database| bomb(database, name, module));
    }
}

const BOMBS: [(&str, fn() -> String); 16] = [
    ("functions-100000", || functions(100_000, "(func (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))")),
    ("functions-200001", || functions(200_001, "(func)")),
    ("locals-1000000", || format!("(module (func (local{})))", " i32".repeat(1_000_000))),
    ("locals-50000-x-1000", || functions(1_000, &format!("(func (local{}))", " i32".repeat(50_000)))),
    ("locals-used-50000-x-20", || functions(20, &format!("(func (local{}) {})", " i32".repeat(50_000), (0..50_000).map(|i| format!("(local.set {i} (i32.const {i}))")).collect::<String>()))),
    ("blocks-100000", || format!("(module (func {} {}))", "block ".repeat(100_000), "end ".repeat(100_000))),
    ("loops-100000", || format!("(module (func {} {}))", "loop ".repeat(100_000), "end ".repeat(100_000))),
    ("loops-locals-1000", || format!("(module (func (local{}) {} {} {}))", " i32".repeat(50_000), "loop ".repeat(10_000), (0..50_000).map(|i| format!("(local.set {i} (i32.add (local.get {i}) (i32.const {i})))")).collect::<String>(), "local.get 0 br_if 0 end ".repeat(10_000))),
    ("br-table-1000000", || format!("(module (func (param i32) {} (br_table {} 0 (local.get 0)) {}))", "block ".repeat(1000), (0..1_000_000).map(|i| format!("{} ", i % 1000)).collect::<String>(), "end ".repeat(1000))),
    ("br-table-wide", || format!("(module (func (param i32) (result{}) {} local.get 0 (br_table {} 0)))", " i32".repeat(1000), "i32.const 0 ".repeat(1000), "0 ".repeat(7_000_000))),
    ("calls-wide", || format!("(module (func $f (param{0}) (result{0}) unreachable) (func (result{0}) {1} {2}))", " i32".repeat(1000), "i32.const 0 ".repeat(1000), "call $f ".repeat(3_000_000))),
    ("data-100000", || format!("(module (memory 1) {})", "(data (i32.const 0) \"x\")".repeat(100_000))),
    ("elements-100000", || format!("(module (table 1 funcref) {})", "(elem (i32.const 0) func)".repeat(100_000))),
    ("globals-1000000", || format!("(module {})", "(global i32 (i32.const 0))".repeat(1_000_000))),
    ("exports-1000000", || format!("(module (func $f) {})", (0..1_000_000).map(|i| format!("(export \"{i}\" (func $f))")).collect::<String>())),
    ("dense", || functions(10, &format!("(func (param i64) (result i64) local.get 0 {})", "local.get 0 i64.div_u local.get 0 i64.add ".repeat(200_000)))),
];

fn functions(count: usize, one: &str) -> String {
    format!("(module {})", one.repeat(count))
}

async fn bomb(database: Database, name: &'static str, module: fn() -> String) {
    let stage = Stage::start(database).await;
    let began = Instant::now();
    let wasm = carrying("bomb", &module());
    println!("{name}: {} bytes, made in {:?}", wasm.len(), began.elapsed());
    let began = Instant::now();
    let answer = stage.evil_hooks().try_upload(&wasm, true).await;
    let how = if answer.status == 201 { "taken".to_owned() } else { format!("{} {}", text(&answer.body["detail"]), answer.body["reason"]) };
    said(name, &how, began.elapsed());
    stage.is_well().await;
}
