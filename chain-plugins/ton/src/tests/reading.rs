//! Transfers that a scan reports, and its requests.

use super::cells::{comment, operation};
use super::index::*;
use crate::address::{Account, hex};
use kassa_sdk::chain::{Finality, ScanError, ScanLimits};
use kassa_sdk::types::Position;
use serde_json::json;

const LIMITS: ScanLimits =
    ScanLimits { blocks: 200, transfers: 5_000, known: None, next_is_head: false, more: Vec::new() };

#[test]
fn a_new_network_starts_at_the_head() {
    let index = Index::new(5_007);
    let result = crate::scan::scan(&index, &index.network(), None, &LIMITS).unwrap();
    let hash = |height: u64| hex(&hash_of(&format!("block {height}")));
    let [block] = result.blocks.as_slice() else { panic!() };
    assert_eq!((block.height, block.hash.clone(), block.parent.clone()), (5_007, hash(5_007), hash(5_006)));
    assert_eq!(block.time_ms, (1_785_000_000 + 5_007 * 2 / 5) * 1_000);
    assert_eq!(result.head, Position { height: 5_007, hash: hash(5_007) });
    assert_eq!((result.final_, result.safe, result.transfers.len()), (5_007, None, 0));
    assert_eq!(index.requests.borrow().values().sum::<usize>(), 1);
}

#[test]
fn both_kinds_of_payment() {
    let mut index = Index::new(5_006);
    index.add(5_001, paid(SHOP, 700_000_000, &comment("order 1")));
    index.add(5_002, credited(USDT, SHOP, 5_000_000, "order 2"));
    index.add(5_002, credited(USDT, SHOP, 5_000_001, "order 3"));
    index.add(5_006, paid(SHOP, 1, &comment("")));
    let result = index.scan().unwrap();
    assert_eq!(
        brief(&result),
        [
            (5_001, 0, Some(700_000_000), "order 1"),
            (5_002, 1, Some(5_000_000), "order 2"),
            (5_002, 1, Some(5_000_001), "order 3"),
            (5_006, 0, Some(1), ""),
        ]
    );
    for transfer in &result.transfers {
        assert_eq!((transfer.ordinal, transfer.tx.len()), (0, 64));
        assert_eq!(transfer.recipient, SHOP.show(false));
        assert_eq!(transfer.sender, Some(PAYER.show(false)));
    }
    assert_eq!(result.blocks.len(), 6);
    assert_eq!(result.blocks[0].parent, hex(&hash_of("block 5000")));
    assert!(result.blocks.windows(2).all(|pair| pair[1].parent == pair[0].hash));
    assert_eq!((result.head.height, result.final_), (5_006, 5_006));
}

#[test]
fn requests_are_few() {
    let mut index = Index::new(5_001);
    *index.owners.borrow_mut() = (0..150).map(account).collect();
    index.native = false;
    for byte in 0..150 {
        index.add(4_990, credited(USDT, account(byte), 7, "before"));
    }
    // Asking where 150 wallets are takes three scans, and reading their past two requests.
    for _ in 0..2 {
        assert!(index.scan().unwrap().blocks.is_empty());
    }
    assert_eq!(index.scan().unwrap().blocks.len(), 1);
    assert_eq!((index.count("/runGetMethod"), index.count("/transactions")), (150, 2));

    index.requests.borrow_mut().clear();
    assert!(index.scan_from(5_001, &LIMITS).unwrap().blocks.is_empty());
    assert_eq!(index.requests.borrow().values().sum::<usize>(), 1);

    index.requests.borrow_mut().clear();
    index.head = 5_002;
    assert_eq!(index.scan_from(5_001, &LIMITS).unwrap().blocks.len(), 1);
    assert_eq!(index.requests.borrow().values().sum::<usize>(), 3, "{:?}", index.requests);

    index.requests.borrow_mut().clear();
    index.head = 5_003;
    index.add(5_003, credited(USDT, account(9), 7, "now"));
    assert_eq!(brief(&index.scan_from(5_002, &LIMITS).unwrap()), [(5_003, 1 - 1, Some(7), "now")]);
    assert_eq!(index.count("/transactions"), 1);
    assert_eq!(index.requests.borrow().values().sum::<usize>(), 4);
}

