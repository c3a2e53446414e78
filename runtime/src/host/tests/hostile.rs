//! Guests that take all they can. Each is stopped by the limit meant for it, and harms nobody else.

use super::*;

const LOOP: &str = "(loop $again (br $again)) unreachable";

async fn failure(guest: Guest) -> CallError {
    let bench = Bench::new().await;
    bench.load(&guest).await;
    let error = bench.scan().await.unwrap_err().error;
    // Whatever it did, the next call of the same plugin works.
    bench.host.describe(&network("test")).await.unwrap();
    error
}

#[tokio::test]
async fn a_quiet_guest_answers() {
    let bench = Bench::new().await;
    let version = bench.load(&Guest::new()).await;
    let called = bench.scan().await.unwrap();
    assert_eq!(called.version_id, version.id.as_str());
    assert_eq!(called.upstream, None);
    assert!(called.value.unwrap().blocks.is_empty());
    let link = bench.host.payment_link(&network("test"), "x", 0, Amount(u128::MAX), Some("memo")).await;
    assert_eq!(link.unwrap(), PaymentLink { uri: None, qr: String::new(), more: Vec::new() });
}

#[tokio::test]
async fn an_endless_loop_uses_up_its_processor_time() {
    assert!(matches!(failure(Guest::scanning(LOOP)).await, CallError::CpuBudget));
}

#[tokio::test]
async fn waiting_is_not_processor_time_but_ends_too() {
    let config = config::Plugins { cpu_ms: 600_000, wall_ms: 50, ..config() };
    let bench = Bench::with(config).await;
    bench.load(&Guest::scanning(LOOP)).await;
    assert!(matches!(bench.scan().await.unwrap_err().error, CallError::WallClock));
}

#[tokio::test]
async fn a_memory_bomb_ends_at_its_limit() {
    let bomb = "(loop $again (drop (memory.grow (i32.const 16))) (br $again)) unreachable";
    assert!(matches!(failure(Guest::scanning(bomb)).await, CallError::Memory));
    // In one step, beyond the maximum of any memory.
    let bomb = "(drop (memory.grow (i32.const 65000))) i32.const 1024";
    assert!(matches!(failure(Guest::scanning(bomb)).await, CallError::Memory));
}

#[tokio::test]
async fn a_table_bomb_ends_at_its_limit() {
    let bomb =
        "(loop $again (drop (table.grow $t (ref.null func) (i32.const 1000))) (br $again)) unreachable";
    let guest = Guest::scanning(bomb).items("(table $t 1 funcref)");
    assert!(matches!(failure(guest).await, CallError::Memory));
}

#[tokio::test]
async fn deep_recursion_ends_at_the_stack_limit() {
    let guest = Guest::scanning("(call $down (i32.const 1))").items(
        "(func $down (param i32) (result i32) (i32.add (call $down (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))",
    );
    let CallError::Trap { message } = failure(guest).await else { panic!() };
    assert!(message.contains("stack"), "{message}");
}

#[tokio::test]
async fn a_panic_is_a_trap() {
    let CallError::Trap { message } = failure(Guest::scanning("unreachable")).await else { panic!() };
    assert!(message.contains("unreachable"), "{message}");
}

