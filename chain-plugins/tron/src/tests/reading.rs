//! Reading an honest node: everything is found, in few calls.

use super::node::*;
use kassa_sdk::chain::{Finality, ScanError, ScanLimits};
use kassa_sdk::types::{Memo, Position};

#[test]
fn without_a_cursor_the_solid_block_alone() {
    let node = Node::new(vec![vec![pay(SHOP, 5), call(vec![moved(USDT, SHOP, 5)])]; 20]);
    let result = node.scan_new().unwrap();
    assert_eq!(result.blocks.len(), 1);
    assert_eq!((result.blocks[0].height, result.head.height), (2, 20));
    assert_eq!((&result.blocks[0].hash, &result.blocks[0].parent), (&node.hash(2), &node.hash(1)));
    assert_eq!(result.blocks[0].time_ms, 1_700_000_006_000);
    assert_eq!((result.safe, result.final_, result.head.hash), (None, 2, node.hash(20)));
    assert!(result.transfers.is_empty());
    assert_eq!(node.requests(), 3);
}

#[test]
fn an_idle_scan_is_two_requests() {
    let node = Node::new(vec![vec![call(vec![])]; 30]);
    let result = node.scan_from(30, &WIDE).unwrap();
    assert!(result.blocks.is_empty() && result.transfers.is_empty());
    assert_eq!((result.head.height, result.final_), (30, 12));
    assert_eq!((node.requests(), node.filters.get()), (2, 0));
}

#[test]
fn what_is_solid_is_asked_when_it_is_wanted_and_said_again_when_it_is_not() {
    let node = Node::new(vec![vec![call(vec![])]; 30]);
    let known = Some(Finality { safe: None, final_: 7 });
    let result = node.scan_from(30, &ScanLimits { known, ..WIDE }).unwrap();
    assert_eq!((result.head.height, result.final_, node.requests()), (30, 7, 1));
    let result = node.scan_from(29, &ScanLimits { known, ..WIDE }).unwrap();
    assert_eq!((result.blocks.len(), result.final_, node.requests()), (1, 7, 3));
    // A new network learns it no other way.
    let limits = ScanLimits { known, ..WIDE };
    assert_eq!(crate::scan::scan(&node, &node.network(), None, &limits).unwrap().final_, 12);
}

#[test]
fn a_new_block_is_three_requests_and_one_without_code_two() {
    let node = Node::new(vec![vec![call(vec![moved(USDT, SHOP, 5)])]; 3]);
    assert_eq!(brief(&node.scan_from(2, &WIDE).unwrap()), [(3, 1, 1, Some(5))]);
    assert_eq!((node.requests(), node.count("/wallet/getblockbynum")), (3, 0));
    let node = Node::new(vec![vec![pay(SHOP, 5), Tx { kind: ("VoteWitnessContract", 4), ..pay(OTHER, 0) }]]);
    assert_eq!(brief(&node.scan().unwrap()), [(1, 0, 0, Some(5))]);
    assert_eq!(node.requests(), 2);
}

#[test]
fn catching_up_costs_two_requests_a_block() {
    let node = Node::new(vec![vec![call(vec![moved(USDT, OTHER, 5)])]; 40]);
    assert_eq!(node.scan().unwrap().blocks.len(), 40);
    assert_eq!((node.requests(), node.filters.get()), (2 + 39 + 40, 10));
}

