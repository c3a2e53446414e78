//! Roles of hooks: their imports, the versions of them that run, and a form at work.

use url::Url;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::*;
use crate::{
    domain::{hook::Purpose, taken::NotTaken, tenant::Tenant},
    host::bindings::form::exports::kassa::plugin::form,
};

/// An allocator that never frees; its memory begins at 8192.
const MEMORY: &str = r#"
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 8192))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.get $next)
        (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7)) (i32.const -8))))"#;
const FULFILLS: &str = r#"(func (export "kassa:plugin/fulfiller@0.1.0#fulfill")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32) (result i32) i32.const 1024)"#;
const MATCHES: &str =
    r#"(func (export "kassa:plugin/matcher@0.1.0#match-transfer") (param i32) (result i32) i32.const 1024)"#;
const SENDS: &str = r#"(import "kassa:plugin/http@0.1.0" "send-all" (func (param i32 i32 i32)))"#;

/// A hook of these roles, whose world imports these services too.
fn hook(roles: &[&str], services: &[&str], module: &str) -> Vec<u8> {
    let items: String =
        services.iter().map(|service| format!("import kassa:plugin/{service}@0.1.0; ")).collect();
    let exports: String = roles.iter().map(|role| format!("export kassa:plugin/{role}@0.1.0; ")).collect();
    let mut resolve = Resolve::default();
    resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap();
    let world = format!("package test:w; world w {{ {items}{exports} }}");
    let package = resolve.push_str("test.wit", &world).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let manifest = format!(
        "name = \"test\"\nversion = \"0.1.0\"\ndescription = \"A hook of a test\"\nroles = {roles:?}\n"
    );
    let text = format!("(module {module} (@custom \"kassa:manifest\" {manifest:?}))");
    let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

async fn admitted(bench: &Bench, wasm: Vec<u8>) -> Result<HookVersion, AdmitError> {
    let hooks = bench.host.hooks();
    let admitted = hooks.admit(wasm.into()).await?;
    if let Some(code) = admitted.code {
        hooks.keep(&admitted.sha256, code).await;
    }
    Ok(HookVersion {
        name: "test".to_owned(),
        version: "0.1.0".to_owned(),
        version_id: "hkv_1".into(),
        sha256: admitted.sha256,
        manifest: Arc::new(admitted.manifest),
    })
}

#[tokio::test]
async fn a_matcher_sends_no_requests() {
    let bench = Bench::new().await;
    let matcher = hook(&["matcher"], &["http"], &[SENDS, MEMORY, MATCHES].concat());
    let error = admitted(&bench, matcher).await.unwrap_err();
    assert_eq!(error.slug(), "forbidden-import");
    assert!(
        error.to_string().contains("kassa:plugin/http@0.1.0, which is for none of its roles (matcher)"),
        "{error}"
    );
    let both = hook(&["matcher", "fulfiller"], &["http"], &[SENDS, MEMORY, MATCHES, FULFILLS].concat());
    admitted(&bench, both).await.unwrap();
    // A service of no hook's role.
    let watching = r#"(import "kassa:plugin/watch@0.1.0" "list" (func (param i32 i32 i32 i32 i32)))"#;
    let watcher = hook(&["fulfiller"], &["watch"], &[watching, MEMORY, FULFILLS].concat());
    assert_eq!(admitted(&bench, watcher).await.unwrap_err().slug(), "forbidden-import");
}

/// The same component, built against another version of this interface or of all.
fn of_version(wasm: &[u8], interface: &str, version: &str) -> Vec<u8> {
    let from = format!("kassa:plugin/{interface}@0.1.0").into_bytes();
    let to = format!("kassa:plugin/{interface}@{version}").into_bytes();
    let mut wasm = wasm.to_vec();
    let places: Vec<usize> =
        wasm.windows(from.len()).enumerate().filter(|(_, bytes)| *bytes == from).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "{interface}");
    for at in places {
        wasm[at..at + to.len()].copy_from_slice(&to);
    }
    wasm
}