#[test]
fn only_what_is_final_after_the_cursor_counts() {
    let mut index = Index::new(5_003);
    for height in [100, 4_500, 5_000, 5_001, 5_004] {
        index.add(height, paid(SHOP, height, &comment("x")));
    }
    // The list did not have the block yet: the next scan takes it.
    assert_eq!(brief(&index.scan().unwrap()), [(5_001, 0, Some(5_001), "x")]);
    index.head = 5_005;
    assert_eq!(brief(&index.scan_from(5_003, &LIMITS).unwrap()), [(5_004, 0, Some(5_004), "x")]);
    assert!(index.scan_from(5_005, &LIMITS).unwrap().blocks.is_empty());
}

#[test]
fn what_is_not_final_yet_waits() {
    let (confirmed, pending) = (json!({"finality": "confirmed"}), json!({"mc_block_seqno": null}));
    for change in
        [confirmed, pending, json!({"emulated": true}), json!({"finality": 1}), json!({"finality": {}})]
    {
        let mut index = Index::new(5_002);
        index.add(5_001, paid(SHOP, 1, &comment("x")));
        index.states_at.set(5_001);
        index.add(5_002, paid(SHOP, 2, &comment("y")));
        let fields = change.clone();
        let json = index.txs[1].json.as_object_mut().unwrap();
        json.extend(fields.as_object().unwrap().clone());
        assert_eq!(brief(&index.scan().unwrap()), [(5_001, 0, Some(1), "x")], "{change}");
    }
    // Older versions of the index do not give it.
    let mut index = Index::new(5_002);
    index.add(5_001, paid(SHOP, 1, &comment("x")));
    index.txs[0].json.as_object_mut().unwrap().remove("finality");
    assert_eq!(index.scan().unwrap().transfers.len(), 1);
}

#[test]
fn owners_on_the_masterchain_have_no_jetton_wallets() {
    let mut index = Index::new(5_001);
    let elector = Account { workchain: -1, hash: [0x33; 32] };
    *index.owners.borrow_mut() = vec![elector];
    index.add(5_001, paid(elector, 5, &operation(0x4e73_7422)));
    assert_eq!(brief(&index.scan().unwrap()), [(5_001, 0, Some(5), "!")]);
    assert_eq!(index.count("/runGetMethod"), 0);
}

#[test]
fn an_unwatched_address_is_forgotten_and_watched_anew() {
    let mut index = Index::new(5_001);
    *index.owners.borrow_mut() = vec![SHOP, OTHER];
    index.add(4_999, paid(OTHER, 1, &comment("x")));
    index.scan().unwrap();
    *index.owners.borrow_mut() = vec![SHOP];
    index.add(5_002, paid(OTHER, 2, &comment("x")));
    index.head = 5_003;
    index.scan_from(5_001, &LIMITS).unwrap();
    *index.owners.borrow_mut() = vec![SHOP, OTHER];
    index.add(5_004, paid(OTHER, 3, &comment("x")));
    index.head = 5_004;
    assert_eq!(brief(&index.scan_from(5_003, &LIMITS).unwrap()), [(5_004, 0, Some(3), "x")]);
}

#[test]
fn a_host_that_goes_back_is_told_again() {
    let mut index = Index::new(5_004);
    index.add(4_990, paid(SHOP, 1, &comment("a")));
    index.add(5_002, paid(SHOP, 2, &comment("b")));
    index.add(5_004, paid(SHOP, 3, &comment("c")));
    let first = index.scan().unwrap();
    assert_eq!(first.transfers.len(), 2);
    assert_eq!(index.scan().unwrap(), first);
    assert_eq!(brief(&index.scan_from(5_002, &LIMITS).unwrap()), [(5_004, 0, Some(3), "c")]);
    assert_eq!(index.scan_from(4_980, &LIMITS).unwrap().transfers.len(), 3);
}