#[test]
fn payments_with_their_ordinals() {
    let mut blocks = vec![vec![]; 4];
    blocks[1] = vec![
        pay(OTHER, 9),
        pay(SHOP, 1_000_000),
        call(vec![moved(USDT, OTHER, 1), moved(OTHER_TOKEN, SHOP, 7)]),
    ];
    blocks[3] = vec![call(vec![moved(USDT, SHOP, u128::MAX)]), pay(SHOP, u64::MAX)];
    let node = Node::new(blocks);
    let result = node.scan().unwrap();
    let max = (Some(u128::MAX), Some(u128::from(u64::MAX)));
    let expected = [(2, 0, 0, Some(1_000_000)), (2, 2, 2, Some(7)), (4, 1, 1, max.0), (4, 0, 0, max.1)];
    assert_eq!(brief(&result), expected);
    let transfer = &result.transfers[1];
    assert_eq!(transfer.tx, node.tx_id(2, 2));
    assert_eq!(transfer.recipient, crate::address::show(&SHOP));
    assert_eq!(transfer.sender, Some(crate::address::show(&PAYER)));
    assert_eq!(transfer.memo, Memo::None);
    assert_eq!(result.blocks.iter().map(|block| block.height).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(result.blocks.array_windows().all(|[below, above]| above.parent == below.hash));
    let tokens = Node { native: false, ..node };
    assert_eq!(brief(&tokens.scan().unwrap()), [(2, 2, 1, Some(7)), (4, 1, 0, max.0)]);
}

#[test]
fn memos() {
    let long = "x".repeat(1_025);
    for (data, text) in [
        (&b"invoice 7"[..], Some("invoice 7")),
        ("Grüße 🙂".as_bytes(), Some("Grüße 🙂")),
        (&long.as_bytes()[1..], Some(&long[1..])),
        (long.as_bytes(), None),
        (b"\xff\xfe", None),
        (b"7\n", None),
        (b"\0", None),
    ] {
        let with_memo = |tx: Tx| Tx { memo: data.into(), ..tx };
        let node =
            Node::new(vec![vec![with_memo(pay(SHOP, 5)), with_memo(call(vec![moved(USDT, SHOP, 7)]))]]);
        let result = node.scan().unwrap();
        assert_eq!(result.transfers.len(), 2);
        for transfer in result.transfers {
            match (&transfer.memo, text) {
                (Memo::Text(memo), Some(text)) => assert_eq!(memo, text),
                (Memo::Unreadable(why), None) => assert!(!why.is_empty()),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn limits_cut_between_blocks() {
    let two = || vec![pay(SHOP, 1), call(vec![moved(USDT, SHOP, 2)])];
    for blocks_at_once in [1, 2, 4, 50] {
        let settings = format!(r#"{{"blocks_at_once":{blocks_at_once}}}"#);
        let node = Node { settings, ..Node::new(vec![two(), two(), vec![], two(), two()]) };
        let sizes = |blocks, transfers| {
            let result = node
                .scan_from(
                    0,
                    &ScanLimits { blocks, transfers, known: None, next_is_head: false, more: Vec::new() },
                )
                .unwrap();
            (result.blocks.len(), result.transfers.len())
        };
        assert_eq!(sizes(2, 100), (2, 4));
        assert_eq!(sizes(100, 5), (3, 4));
        assert_eq!(sizes(100, 4), (3, 4));
        assert_eq!(sizes(100, 100), (5, 8));
        // A single block that holds more than the limit is still read.
        assert_eq!(sizes(100, 1), (1, 2));
        assert_eq!(sizes(0, 0), (1, 2));
    }
}

#[test]
fn another_chain_is_told_from_a_reorg_and_from_a_node_that_is_behind() {
    let shasta = |node: Node| Node { chain_id: "0x94a9059e", ..node };
    let wrong = ScanError::WrongNetwork("0x2b6653dc".into());
    let node = Node::new(vec![vec![]; 3]);
    let elsewhere = |height| Position { height, hash: "ab".repeat(32) };
    assert_eq!(node.scan_from(7, &WIDE).unwrap_err(), ScanError::Behind(3));
    // A cursor whose block is not known joins nothing, so the chain is asked for its name.
    for height in [1, 3] {
        assert!(node.scan_at(&Position { height, hash: String::new() }, &WIDE).is_ok());
    }
    let node = shasta(node);
    for height in [0, 3, 7] {
        assert_eq!(node.scan_at(&elsewhere(height), &WIDE).unwrap_err(), wrong);
    }
    assert_eq!(node.scan_new().unwrap_err(), wrong);
    // The same number in other digits.
    let node = Node { chain_id: "728126428", ..node };
    assert!(node.scan_new().is_ok());
    for chain_id in ["", "0x", "main", "0x12b6653dc", "-1"] {
        let error = Node { chain_id, ..Node::new(vec![]) }.scan_new().unwrap_err();
        assert!(matches!(error, ScanError::Settings(_)), "{chain_id}");
    }
}

#[test]
fn a_reorg_is_reported_as_it_is() {
    let before = Node::new(vec![vec![call(vec![])]; 5]);
    let cursor = Position { height: 4, hash: before.hash(4) };
    // The chain grew: the parent of the first block is not the cursor's block.
    let after = Node { fork_from: 3, ..before };
    let result = after.scan_at(&cursor, &WIDE).unwrap();
    assert_eq!((result.blocks[0].height, &result.blocks[0].parent), (5, &after.hash(4)));
    assert_ne!(after.hash(4), cursor.hash);
    // It did not grow: only the head shows it.
    let result = after.scan_at(&Position { height: 5, hash: "00".repeat(32) }, &WIDE).unwrap();
    assert!(result.blocks.is_empty());
    assert_eq!(result.head, Position { height: 5, hash: after.hash(5) });
}

#[test]
fn settings_are_checked() {
    for settings in [r#"{"blocks_at_once":0}"#, r#"{"blocks_at_once":51}"#, r#"{"block":4}"#, "[", "7"] {
        let node = Node { settings: settings.into(), ..Node::new(vec![]) };
        assert!(matches!(node.scan(), Err(ScanError::Settings(_))), "{settings}");
    }
    let mut network = Node::new(vec![]).network();
    network.assets[1].contract = Some("usdt".into());
    let error = crate::scan::scan(&Node::new(vec![]), &network, None, &WIDE).unwrap_err();
    assert!(matches!(error, ScanError::Settings(_)));
}