#[tokio::test]
async fn a_flood_of_host_calls_ends_at_its_budget() {
    let guest = Guest::scanning("(loop $again (drop (call $now)) (br $again)) unreachable")
        .imports(r#"(import "kassa:plugin/clock@0.1.0" "now-ms" (func $now (result i64)))"#);
    assert!(matches!(failure(guest).await, CallError::HostCalls));
}

const LOG: &str = r#"(import "kassa:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;

#[tokio::test]
async fn a_flood_of_log_lines_is_cut_and_fails_nothing() {
    let guest = Guest::scanning(
        "(local $i i32)
         (loop $again
             (call $log (i32.const 0) (i32.const 1024) (i32.const 1000))
             (local.set $i (i32.add (local.get $i) (i32.const 1)))
             (br_if $again (i32.lt_u (local.get $i) (i32.const 5000))))
         i32.const 1024",
    );
    let bench = Bench::with(config::Plugins { cpu_ms: 5_000, ..config() }).await;
    bench.load(&guest.imports(LOG)).await;
    bench.scan().await.unwrap().value.unwrap();
}

#[tokio::test]
async fn a_huge_string_for_the_host_is_not_taken() {
    let guest = Guest::scanning(
        "(drop (memory.grow (i32.const 300)))
         (call $log (i32.const 0) (i32.const 1024) (i32.const 16777216))
         i32.const 1024",
    );
    assert!(matches!(failure(guest.imports(LOG)).await, CallError::Handover));
    // The same as a result: a list that claims the whole memory, many times.
    let guest = Guest::new().normalizing(
        "(drop (memory.grow (i32.const 300)))
         (i32.store (i32.const 2052) (i32.const 1024))
         (i32.store (i32.const 2056) (i32.const 16777216))
         i32.const 2048",
    );
    let bench = Bench::new().await;
    bench.load(&guest).await;
    let failed = bench.host.normalize_address(&network("test"), "x").await.unwrap_err();
    assert!(matches!(failed.error, CallError::Handover), "{failed}");
}

#[tokio::test]
async fn a_result_outside_of_its_memory_is_a_trap() {
    assert!(matches!(failure(Guest::scanning("i32.const -8")).await, CallError::Trap { .. }));
    let misaligned = failure(Guest::scanning("i32.const 1025")).await;
    assert!(matches!(misaligned, CallError::Trap { .. }), "{misaligned}");
}

#[tokio::test]
async fn a_call_that_only_computes_sends_nothing_and_keeps_nothing() {
    let set = r#"(import "kassa:plugin/storage@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32)))"#;
    // Answers `malformed` if storage refused, an address if it did not.
    let guest = Guest::new().imports(set).normalizing(
        "(call $set (i32.const 4096) (i32.const 1) (i32.const 4096) (i32.const 1) (i32.const 2048))
         (i32.store8 (i32.const 3072) (i32.load8_u (i32.const 2048)))
         i32.const 3072",
    );
    let bench = Bench::new().await;
    bench.load(&guest).await;
    let answer = bench.host.normalize_address(&network("test"), "x").await.unwrap();
    assert!(matches!(answer, Err(AddressError::Malformed(_))), "{answer:?}");
}

/// Writes `a` under the key `a`; code follows.
const SET: &str = r#"(import "kassa:plugin/storage@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32)))"#;
const SET_A: &str = "(i32.store8 (i32.const 4096) (i32.const 97))
    (call $set (i32.const 4096) (i32.const 1) (i32.const 4096) (i32.const 1) (i32.const 2048))";

#[tokio::test]
async fn what_a_call_wrote_is_handed_back_and_is_gone_with_a_trap() {
    let bench = Bench::new().await;
    bench
        .load(
            &Guest::scanning(concat!(
                "(i32.store8 (i32.const 4096) (i32.const 97))
         (call $set (i32.const 4096) (i32.const 1) (i32.const 4096) (i32.const 1) (i32.const 2048))",
                "i32.const 1024"
            ))
            .imports(SET),
        )
        .await;
    let called = bench.scan().await.unwrap();
    assert_eq!(called.writes.scope, "test/testnet");
    assert_eq!(called.writes.entries, [("a".to_owned(), Some(b"a".to_vec()))].into());

    let text: &'static str = format!("{SET_A} unreachable").leak();
    bench.load(&Guest::scanning(text).imports(SET)).await;
    assert!(matches!(bench.scan().await.unwrap_err().error, CallError::Trap { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_work_on_while_attackers_loop() {
    let bench = Bench::new().await;
    bench.load(&Guest::scanning(LOOP).named("attacker", "0.1.0")).await;
    bench.load(&Guest::new()).await;
    let attackers: Vec<_> = (0..4)
        .map(|_| {
            let host = bench.host.clone();
            tokio::spawn(async move {
                for _ in 0..5 {
                    let limits = ScanLimits {
                        blocks: 1,
                        transfers: 1,
                        known: None,
                        next_is_head: false,
                        more: Vec::new(),
                    };
                    let failed = host.scan(&network("attacker"), None, &limits).await.unwrap_err();
                    assert!(matches!(failed.error, CallError::CpuBudget), "{failed}");
                }
            })
        })
        .collect();
    let neighbours: Vec<_> = (0..2)
        .map(|_| {
            let host = bench.host.clone();
            tokio::spawn(async move {
                for _ in 0..200 {
                    host.describe(&network("test")).await.unwrap();
                }
            })
        })
        .collect();
    for task in neighbours.into_iter().chain(attackers) {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_dropped_call_leaves_its_place_free() {
    let bench = Bench::with(config::Plugins { calls_max: 1, cpu_ms: 60_000, ..config() }).await;
    bench.load(&Guest::scanning(LOOP)).await;
    for _ in 0..3 {
        let scan = tokio::time::timeout(std::time::Duration::from_millis(20), bench.scan()).await;
        assert!(scan.is_err());
    }
    bench.host.describe(&network("test")).await.unwrap();
}
