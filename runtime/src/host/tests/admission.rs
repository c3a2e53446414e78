//! Refusals of artefacts before they are ever active, and their slugs.

use super::*;

async fn slug(wasm: Vec<u8>) -> &'static str {
    Bench::new().await.refused(wasm).await.slug()
}

#[tokio::test]
async fn what_is_no_component() {
    assert_eq!(slug(b"<!doctype html>".to_vec()).await, "not-wasm");
    assert_eq!(slug(Vec::new()).await, "truncated");
    assert_eq!(slug(b"\0asm".to_vec()).await, "truncated");
    assert_eq!(slug(wat::parse_str("(module)").unwrap()).await, "core-module");
    assert_eq!(slug(wat::parse_str("(component)").unwrap()).await, "no-role");
    let whole = Guest::new().component();
    for part in [whole.len() / 4, whole.len() / 2, whole.len() - 1] {
        assert_eq!(slug(whole[..part].to_vec()).await, "truncated", "{part}");
    }
    let mut garbled = whole.clone();
    let middle = garbled.len() / 2;
    garbled[middle..middle + 8].fill(0xFF);
    assert!(matches!(slug(garbled).await, "invalid" | "truncated" | "bad-manifest" | "unknown-export"));
}

#[tokio::test]
async fn too_large() {
    let bench = Bench::with(config::Plugins { artefact_bytes_max: 1000, ..config() }).await;
    assert_eq!(bench.refused(Guest::new().component()).await.slug(), "too-large");
}

#[tokio::test]
async fn features_that_plugins_do_not_have() {
    for inside in
        ["(memory i64 1)", "(memory 1 1 shared)", "(tag)", "(memory 1) (memory 1)", "(type (struct))"]
    {
        assert_eq!(slug(carrying(inside)).await, "invalid", "{inside}");
    }
}

/// A quiet guest that contains another module, unused.
fn carrying(inside: &str) -> Vec<u8> {
    const MODULE_SECTION: u8 = 1;
    let module = wat::parse_str(format!("(module {inside})")).unwrap();
    let mut component = Guest::new().component();
    component.extend([MODULE_SECTION, u8::try_from(module.len()).unwrap()]);
    component.extend(module);
    component
}

#[tokio::test]
async fn functions_that_are_not_valid() {
    for inside in ["(func (result i32))", "(func i32.add)", "(func (local i32) local.get 1)"] {
        assert_eq!(slug(carrying(inside)).await, "invalid", "{inside}");
    }
}

/// A core module as a component of a world that is unrelated to `kassa:plugin`'s own.
fn component_of(wit: &str, module: &str) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("other.wit", wit).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let mut module = wat::parse_str(module).unwrap();
    wit_component::embed_component_metadata(
        &mut module,
        &resolve,
        world,
        wit_component::StringEncoding::UTF8,
    )
    .unwrap();
    wit_component::ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

