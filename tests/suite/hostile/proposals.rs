//! Proposals of WebAssembly, each in a small module: what no toolchain of hooks puts out is refused before it is
//! compiled, and what they do put out runs. None of them ends the process.

use std::time::Instant;

use kassa_tests::{Database, KassaOptions, Kind, Suite, carrying, doing};
use serde_json::json;

use super::{Stage, said};

/// What uses a type that is another's subtype. It compiles to a call of a function that is not there in a wasmtime
/// without garbage collection (GHSA-rc4p-x33f-vpr2), and is valid by itself: where it stands decides when it strikes.
const SUBTYPES: &str = r"
    (type $a (sub (func))) (type $b (sub $a (func)))
    (func $f (type $b))
    (table 1 funcref) (elem (i32.const 0) func $f)";
const STRIKES: [(&str, &str); 4] = [
    ("ref.test", "(drop (ref.test (ref $a) (table.get 0 (i32.const 0))))"),
    ("ref.cast", "(drop (ref.cast (ref $a) (table.get 0 (i32.const 0))))"),
    (
        "br_on_cast",
        "(block $l (result funcref) (br_on_cast $l funcref (ref $a) (table.get 0 (i32.const 0)))) drop",
    ),
    ("call_indirect", "(call_indirect (type $a) (i32.const 0))"),
];

/// Modules, and components.
const REFUSED: [(&str, &str); 28] = [
    ("struct types", "(module (type (struct (field i32))))"),
    ("array types", "(module (type (array i8)))"),
    ("i31", "(module (func (drop (ref.i31 (i32.const 1)))))"),
    ("recursive types", "(module (rec (type (func)) (type (func))))"),
    ("externref", "(module (func (param externref)))"),
    ("anyref", "(module (table 1 anyref))"),
    ("function references", "(module (type $t (func)) (func (param (ref $t)) (call_ref $t (local.get 0))))"),
    ("tables with an initial value", "(module (func $f) (table 1 funcref (ref.func $f)))"),
    ("exceptions", "(module (tag $e) (func (throw $e)))"),
    ("try_table", "(module (func (block $l (try_table (catch_all $l)))))"),
    ("legacy exceptions", "(module (func try nop catch_all end))"),
    ("shared memory", "(module (memory 1 1 shared))"),
    ("atomics", "(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))"),
    ("shared globals", "(module (global (shared i32) (i32.const 0)))"),
    ("64-bit memory", "(module (memory i64 1))"),
    ("64-bit tables", "(module (table i64 1 funcref))"),
    (
        "relaxed SIMD",
        "(module (func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))))",
    ),
    ("pages of one byte", "(module (memory 1 (pagesize 1)))"),
    ("wide arithmetic", "(module (func (result i64 i64) (i64.mul_wide_u (i64.const 1) (i64.const 1))))"),
    ("stack switching", "(module (type $f (func)) (type (cont $f)))"),
    ("a subtype", "(module (type $a (sub (func))) (type (sub $a (func))))"),
    ("a final subtype", "(module (type $a (sub (func))) (type (sub final $a (func))))"),
    ("futures", "(component (type (future u8)))"),
    ("streams", "(component (type (stream u8)))"),
    ("async functions", "(component (type (func async)))"),
    ("error contexts", "(component (type error-context))"),
    ("maps", "(component (type (map string u8)))"),
    ("lists of a fixed length", "(component (type (list u8 4)))"),
];

/// What compilers of C, Rust, JavaScript and Python put out.
const TAKEN: &str = r#"
    (table $functions 2 4 funcref)
    (elem (table $functions) (i32.const 0) func $pair)
    (elem $passive func $pair)
    (data $bytes "bytes")
    (global $at i32 (i32.add (i32.const 1000) (i32.const 24)))
    (func $pair (result i32 i64) (i32.const 7) (i64.const 8))
    (func $fulfill (result i32)
        (call_indirect $functions (result i32 i64) (i32.const 0)) drop drop
        (table.init $functions $passive (i32.const 1) (i32.const 0) (i32.const 1))
        (drop (table.grow $functions (ref.null func) (i32.const 1)))
        (memory.init $bytes (i32.const 4096) (i32.const 0) (i32.const 5))
        (memory.copy (i32.const 4104) (i32.const 4096) (i32.const 5))
        (memory.fill (i32.const 4096) (i32.const 0) (i32.const 5))
        (data.drop $bytes)
        (drop (i32.trunc_sat_f64_u (f64.const 1e300)))
        (drop (i64.extend32_s (i64.const 0x80000000)))
        (drop (i32x4.extract_lane 0 (i32x4.mul (v128.const i32x4 1 2 3 4) (v128.const i32x4 5 6 7 8))))
        (return_call $last))
    (func $last (result i32) (global.get $at))"#;

pub(super) fn cases(suite: &mut Suite) {
    suite.on(Kind::Sqlite, "hostile::proposals_of_webassembly_are_refused", refused);
    suite.on(Kind::Sqlite, "hostile::proposals_that_toolchains_use_run", taken);
}

async fn refused(database: Database) {
    let options = KassaOptions::default().with("KASSA_HOOKS__UPLOADS_PER_HOUR", "1000");
    let stage = Stage::with(database, options).await;
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, strike) in STRIKES {
        let at_the_start = format!("{SUBTYPES} (func $s {strike}) (start $s)");
        let when_called = format!("{SUBTYPES} (func $fulfill (result i32) {strike} (i32.const 1024))");
        let quiet = "(func $fulfill (result i32) (i32.const 1024))";
        all.push((format!("{name} at the start"), doing("strikes", &format!("{at_the_start} {quiet}"))));
        all.push((format!("{name} when it is called"), doing("strikes", &when_called)));
        all.push((format!("{name} beside it"), carrying("strikes", &format!("(module {at_the_start})"))));
    }
    all.extend(REFUSED.map(|(name, text)| (name.to_owned(), carrying("proposal", text))));
    let began = Instant::now();
    for (name, wasm) in &all {
        for answer in
            [stage.evil_hooks().validate(wasm).await, stage.evil_hooks().try_upload(wasm, true).await]
        {
            assert_eq!(answer.problem(422), "/problems/component_refused", "{name}: {answer:?}");
            assert_eq!(answer.body["reason"], "invalid", "{name}: {answer:?}");
        }
    }
    said("proposals", &format!("{} refused (invalid)", all.len()), began.elapsed());
    assert_eq!(stage.evil().get("/v1/hooks").await.ok()["data"], json!([]));
    stage.is_well().await;
}

async fn taken(database: Database) {
    let mut stage = Stage::start(database).await;
    let hook = stage.upload(&doing("toolchains", TAKEN)).await;
    let (run, _) = stage.attack(&hook).await;
    assert_eq!(run["state"], "done", "{run}");
    stage.is_well().await;
}
