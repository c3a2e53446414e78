//! Versions come and go while calls run.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;
use crate::host::Point;

/// A guest that tells its number in its description, as `memo`.
fn numbered(number: u8, version: &str) -> Guest {
    let start: &'static str = format!("(i32.store8 (i32.const 1036) (i32.const {number}))").leak();
    Guest::new().starting(start).named("test", version)
}

async fn number(host: &Host) -> MemoSupport {
    host.describe(&network("test")).await.unwrap().memo
}

#[tokio::test]
async fn activate_roll_back_unload() {
    for db in testing::databases().await {
        come_and_go(&Bench::on(db, config())).await;
    }
}

async fn come_and_go(bench: &Bench) {
    let registry = bench.host.registry();
    assert!(matches!(bench.scan().await.unwrap_err().error, CallError::NotLoaded { .. }));
    assert!(matches!(registry.roll_back("test").await, Err(RegistryError::NoPlugin(_))));

    let one = bench.load(&numbered(0, "1.0.0")).await;
    assert!(matches!(registry.roll_back("test").await, Err(RegistryError::NothingBefore(_))));
    let two = registry.install(numbered(1, "2.0.0").component()).await.unwrap();
    assert!(!two.active);
    assert_eq!(number(&bench.host).await, MemoSupport::No);
    assert!(registry.activate("test", &two.id).await.unwrap().active);
    assert_eq!(number(&bench.host).await, MemoSupport::Optional);
    assert_eq!(registry.roll_back("test").await.unwrap().id, one.id);
    assert_eq!(number(&bench.host).await, MemoSupport::No);
    assert_eq!(registry.roll_back("test").await.unwrap().id, two.id);

    let again = registry.install(numbered(1, "2.0.0").component()).await.unwrap();
    assert_eq!((again.id.as_str(), again.active), (two.id.as_str(), true));
    let versions = registry.versions("test").await.unwrap();
    assert_eq!(versions.iter().map(|version| version.active).collect::<Vec<_>>(), [true, false]);
    assert!(matches!(registry.activate("other", &two.id).await, Err(RegistryError::NoVersion { .. })));

    registry.unload("test").await.unwrap();
    assert!(matches!(bench.scan().await.unwrap_err().error, CallError::NotLoaded { .. }));
    let info = &registry.list().await.unwrap()[0];
    assert_eq!((info.name.as_str(), info.active.is_none(), info.loaded), ("test", true, false));
    assert_eq!(registry.roll_back("test").await.unwrap().id, two.id);
    assert!(registry.list().await.unwrap()[0].loaded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_under_load_fails_no_call() {
    let bench = Bench::with(config::Plugins { cpu_ms: 2_000, ..config() }).await;
    let one = bench.load(&numbered(0, "1.0.0")).await;
    let two = bench.load(&numbered(1, "2.0.0")).await;
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let host = bench.host.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    let answer = number(&host).await;
                    assert!(matches!(answer, MemoSupport::No | MemoSupport::Optional));
                }
            })
        })
        .collect();
    for _ in 0..10 {
        bench.host.registry().activate("test", &one.id).await.unwrap();
        bench.host.registry().activate("test", &two.id).await.unwrap();
    }
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(number(&bench.host).await, MemoSupport::Optional);
}

#[tokio::test]
async fn another_replica_follows() {
    let bench = Bench::new().await;
    let one = bench.load(&numbered(0, "1.0.0")).await;
    let other = bench.restarted().await;
    assert_eq!(number(&other).await, MemoSupport::No);
    bench.load(&numbered(1, "2.0.0")).await;
    assert_eq!(number(&other).await, MemoSupport::No);
    other.registry().refresh().await.unwrap();
    assert_eq!(number(&other).await, MemoSupport::Optional);
    other.registry().activate("test", &one.id).await.unwrap();
    bench.host.registry().refresh().await.unwrap();
    assert_eq!(number(&bench.host).await, MemoSupport::No);
    bench.host.registry().unload("test").await.unwrap();
    other.registry().refresh().await.unwrap();
    assert!(matches!(other.describe(&network("test")).await.unwrap_err().error, CallError::NotLoaded { .. }));
}

#[tokio::test]
async fn a_manifest_that_asks_for_more_than_was_granted() {
    let bench = Bench::new().await;
    let registry = bench.host.registry();
    let greedy = guest::MANIFEST.replace("storage_kib = 4", "storage_kib = 1000000");
    let version = registry.install(Guest::new().manifest(&greedy).component()).await.unwrap();
    let refused = registry.activate("test", &version.id).await.unwrap_err();
    assert!(refused.to_string().contains("storage_kib 1000000"), "{refused}");
    let grants = Grants { storage_kib: 1_000_000, ..version.grants };
    assert_eq!(registry.grant("test", &version.id, &grants).await.unwrap().grants, grants);
    registry.activate("test", &version.id).await.unwrap();
}

