//! What a test can tell the sandbox to do: one JSON object an action, with a field `do`.
//!
//! | action | answer |
//! |---|---|
//! | `{"do":"transfer","to":"sbx1…","amount":"1000","asset":"usdt","memo":"A-1"}` | `{"tx":"…","height":7}` |
//! | `{"do":"transfers","list":[{"to":"sbx1…","amount":"5"},{"to":"sbx1…","amount":"5"}]}`: several movements in one transaction | the same |
//! | `{"do":"mine","blocks":3}` | `{"height":10}` |
//! | `{"do":"state"}` | `{"height":10,"hash":"…"}`: the head |
//! | `{"do":"retract","tx":"…"}` or with `"again":true` | `{"height":10}` |
//! | `{"do":"outage","ms":5000,"kind":"upstream"}` | `{"until_ms":…}` |
//! | `{"do":"address","seed":"alice"}` | `{"address":"sbx1…","wrong_checksum":"sbx1…"}` |
//!
//! `transfer` and each element of `list` take `to`, `amount` (base units, decimal text), and may take `asset`
//! (a contract; absent or null is the native coin), `from`, `memo`, `unreadable_memo`. The action as a whole
//! may take `fail` (it is in a block, but reverted) and `mine` (how many blocks; 1 if absent; with 0 the
//! transaction waits for the next block and its height is null).
//!
//! `retract` is a reorganization: from the block of the transaction upwards every block gets another hash
//! at the same height; all other transactions stay where they are; this one vanishes, or with `again` is
//! included in a new block above the head. A transaction that waits can be retracted too: it just vanishes.
//!
//! `outage` makes scans fail until its time is over: by the clock, because a scan that fails leaves nothing
//! behind, not even a counter. `kind` is `upstream` (if absent), `rate-limited`, `malformed` or `behind`;
//! with `ms` 0 the outage ends.

use crate::address;
use crate::host::Host;
use crate::ledger::{Ledger, Move, Outage, Segment, Tx};
use kassa_sdk::simulator::SimulateError;
use serde::Deserialize;
use serde_json::json;

const BLOCKS_MAX: u64 = 1_000;
const MOVES_MAX: usize = 10_000;
const MEMO_BYTES_MAX: usize = 1_024;
/// Enough for more than 256 bits.
const AMOUNT_DIGITS_MAX: usize = 80;

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Action {
    Transfer(TransferAction),
    Transfers(TransfersAction),
    Mine(MineAction),
    State {},
    Retract(RetractAction),
    Outage(OutageAction),
    Address(AddressAction),
}