#[tokio::test]
async fn roles_and_services_of_any_version_that_fits() {
    let bench = Bench::new().await;
    let chain = Guest::new().component();
    let newer = of_version(&chain, "chain", "0.1.7");
    let version = bench.host.registry.install(newer).await.unwrap();
    bench.host.registry.activate("test", &version.id).await.unwrap();
    bench.host.describe(&network("test")).await.unwrap();
    bench.scan().await.unwrap().value.unwrap();
    let error = bench.refused(of_version(&chain, "chain", "0.2.0")).await;
    assert_eq!(error.slug(), "unknown-export");
    assert!(
        error.to_string().contains("chain@0.2.0; this Kassa runs the roles of kassa:plugin@0.1"),
        "{error}"
    );

    let logs = r#"(import "kassa:plugin/log@0.1.0" "write" (func (param i32 i32 i32)))"#;
    let fulfiller = hook(&["fulfiller"], &["log"], &[logs, MEMORY, FULFILLS].concat());
    let newer = of_version(&of_version(&fulfiller, "fulfiller", "0.1.9"), "log", "0.1.3");
    let version = admitted(&bench, newer).await.unwrap();
    let text = String::new;
    let event = fulfiller::Event { id: text(), kind: text(), payload: text(), more: Vec::new() };
    let context =
        fulfiller::Context { run: text(), attempt: 1, now_ms: 0, settings: text(), more: Vec::new() };
    let called = bench.host.hooks().fulfill(&version, of(&[]), &event, &context, Tape::Off).await.unwrap();
    assert_eq!(called.value, fulfiller::Outcome::Done(String::new()));
    let error = admitted(&bench, of_version(&fulfiller, "log", "0.2.0")).await.unwrap_err();
    assert_eq!(error.slug(), "forbidden-import");
    assert!(
        error.to_string().contains("log@0.2.0; this Kassa has the services of kassa:plugin@0.1"),
        "{error}"
    );
}

fn of(secrets: &[(&str, &str)]) -> OfMerchant {
    let secret = |(name, text): &(&str, &str)| ((*name).to_owned(), Secret::new(text, Purpose::Sign));
    OfMerchant {
        hook_id: "hook_1".into(),
        tenant: Tenant::test("mer_1"),
        run_id: None,
        hosts: Vec::new(),
        secrets: secrets.iter().map(secret).collect(),
    }
}

/// A form that answers with a PUT request signed over the payload and wants `ok` for it, unless `$end` says otherwise.
fn form(end: &str) -> Vec<u8> {
    let sign =
        r#"(import "kassa:plugin/secrets@0.1.0" "sign" (func $sign (param i32 i32 i32 i32 i32 i32 i32)))"#;
    let render = format!(
        r#"(data (i32.const 64) "ipn_keyHMAC-SHA512ok")
        (func (export "kassa:plugin/form@0.1.0#render") (param $given i32) (result i32)
            (call $sign (i32.const 64) (i32.const 7) (i32.const 71) (i32.const 11)
                (i32.load offset=36 (local.get $given)) (i32.load offset=40 (local.get $given)) (i32.const 512))
            {end}
            (if (i32.load8_u (i32.const 512)) (then
                ;; The error `secret`, with the text that the service gave.
                (i32.store8 (i32.const 1024) (i32.const 1))
                (i32.store8 (i32.const 1028) (i32.const 3))
                (i32.store (i32.const 1032) (i32.load (i32.const 520)))
                (i32.store (i32.const 1036) (i32.load (i32.const 524))))
            (else
                (i32.store8 (i32.const 1028) (i32.const 3))
                (i32.store (i32.const 1048) (i32.load (i32.const 516)))
                (i32.store (i32.const 1052) (i32.load (i32.const 520)))
                (i32.store8 (i32.const 1064) (i32.const 1))
                (i32.store (i32.const 1068) (i32.const 82))
                (i32.store (i32.const 1072) (i32.const 2))))
            i32.const 1024)"#
    );
    hook(&["form"], &["secrets"], &[sign, MEMORY, &render].concat())
}

