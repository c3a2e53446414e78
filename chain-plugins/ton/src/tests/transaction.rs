use super::*;
use crate::address::Account;
use crate::base64;
use crate::tests::cells::{Cell, comment};
use crate::tests::ledger::{known, transaction, unchecked};

fn read(bytes: &[u8]) -> Result<Transaction, NotATransaction> {
    let boc = Boc::parse_transaction(bytes).map_err(|error| NotATransaction(error.0))?;
    let hashes = Hashes::of(&boc).ok_or(NotATransaction("no hashes"))?;
    Transaction::read(&boc, &hashes)
}

#[test]
fn what_the_local_chain_made_is_what_it_tells() {
    for (name, told, data) in known() {
        let tx = read(&base64::decode(&data).unwrap()).unwrap();
        let hash = |value: &serde_json::Value| base64::hash(value.as_str().unwrap()).unwrap();
        let number = |value: &serde_json::Value| value.as_str().unwrap().parse::<u64>().unwrap();
        let account = |value: &serde_json::Value| Account::of_raw(value.as_str().unwrap());
        let message = tx.message.unwrap();
        let (told_message, description) = (&told["in_msg"], &told["description"]);
        assert_eq!(tx.account, account(&told["account"]).unwrap().hash, "{name}");
        assert_eq!((tx.lt, tx.before_lt), (number(&told["lt"]), number(&told["prev_trans_lt"])), "{name}");
        assert_eq!(tx.before_hash, hash(&told["prev_trans_hash"]), "{name}");
        assert_eq!(tx.is_end, told["end_status"] == "nonexist", "{name}");
        assert_eq!(message.source, account(&told_message["source"]), "{name}");
        assert_eq!(message.destination, account(&told_message["destination"]), "{name}");
        assert_eq!(message.value, u128::from(number(&told_message["value"])), "{name}");
        assert_eq!(told_message["bounced"], message.is_bounced, "{name}");
        assert_eq!(message.body, hash(&told_message["message_content"]["hash"]), "{name}");
        assert_eq!(description["aborted"], tx.outcome.is_aborted, "{name}");
        assert_eq!(description["compute_ph"]["success"] == true, tx.outcome.has_succeeded, "{name}");
        assert_eq!(description["bounce"]["type"] == "ok", tx.outcome.is_sent_back, "{name}");
    }
}

#[test]
fn the_hash_of_cells_with_proofs_inside() {
    for (name, told, data) in known() {
        let bytes = base64::decode(&data).unwrap();
        let boc = Boc::parse_transaction(&bytes).unwrap();
        assert_eq!(boc.hash().map(|hash| base64::encode(&hash)).as_deref(), told["hash"].as_str(), "{name}");
        let has_exotic = (0..boc.len()).any(|index| boc.cell(index).unwrap().is_exotic);
        assert_eq!(has_exotic, name == "a proof beside the comment");
    }
}

/// A message with the given rest after its head, in a transaction that ends an account.
fn with_rest(rest: impl Fn(Cell) -> Cell) -> Cell {
    let address = Account { workchain: 0, hash: [9; 32] };
    let head = Cell::default().uint(0b0100, 4).address(Some(&address)).address(Some(&address));
    let head = head.coins(1 << 90).uint(1, 1).reference(Cell::default());
    let message = rest(head.coins(0).coins(0).uint(0, 96));
    Cell::default()
        .uint(7, 4)
        .uint(0, 256 + 64 + 256 + 64 + 32 + 15 + 2)
        .uint(3, 2)
        .reference(Cell::default().uint(1, 1).reference(message).uint(0, 1))
        .coins(0)
        .uint(1, 1)
        .reference(Cell::default())
        .reference(Cell::default())
        .reference(outcome_cell(0b110, 3))
}

/// The cell of an outcome with all phases; compute is skipped for the given reason.
fn outcome_cell(reason: u128, bits: usize) -> Cell {
    let storage = Cell::default().uint(1, 1).coins(5).uint(1, 1).coins(6).uint(0b11, 2);
    let credit = Cell::default().uint(0b11, 2).coins(7).coins(8).uint(1, 1).reference(Cell::default());
    let head = Cell::default().uint(0, 5).slice(&storage).slice(&credit).uint(0, 1).uint(reason, bits);
    head.uint(1, 1).reference(Cell::default()).uint(0b1101, 4)
}