// The fields of a movement again: serde cannot refuse unknown fields of a flattened struct.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TransferAction {
    to: String,
    amount: String,
    asset: Option<String>,
    from: Option<String>,
    memo: Option<String>,
    #[serde(default)]
    unreadable_memo: bool,
    #[serde(default)]
    fail: bool,
    #[serde(default = "one")]
    mine: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TransfersAction {
    list: Vec<Movement>,
    #[serde(default)]
    fail: bool,
    #[serde(default = "one")]
    mine: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Movement {
    to: String,
    amount: String,
    asset: Option<String>,
    from: Option<String>,
    memo: Option<String>,
    #[serde(default)]
    unreadable_memo: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MineAction {
    #[serde(default = "one")]
    blocks: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetractAction {
    tx: String,
    #[serde(default)]
    again: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutageAction {
    ms: u64,
    kind: Option<Outage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddressAction {
    seed: String,
}

fn one() -> u64 {
    1
}

fn malformed(why: impl Into<String>) -> SimulateError {
    SimulateError::Malformed(why.into())
}

/// Does one action on the chain that `host` stores.
pub(crate) fn simulate<H: Host>(host: &H, depth: u64, action: &str) -> Result<String, SimulateError> {
    let action: Action = serde_json::from_str(action).map_err(|error| malformed(error.to_string()))?;
    let mut ledger = Ledger::open(host).map_err(SimulateError::Storage)?;
    match action {
        Action::Transfer(action) => {
            let TransferAction { to, amount, asset, from, memo, unreadable_memo, fail, mine } = action;
            let movement = Movement { to, amount, asset, from, memo, unreadable_memo };
            transfer(&mut ledger, depth, vec![movement], fail, mine)
        }
        Action::Transfers(TransfersAction { list, fail, mine }) => {
            transfer(&mut ledger, depth, list, fail, mine)
        }
        Action::Mine(MineAction { blocks }) => mine(&mut ledger, depth, blocks),
        Action::State {} => {
            let height = ledger.head.height;
            Ok(json!({ "height": height, "hash": ledger.hash(height) }).to_string())
        }
        Action::Retract(RetractAction { tx, again }) => retract(&mut ledger, depth, &tx, again),
        Action::Outage(OutageAction { ms, kind }) => outage(&mut ledger, ms, kind),
        Action::Address(AddressAction { seed }) => {
            let account = address::account_of(&seed);
            let answer = json!({
                "address": address::encode(account),
                "wrong_checksum": address::encode_wrongly(account),
            });
            Ok(answer.to_string())
        }
    }
}

fn transfer<H: Host>(
    ledger: &mut Ledger<'_, H>,
    depth: u64,
    list: Vec<Movement>,
    failed: bool,
    blocks: u64,
) -> Result<String, SimulateError> {
    if list.is_empty() || list.len() > MOVES_MAX {
        return Err(malformed(format!("list: 1 to {MOVES_MAX} movements")));
    }
    if blocks > BLOCKS_MAX {
        return Err(malformed(format!("mine: at most {BLOCKS_MAX}")));
    }
    let moves = list.into_iter().map(checked).collect::<Result<Vec<_>, _>>()?;
    let number = ledger.head.txs;
    ledger.head.txs = number.saturating_add(1);
    let halves = [format!("tx {number} a"), format!("tx {number} b")];
    let id: String = halves.iter().map(|half| address::hex(&address::hash16(half.as_bytes()))).collect();
    let tx = Tx { id: id.clone(), failed, moves };
    let height = ledger.head.height.saturating_add(1);
    if blocks == 0 {
        let mut pool = ledger.pool().map_err(SimulateError::Storage)?;
        pool.push(tx);
        ledger.set_pool(&pool).map_err(SimulateError::Storage)?;
    } else {
        let final_height = ledger.head.height.saturating_sub(depth);
        ledger.mine(vec![tx], blocks, final_height).map_err(SimulateError::Storage)?;
    }
    ledger.save().map_err(SimulateError::Storage)?;
    Ok(json!({ "tx": id, "height": (blocks > 0).then_some(height) }).to_string())
}

/// A movement whose fields are in order, with addresses in their normal form.
fn checked(movement: Movement) -> Result<Move, SimulateError> {
    let normal = |field: &str, text: &str| {
        address::normalize(text)
            .map(|address| address.text)
            .map_err(|error| malformed(format!("{field}: {error:?}")))
    };
    let to = normal("to", &movement.to)?;
    let from = match &movement.from {
        Some(from) => normal("from", from)?,
        None => address::encode(address::account_of("payer")),
    };
    let digits = &movement.amount;
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number || digits.len() > AMOUNT_DIGITS_MAX {
        return Err(malformed("amount: base units as decimal digits"));
    }
    if movement.memo.as_ref().is_some_and(|memo| memo.len() > MEMO_BYTES_MAX) {
        return Err(malformed(format!("memo: at most {MEMO_BYTES_MAX} bytes")));
    }
    Ok(Move {
        asset: movement.asset,
        from,
        to,
        amount: movement.amount,
        memo: movement.memo,
        unreadable_memo: movement.unreadable_memo,
    })
}

fn mine<H: Host>(ledger: &mut Ledger<'_, H>, depth: u64, blocks: u64) -> Result<String, SimulateError> {
    if blocks == 0 || blocks > BLOCKS_MAX {
        return Err(malformed(format!("blocks: 1 to {BLOCKS_MAX}")));
    }
    let final_height = ledger.head.height.saturating_sub(depth);
    ledger.mine(Vec::new(), blocks, final_height).map_err(SimulateError::Storage)?;
    finish(ledger)
}

fn retract<H: Host>(
    ledger: &mut Ledger<'_, H>,
    depth: u64,
    id: &str,
    again: bool,
) -> Result<String, SimulateError> {
    let mut pool = ledger.pool().map_err(SimulateError::Storage)?;
    if let Some(place) = pool.iter().position(|tx| tx.id == id) {
        if !again {
            pool.remove(place);
            ledger.set_pool(&pool).map_err(SimulateError::Storage)?;
        }
        return finish(ledger);
    }
    let final_height = ledger.head.height.saturating_sub(depth);
    let Some((mut segment, place)) = find(ledger, final_height, id)? else {
        // What is final is not searched when it could have been found above; tell the two apart.
        return Err(match find(ledger, 0, id)? {
            Some(_) => SimulateError::TooDeep(format!("blocks up to {final_height} are final")),
            None => SimulateError::NotFound(id.to_owned()),
        });
    };
    let tx = segment.txs.remove(place);
    ledger.put(&segment).map_err(SimulateError::Storage)?;
    ledger.begin_era(segment.from);
    if again {
        ledger.mine(vec![tx], 1, final_height).map_err(SimulateError::Storage)?;
    }
    finish(ledger)
}

/// The segment above `height` that holds the transaction in its first block, and its place there.
fn find<H: Host>(
    ledger: &Ledger<'_, H>,
    height: u64,
    id: &str,
) -> Result<Option<(Segment, usize)>, SimulateError> {
    const PAGE: u32 = 100;
    let mut above = height;
    loop {
        let segments = ledger.segments_above(above, PAGE).map_err(SimulateError::Storage)?;
        let Some(last) = segments.last().map(|segment| segment.to) else { return Ok(None) };
        for segment in segments {
            // A segment can begin at or below `height` and end above it.
            if segment.from <= height {
                continue;
            }
            if let Some(place) = segment.txs.iter().position(|tx| tx.id == id) {
                return Ok(Some((segment, place)));
            }
        }
        above = last;
    }
}

fn outage<H: Host>(
    ledger: &mut Ledger<'_, H>,
    ms: u64,
    kind: Option<Outage>,
) -> Result<String, SimulateError> {
    let until = ledger.host.now_ms().saturating_add(ms);
    ledger.head.outage = (ms > 0).then_some((until, kind.unwrap_or(Outage::Upstream)));
    ledger.save().map_err(SimulateError::Storage)?;
    Ok(json!({ "until_ms": until }).to_string())
}

fn finish<H: Host>(ledger: &Ledger<'_, H>) -> Result<String, SimulateError> {
    ledger.save().map_err(SimulateError::Storage)?;
    Ok(json!({ "height": ledger.head.height }).to_string())
}