#[tokio::test]
async fn the_binary_replaces_its_own_and_never_the_operators() {
    let bench = Bench::new().await;
    let registry = bench.host.registry();
    let [one, two, three] =
        [numbered(0, "1.0.0"), numbered(1, "2.0.0"), numbered(2, "3.0.0")].map(|g| g.component());
    registry.load_embedded(&[&one]).await.unwrap();
    assert_eq!(number(&bench.host).await, MemoSupport::No);
    registry.load_embedded(&[&two]).await.unwrap();
    assert_eq!(number(&bench.host).await, MemoSupport::Optional);
    // A rollback is the operator's choice, and the binary does not undo it.
    registry.roll_back("test").await.unwrap();
    registry.load_embedded(&[&two]).await.unwrap();
    assert_eq!(number(&bench.host).await, MemoSupport::No);
    let own =
        registry.install(numbered(0, "9.0.0").items("(global i32 (i32.const 9))").component()).await.unwrap();
    registry.activate("test", &own.id).await.unwrap();
    registry.load_embedded(&[&three]).await.unwrap();
    assert_eq!(number(&bench.host).await, MemoSupport::No);
    assert_eq!(registry.versions("test").await.unwrap().len(), 4);
}

#[tokio::test]
async fn compiled_code_that_was_tampered_with_is_made_again() {
    let bench = Bench::new().await;
    bench.load(&numbered(1, "1.0.0")).await;
    let folder = bench.dir.path().join("compiled");
    let files = || -> Vec<_> { fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect() };
    let [file] = files().try_into().unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let sound = fs::read(&file).unwrap();
    let mut changed = sound.clone();
    let last = changed.len() - 100;
    changed[last] ^= 1;
    for bytes in [changed, sound[..40].to_vec(), Vec::new(), sound[32..].to_vec()] {
        fs::write(&file, bytes).unwrap();
        assert_eq!(number(&bench.restarted().await).await, MemoSupport::Optional);
        assert_eq!(fs::read(&file).unwrap(), sound, "made again");
    }
    // Sound code of another artefact under this one's name.
    bench.load(&numbered(0, "2.0.0")).await;
    let other = files().into_iter().find(|other| *other != file).unwrap();
    fs::copy(&file, &other).unwrap();
    assert_eq!(number(&bench.restarted().await).await, MemoSupport::No);
    // No cache at all only slows the start.
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(number(&bench.restarted().await).await, MemoSupport::No);
}

#[tokio::test]
async fn compiled_code_of_hooks_that_are_gone_is_deleted() {
    let bench = Bench::new().await;
    let hooks = bench.host.hooks();
    let admit = async || hooks.admit(hook_guest::HookGuest::new().component().into()).await.unwrap();
    let admitted = admit().await;
    hooks.keep(&admitted.sha256, admitted.code.unwrap()).await;
    assert!(admit().await.code.is_none(), "it is not compiled again");
    assert_eq!(hooks.sweep().await.unwrap(), 1);
    assert_eq!(hooks.sweep().await.unwrap(), 0);
    assert!(admit().await.code.is_some());
}

#[tokio::test]
async fn a_plugin_need_not_find_transactions() {
    let bench = Bench::new().await;
    let find = async || bench.host.find(&network("test"), "0xabc", &[]).await;
    bench.load(&Guest::new()).await;
    assert!(matches!(find().await.unwrap_err().error, CallError::NoRole { role: "finder", .. }));
    bench.load(&Guest::new().finding(None).named_also("2.0.0")).await;
    assert_eq!(find().await.unwrap().value, Ok(vec![]));
    // A finder that traps ends its call, as in any role.
    bench.load(&Guest::new().finding(Some("unreachable")).named_also("3.0.0")).await;
    assert!(matches!(find().await.unwrap_err().error, CallError::Trap { .. }));
    bench
        .load(&Guest::new().finding(Some("(loop $again (br $again)) i32.const 1024")).named_also("4.0.0"))
        .await;
    assert!(matches!(find().await.unwrap_err().error, CallError::CpuBudget));
}

#[tokio::test]
async fn a_plugin_need_not_know_whose_an_address_is() {
    let bench = Bench::new().await;
    bench.load(&Guest::new()).await;
    assert!(!bench.host.proves(&network("test")));
    let verified = bench.host.verify_ownership(&network("test"), "0xabc", "mine", "0x00").await;
    assert!(matches!(verified.unwrap_err().error, CallError::NoRole { role: "ownership", .. }));
}

#[tokio::test]
async fn a_plugin_need_not_read_balances() {
    let bench = Bench::new().await;
    let (plain, changed) = (network("test"), network("test"));
    let points = [Point { address: "0xabc".to_owned(), height: 7 }];
    let read = async || bench.host.balances(&plain, &points, &[]).await;
    bench.load(&Guest::new()).await;
    assert!(!bench.host.compares(&plain).await.unwrap());
    assert!(matches!(read().await.unwrap_err().error, CallError::NoRole { role: "balances", .. }));
    let nothing = "i32.const 1024";
    bench.load(&Guest::new().comparing(nothing, true).named_also("2.0.0")).await;
    assert!(bench.host.compares(&plain).await.unwrap() && bench.host.compares(&changed).await.unwrap());
    // Too few answers are the caller's to notice.
    assert_eq!(read().await.unwrap().value, Ok(vec![]));
    // Another version says otherwise.
    bench.load(&Guest::new().comparing("unreachable", false).named_also("3.0.0")).await;
    assert!(!bench.host.compares(&plain).await.unwrap());
    assert!(matches!(read().await.unwrap_err().error, CallError::Trap { .. }));
}