fn delivery() -> form::Delivery {
    form::Delivery {
        id: "dlv_1".to_owned(),
        event: "evt_1".to_owned(),
        kind: "invoice.paid".to_owned(),
        created_ms: 1,
        attempt: 1,
        payload: "what do ya want for nothing?".to_owned(),
        endpoint: "ep_1".to_owned(),
        url: "https://shop.example/ipn".to_owned(),
        more: Vec::new(),
    }
}

fn context() -> form::Context {
    form::Context {
        now_ms: 1,
        settings: "{}".to_owned(),
        secrets: vec!["ipn_key".to_owned()],
        more: Vec::new(),
    }
}

#[tokio::test]
async fn a_form_signs_what_is_sent() {
    let bench = Bench::new().await;
    let version = admitted(&bench, form("")).await.unwrap();
    let (delivery, context) = (delivery(), context());
    let url = Url::parse(&delivery.url).unwrap();
    let render = |of| bench.host.hooks().render(&version, of, &url, &delivery, &context);
    let called = render(of(&[("ipn_key", "Jefe")])).await.unwrap();
    let request = called.value.unwrap();
    // RFC 4231, test case 2.
    let signature = "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
                     9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737";
    assert_eq!(hex::encode(&request.body), signature);
    assert_eq!(request.method, http::Method::PUT);
    assert_eq!(request.taken.judge(200, b"no"), Err(NotTaken::Text(200)));
    assert_eq!(request.taken.judge(200, b"ok"), Ok(()));
    assert!(called.writes.entries.is_empty() && called.webhooks.is_empty());
    let refused = render(of(&[])).await.unwrap().value.unwrap_err();
    assert_eq!(refused, NotRendered::Said(form::FormError::Secret("ipn_key".to_owned())));
}

#[tokio::test]
async fn a_form_that_never_ends_is_ended() {
    let bench = Bench::new().await;
    let version = admitted(&bench, form("(loop $again (br $again))")).await.unwrap();
    let url = Url::parse(&delivery().url).unwrap();
    let failed =
        bench.host.hooks().render(&version, of(&[]), &url, &delivery(), &context()).await.unwrap_err();
    assert!(matches!(failed.error, CallError::CpuBudget), "{failed}");
    let context = fulfiller::Context {
        run: String::new(),
        attempt: 1,
        now_ms: 0,
        settings: String::new(),
        more: Vec::new(),
    };
    let event =
        fulfiller::Event { id: String::new(), kind: String::new(), payload: String::new(), more: Vec::new() };
    let failed = bench.host.hooks().fulfill(&version, of(&[]), &event, &context, Tape::Off).await;
    assert!(matches!(failed.unwrap_err().error, CallError::NoRole { role: "fulfiller", .. }));
}

#[tokio::test]
async fn a_form_asks_nothing_and_remembers_nothing() {
    let bench = Bench::new().await;
    for service in ["http", "storage", "webhooks", "random", "watch"] {
        let import = match service {
            "http" => SENDS,
            "storage" => r#"(import "kassa:plugin/storage@0.1.0" "get" (func (param i32 i32 i32)))"#,
            "webhooks" => {
                r#"(import "kassa:plugin/webhooks@0.1.0" "queue" (func (param i32 i32 i32 i32 i32 i32 i32 i32)))"#
            }
            "random" => r#"(import "kassa:plugin/random@0.1.0" "get-bytes" (func (param i32 i32)))"#,
            _ => r#"(import "kassa:plugin/watch@0.1.0" "list" (func (param i32 i32 i32 i32 i32)))"#,
        };
        let render =
            r#"(func (export "kassa:plugin/form@0.1.0#render") (param i32) (result i32) i32.const 1024)"#;
        let error = admitted(&bench, hook(&["form"], &[service], &[import, MEMORY, render].concat())).await;
        let error = error.unwrap_err();
        assert_eq!(error.slug(), "forbidden-import", "{service}");
        assert!(error.to_string().contains("(form)"), "{error}");
    }
}