#[test]
fn heads_and_networks_that_do_not_fit() {
    let index = Index::new(4_998);
    assert_eq!(index.scan(), Err(ScanError::Behind(4_998)));
    let mut index = Index::new(5_003);
    index.global_id = -3;
    assert_eq!(index.scan(), Err(ScanError::WrongNetwork("-3".into())));
    let index = Index::new(5_003);
    let mut network = index.network();
    network.chain_id = "mainnet".into();
    assert!(matches!(crate::scan::scan(&index, &network, None, &LIMITS), Err(ScanError::Settings(_))));
    let mut network = index.network();
    network.assets[1].contract = Some("0x55d398326f99059fF775485246999027B3197955".into());
    assert!(matches!(crate::scan::scan(&index, &network, None, &LIMITS), Err(ScanError::Settings(_))));
    for settings in
        [r#"{"max_blocks_per_call":0}"#, r#"{"max_accounts_per_request":101}"#, r#"{"x":1}"#, "[]"]
    {
        let mut index = Index::new(5_003);
        index.settings = settings.into();
        assert!(matches!(index.scan(), Err(ScanError::Settings(_))), "{settings}");
    }
}

#[test]
fn another_chain_shows_in_the_parent() {
    let index = Index::new(5_001);
    let cursor = Position { height: 5_000, hash: "00".repeat(32) };
    let result = crate::scan::scan(&index, &index.network(), Some(&cursor), &LIMITS).unwrap();
    assert_eq!(result.blocks[0].parent, hex(&hash_of("block 5000")));
    let top = Position { height: u64::MAX, hash: String::new() };
    assert_eq!(
        crate::scan::scan(&index, &index.network(), Some(&top), &LIMITS),
        Err(ScanError::Behind(5_001))
    );
}

#[test]
fn while_nobody_pays_the_states_alone_are_asked_for() {
    let mut index = Index::new(5_002);
    index.add(4_990, paid(SHOP, 1, &comment("before")));
    index.add(5_001, paid(SHOP, 700_000_000, &comment("order 1")));
    assert_eq!(index.scan().unwrap().transfers.len(), 1);
    let known = |final_| ScanLimits { known: Some(Finality { safe: None, final_ }), ..LIMITS };
    let asked = |index: &Index| std::mem::take(&mut *index.requests.borrow_mut());
    let cursor = |index: &Index, limits: &ScanLimits| index.scan_from(5_002, limits);
    asked(&index);
    // Blocks come, and bring nothing.
    index.head = 5_040;
    let result = cursor(&index, &known(5_002)).unwrap();
    assert_eq!((result.blocks.len(), result.head.height, result.final_), (0, 5_002, 5_002));
    assert_eq!(asked(&index), [("/accountStates".to_owned(), 1)].into());
    // The host wants to know the head; or knows that there are blocks.
    for limits in [LIMITS, known(5_003)] {
        assert_eq!(cursor(&index, &limits).unwrap().blocks.len(), 38);
        asked(&index);
        index.stored.borrow_mut().clear();
        index.scan().unwrap();
    }
    // An account that has no transaction yet, and one that is only now watched.
    index.owners.borrow_mut().push(OTHER);
    assert_eq!(cursor(&index, &known(5_002)).unwrap().blocks.len(), 38);
    assert!(asked(&index).contains_key("/blocks"));
    assert!(index.scan_from(5_040, &known(5_040)).unwrap().blocks.is_empty());
    assert_eq!(asked(&index), [("/accountStates".to_owned(), 1)].into());
    // Any account that moves: the owner itself, its wallet, one that had nothing.
    for (height, json) in [
        (5_041, paid(SHOP, 5, &comment("order 2"))),
        (5_042, credited(USDT, SHOP, 6, "order 3")),
        (5_043, paid(OTHER, 7, &comment("order 4"))),
    ] {
        index.head = height;
        index.add(height, json);
        let result = index.scan_from(height - 1, &known(height - 1)).unwrap();
        assert_eq!((result.blocks.len(), result.transfers.len()), (1, 1), "{height}");
    }
    // A state that is older than what was read is handled as always.
    index.states_at.set(5_042);
    assert!(matches!(index.scan_from(5_043, &known(5_043)), Ok(result) if result.blocks.is_empty()));
    index.head = 5_044;
    assert!(matches!(index.scan_from(5_043, &known(5_043)), Err(ScanError::Upstream(_))));
}