#[test]
fn every_way_to_write_a_message() {
    let body = comment("order 1").uint(5, 3);
    let ways: [fn(Cell, &Cell) -> Cell; 5] = [
        |head, body| head.uint(0b00, 2).slice(body),
        |head, body| head.uint(0b01, 2).reference(body.clone()),
        |head, body| head.uint(0b110, 3).reference(Cell::default()).slice(body),
        |head, body| head.uint(0b111, 3).reference(Cell::default()).reference(body.clone()),
        |head, _| head.uint(0b00, 2),
    ];
    for (index, way) in ways.iter().enumerate() {
        let tx = read(&with_rest(|head| way(head, &body)).bag(0)).unwrap();
        let message = tx.message.unwrap();
        let expected = if index == 4 { Cell::default() } else { body.clone() };
        assert_eq!((message.body, message.value), (expected.hash(), 1 << 90), "{index}");
        assert_eq!(tx.outcome, Outcome { is_aborted: true, has_succeeded: false, is_sent_back: false });
        assert!(tx.is_end);
    }
    // A state in place, with all its parts.
    let state = |head: Cell| {
        let parts = Cell::default().uint(0b10, 2).uint(1, 1).uint(3, 5).uint(1, 1).uint(2, 2).uint(0b101, 3);
        head.slice(&parts).reference(Cell::default()).reference(Cell::default())
    };
    let tx = read(&with_rest(|head| state(head).uint(1, 1).reference(body.clone())).bag(0)).unwrap();
    assert_eq!(tx.message.unwrap().body, body.hash());
    // More after a body in a cell of its own.
    let more = with_rest(|head| head.uint(0b01, 2).reference(body.clone()).uint(1, 1));
    assert_eq!(read(&more.bag(0)), Err(NotATransaction("its message")));
}

#[test]
fn what_is_no_payment_is_read_too() {
    let (_, told, _) = known().remove(0);
    let with = |change: fn(&mut serde_json::Value)| {
        let mut told = told.clone();
        change(&mut told);
        read(&transaction(&told).bag(0))
    };
    assert_eq!(with(|told| told["in_msg"] = serde_json::Value::Null).unwrap().message, None);
    assert_eq!(with(|told| told["in_msg"]["source"] = serde_json::Value::Null).unwrap().message, None);
    let tick_tock = with(|told| told["description"]["type"] = "tick_tock".into());
    assert_eq!(tick_tock, Err(NotATransaction("its description")));
}

#[test]
fn any_bytes_at_all() {
    for (name, _, data) in known() {
        let sound = unchecked(&data);
        assert!(read(&sound).is_ok(), "{name}");
        for offset in 0..sound.len() {
            drop(read(&sound[..offset]));
            for value in [1u8, 0x10, 0x80, 0xff] {
                let mut bytes = sound.clone();
                bytes[offset] ^= value;
                drop(read(&bytes));
            }
        }
    }
}

/// A transaction of the maximum size, and a larger one.
#[test]
fn limits() {
    assert!(Boc::parse_transaction(&bag_of(32_768)).is_ok());
    assert_eq!(Boc::parse_transaction(&bag_of(32_769)).err().unwrap().0, "too many cells");
    assert_eq!(Boc::parse(&bag_of(8_193)).err().unwrap().0, "too many cells");
    assert_eq!(Boc::parse_transaction(&vec![0; (2 << 20) + 1]).err().unwrap().0, "too large");
}

/// A bag of `count` cells, each without data and references.
fn bag_of(count: u32) -> Vec<u8> {
    let size = |number: u32| number.to_be_bytes()[1..].to_vec();
    let head = [vec![0xb5, 0xee, 0x9c, 0x72, 3, 3], size(count), size(1), size(0), size(2 * count), size(0)];
    [head.concat(), vec![0; 2 * count as usize]].concat()
}
