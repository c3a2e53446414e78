//! Nodes that lag behind each other, and providers with limits.

use super::node::*;
use kassa_sdk::chain::ScanError;
use serde_json::{Value, json};

const INFOS: &str = "/wallet/gettransactioninfobyblocknum";

fn busy() -> Node {
    Node::new(vec![vec![pay(SHOP, 1), call(vec![moved(USDT, SHOP, 5)])]; 3])
}

fn is_lag(error: &ScanError) -> bool {
    matches!(error, ScanError::Upstream(why) if why.contains("lags"))
}

#[test]
fn infos_that_are_not_those_of_the_block() {
    let changes: [fn(&mut Value); 9] = [
        |infos| *infos = json!([]),
        |infos| *infos = json!({}),
        |infos| drop(infos.as_array_mut().unwrap().pop()),
        |infos| drop(infos.as_array_mut().unwrap().remove(0)),
        |infos| infos[0] = infos[1].clone(),
        |infos| infos[0]["id"] = json!("00".repeat(32)),
        |infos| infos[1]["blockNumber"] = json!(7),
        |infos| infos[1]["blockTimeStamp"] = json!(1_700_000_000_001u64),
        |infos| {
            let more = infos[0].clone();
            infos.as_array_mut().unwrap().push(more);
        },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let node = busy().twisted(move |path, _, answer| {
            if path == INFOS {
                change(answer);
            }
        });
        assert!(is_lag(&node.scan().unwrap_err()), "change {index}");
    }
    // The infos may come in any order.
    let node = busy().twisted(|path, _, answer| {
        if path == INFOS {
            answer.as_array_mut().unwrap().reverse();
        }
    });
    assert_eq!(node.scan().unwrap().transfers.len(), 6);
    // Some gateways leave the time out.
    let node = busy().twisted(|path, _, answer| {
        if path == INFOS {
            answer[0].as_object_mut().unwrap().remove("blockTimeStamp");
        }
    });
    assert_eq!(node.scan().unwrap().transfers.len(), 6);
}

#[test]
fn blocks_that_are_not_there_yet() {
    let missing = |height: u64| {
        busy().twisted(move |path, question, answer| {
            if path == "/wallet/getblockbynum" && question["num"] == height {
                *answer = json!({});
            }
        })
    };
    assert!(is_lag(&missing(1).scan().unwrap_err()));
    // Blocks read before are kept, in the same step and in those before.
    assert_eq!(missing(2).scan().unwrap().blocks.len(), 1);
    let node = Node { settings: r#"{"blocks_at_once":1}"#.into(), ..missing(2) };
    assert_eq!(node.scan().unwrap().blocks.len(), 1);
    // A head without its transactions is asked for again, a block without them is refused.
    let cut = |cut_path: &'static str| {
        busy().twisted(move |path, _, answer| {
            if path == cut_path {
                answer.as_object_mut().unwrap().remove("transactions");
            }
        })
    };
    let node = cut("/wallet/getnowblock");
    assert_eq!(node.scan().unwrap().transfers.len(), 6);
    assert_eq!(node.count("/wallet/getblockbynum"), 3);
    assert!(matches!(cut("/wallet/getblockbynum").scan(), Err(ScanError::Malformed(_))));
}

#[test]
fn blocks_that_are_no_chain() {
    let node = |from: u64| {
        busy().twisted(move |path, question, answer| {
            if path == "/wallet/getblockbynum" && question["num"] == from {
                answer["block_header"]["raw_data"]["parentHash"] = json!("00".repeat(32));
            }
        })
    };
    for settings in [r#"{"blocks_at_once":1}"#, "{}"] {
        let node = Node { settings: settings.into(), ..node(2) };
        assert_eq!(node.scan().unwrap().blocks.len(), 1);
    }
}

#[test]
fn a_backend_that_is_always_one_block_behind_does_not_stop_the_scan() {
    let node = busy().twisted(|path, question, answer| {
        if path == INFOS && question["num"] == 3 {
            *answer = json!([]);
        }
    });
    let result = node.scan().unwrap();
    assert_eq!((result.blocks.len(), result.transfers.len()), (2, 4));
    assert!(is_lag(&node.scan_from(2, &WIDE).unwrap_err()));
}

#[test]
fn a_solid_block_above_the_head() {
    let node = busy().twisted(|path, _, answer| {
        if path == "/walletsolidity/getnowblock" {
            answer["block_header"]["raw_data"]["number"] = json!(9);
            answer["blockID"] = json!(format!("{:016x}{}", 9, "00".repeat(24)));
        }
    });
    assert_eq!(node.scan().unwrap().final_, 3);
    assert!(is_lag(&node.scan_new().unwrap_err()));
}

#[test]
fn rate_limits_in_every_form() {
    let suspended =
        r#"{"Error":"request rate exceeded the allowed_rps(10), and the query server is suspended for 5 s"}"#;
    let daily = r#"{"Error":"Exceed the user daily usage (100000), the maximum query frequency is 1 time per second"}"#;
    let java_tron = r#"{"Error":"class java.lang.IllegalAccessException : lack of computing resources"}"#;
    for (status, retry_after, body, ms) in [
        (429, None, "", 1_000),
        (429, Some("7"), "<html>", 7_000),
        (429, Some("7"), "{}", 7_000),
        (429, None, suspended, 5_000),
        (403, None, suspended, 5_000),
        (403, Some("30"), suspended, 30_000),
        (403, None, daily, 1_000),
        (200, None, java_tron, 1_000),
        (503, None, "Too many requests", 1_000),
    ] {
        let node = busy();
        *node.raw.borrow_mut() = Some((status, retry_after, body.into()));
        assert_eq!(node.scan().unwrap_err(), ScanError::RateLimited(ms), "{status} {body}");
        // Both at once, and three more tries of the first; each is reported to the host.
        assert_eq!(*node.waits.borrow(), [ms; 5], "{status} {body}");
    }
}

#[test]
fn refusals_in_every_form() {
    for (status, body) in [
        (401, "Unauthorized"),
        (403, "<html>Forbidden</html>"),
        (403, r#"{"message":"no key"}"#),
        (404, ""),
        (405, "{}"),
        (500, r#"{"Error":"class java.lang.NullPointerException : null"}"#),
        (502, "<html><body>502 Bad Gateway</body></html>"),
        (503, "{\"block"),
        (301, ""),
        (200, "<html>"),
        (200, ""),
        (200, r#"{"Error":"class org.tron.core.exception.StoreException : null"}"#),
        (200, "this API is closed because this node is a lite fullnode"),
    ] {
        let node = busy();
        *node.raw.borrow_mut() = Some((status, None, body.into()));
        let error = node.scan().unwrap_err();
        assert!(matches!(&error, ScanError::Upstream(why) if why.len() <= 160), "{status} {body}: {error:?}");
    }
}

/// TronGrid once the day's requests are used up: it serves one request and refuses all beside it.
#[test]
fn what_is_served_of_several_is_kept_and_the_rest_asked_one_by_one() {
    for served in [1, 2, 3] {
        let node = busy();
        node.served_max.set(served);
        let result = node.scan().unwrap();
        assert_eq!((result.blocks.len(), result.transfers.len()), (3, 6), "{served}");
        // Nothing that was answered is asked for again.
        let asked: usize = node.asked.borrow().values().sum();
        let all = busy();
        all.scan().unwrap();
        assert_eq!(asked, all.asked.borrow().values().sum::<usize>(), "{served}");
        assert_eq!(node.waits.borrow().is_empty(), served > 2, "{served}");
    }
}