#[tokio::test]
async fn another_world() {
    let wit = "package test:other; interface things { go: func(); } world w { export things; }";
    let module = r#"(module (func (export "test:other/things#go")))"#;
    assert_eq!(slug(component_of(wit, module)).await, "unknown-export");
    let wit = "package test:other; world w { export go: func(); }";
    assert_eq!(slug(component_of(wit, r#"(module (func (export "go")))"#)).await, "unknown-export");
    let wit = "package kassa:plugin@0.2.0; interface chain { go: func(); } world w { export chain; }";
    let module = r#"(module (func (export "kassa:plugin/chain@0.2.0#go")))"#;
    assert_eq!(slug(component_of(wit, module)).await, "unknown-export");
}

#[tokio::test]
async fn a_role_of_other_types() {
    let wit = |describe: &str, others: &str| {
        format!(
            "package kassa:plugin@0.1.0;
            interface chain {{ describe: func{describe}; {others} }}
            world w {{ export chain; }}"
        )
    };
    let names = ["normalize-address", "derive-address", "payment-link", "scan"];
    let module = |describe: &str, others: &[&str]| {
        let others: String = others
            .iter()
            .map(|name| format!("(func (export \"kassa:plugin/chain@0.1.0#{name}\"))"))
            .collect();
        format!(
            "(module (func (export \"kassa:plugin/chain@0.1.0#describe\") {describe}) {others}
                (@custom \"kassa:manifest\" {:?}))",
            guest::MANIFEST
        )
    };
    let others: String = names.iter().map(|name| format!("{name}: func();")).collect();
    let all = component_of(&wit("() -> u32", &others), &module("(result i32) i32.const 0", &names));
    assert_eq!(slug(all).await, "wrong-types");
    let one = component_of(&wit("()", ""), &module("", &[]));
    assert_eq!(slug(one).await, "wrong-types");
}

#[tokio::test]
async fn imports_beyond_the_list() {
    let wit = "package test:w;
        world w { include kassa:plugin/chain-plugin@0.1.0; import wasi:sockets/tcp@0.2.0; }
        package wasi:sockets@0.2.0 { interface tcp { connect: func(); } }";
    let guest = Guest::new()
        .world("test:w/w", wit)
        .imports(r#"(import "wasi:sockets/tcp@0.2.0" "connect" (func $connect))"#);
    let error = Bench::new().await.refused(guest.component()).await;
    assert_eq!(error.slug(), "forbidden-import");
    assert!(error.to_string().contains("wasi:sockets/tcp"), "{error}");
    // A hook's service is not one of a chain plugin's.
    let wit = "package test:w;
        world w { include kassa:plugin/chain-plugin@0.1.0; import kassa:plugin/webhooks@0.1.0; }";
    let guest = Guest::new().world("test:w/w", wit).imports(
        r#"(import "kassa:plugin/webhooks@0.1.0" "queue" (func (param i32 i32 i32 i32 i32 i32 i32 i32)))"#,
    );
    assert_eq!(slug(guest.component()).await, "forbidden-import");
}

#[tokio::test]
async fn a_service_function_of_a_newer_kassa() {
    let wit = "package test:w;
        world w { include kassa:plugin/chain-plugin@0.1.0; import kassa:plugin/clock@0.1.9; }
        package kassa:plugin@0.1.9 { interface clock { moon-phase: func() -> u64; } }";
    let guest = Guest::new()
        .world("test:w/w", wit)
        .imports(r#"(import "kassa:plugin/clock@0.1.9" "moon-phase" (func (result i64)))"#);
    assert_eq!(slug(guest.component()).await, "wrong-types");
}

/// WASI is there for hash maps and for nothing else.
#[tokio::test]
async fn wasi_is_an_empty_shell() {
    let wit = "package test:w;
        world w {
            include kassa:plugin/chain-plugin@0.1.0;
            import wasi:random/insecure-seed@0.2.3;
            import wasi:cli/environment@0.2.0;
        }
        package wasi:random@0.2.3 { interface insecure-seed { insecure-seed: func() -> tuple<u64, u64>; } }
        package wasi:cli@0.2.0 { interface environment { get-arguments: func() -> list<string>; } }";
    let imports = r#"
        (import "wasi:random/insecure-seed@0.2.3" "insecure-seed" (func $seed (param i32)))
        (import "wasi:cli/environment@0.2.0" "get-arguments" (func $arguments (param i32)))"#;
    let guest = || Guest::new().world("test:w/w", wit).imports(imports);
    let bench = Bench::new().await;
    // The seed is written over bytes that are not zero; a result of zeros says that it is zeros.
    let seeded = guest().normalizing(
        "(i64.store (i32.const 2048) (i64.const -1)) (i64.store (i32.const 2056) (i64.const -1))
         (call $seed (i32.const 2048)) i32.const 2048",
    );
    bench.load(&seeded).await;
    let answer = bench.host.normalize_address(&network("test"), "x").await.unwrap();
    assert_eq!(answer, Ok(Address { text: String::new(), key: Vec::new(), more: Vec::new() }));
    bench.load(&guest().normalizing("(call $arguments (i32.const 2048)) i32.const 1024")).await;
    let failed = bench.host.normalize_address(&network("test"), "x").await.unwrap_err();
    assert!(failed.to_string().contains("wasi:cli/environment@0.2.0#get-arguments"), "{failed}");
}

#[tokio::test]
async fn manifests() {
    let with = |from: &str, to: &str| Guest::new().manifest(&guest::MANIFEST.replace(from, to)).component();
    for (from, to) in [
        ("\"test\"", "\"Test!\""),
        ("\"test\"", "\"\""),
        ("0.1.0", "one"),
        ("\"A guest", "\"\\u001b[2J"),
        ("[\"chain\"]", "[]"),
        ("[\"chain\"]", "[\"chain\", \"chain\"]"),
        ("[\"chain\"]", "[\"oracle\"]"),
        ("storage_kib = 4", "storage_kib = -4"),
        ("storage_kib = 4", "storage_tib = 4"),
        ("[grants]", "[limits]\nmemory_mib = 0\n[grants]"),
    ] {
        assert_eq!(slug(with(from, to)).await, "bad-manifest", "{to}");
    }
    assert_eq!(slug(with("[\"chain\"]", "[\"chain\", \"simulator\"]")).await, "roles-differ");
    assert_eq!(slug(Guest::new().simulating().component()).await, "roles-differ");
    assert_eq!(slug(with("[\"chain\"]", "[\"chain\", \"finder\"]")).await, "roles-differ");
    for guest in [Guest::new().finding(None), Guest::new().comparing("unreachable", true)] {
        assert_eq!(slug(guest.manifest(guest::MANIFEST).component()).await, "roles-differ");
    }
    assert_eq!(slug(with("storage_kib = 4", "hosts = [\"example.com\"]")).await, "not-grantable");
    assert_eq!(slug(Guest::new().manifests(&[]).component()).await, "bad-manifest");
    assert_eq!(slug(Guest::new().manifests(&[guest::MANIFEST; 2]).component()).await, "bad-manifest");
    let long = format!("{}# {}", guest::MANIFEST, "x".repeat(20_000));
    assert_eq!(slug(Guest::new().manifest(&long).component()).await, "bad-manifest");
}

#[tokio::test]
async fn a_first_call_that_never_ends_or_breaks() {
    let looping = Guest::new().starting("(loop $again (br $again))");
    let error = Bench::new().await.refused(looping.component()).await;
    assert!(matches!(error, AdmitError::FirstCall(CallError::CpuBudget)), "{error}");
    let error = Bench::new().await.refused(Guest::new().starting("unreachable").component()).await;
    assert!(matches!(error, AdmitError::FirstCall(CallError::Trap { .. })), "{error}");
    let hungry = Guest::new().starting("(drop (memory.grow (i32.const 40000)))");
    let error = Bench::new().await.refused(hungry.component()).await;
    assert!(matches!(error, AdmitError::FirstCall(CallError::Memory)), "{error}");
}

/// Ten of ten of ten … instances, in a few hundred bytes.
#[tokio::test]
async fn a_nesting_bomb() {
    let mut text = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for level in 1..=9 {
        let inner = level - 1;
        let ten = format!("(instance (instantiate $c{inner}))").repeat(10);
        text = format!("(component $c{level} {text} {ten})");
    }
    let error = Bench::new().await.refused(wat::parse_str(&text).unwrap()).await;
    assert_eq!(error.slug(), "too-complex", "{error}");
    let deep = format!("{} {}", "(component ".repeat(30), ")".repeat(30));
    assert_eq!(slug(wat::parse_str(deep).unwrap()).await, "too-complex");
    let many = "(core instance (instantiate $m))".repeat(101);
    assert_eq!(
        slug(wat::parse_str(format!("(component (core module $m) {many})")).unwrap()).await,
        "too-complex"
    );
}
