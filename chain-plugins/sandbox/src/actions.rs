//! What a test can tell the sandbox to do: one JSON object an action, with a field `do`.
//!
//! | action | answer |
//! |---|---|
//! | `{"do":"transfer","to":"sbx1…","amount":"1000","asset":"usdt","memo":"A-1"}` | `{"tx":"…","height":7,"to":["sbx1…"]}` |
//! | `{"do":"transfers","list":[{"to":"sbx1…","amount":"5"},{"to":"sbx1…","amount":"5"}]}`: several movements in one transaction | the same |
//! | `{"do":"mine","blocks":3}` | `{"height":10}` |
//! | `{"do":"state"}` | `{"height":10,"hash":"…"}`: the head |
//! | `{"do":"retract","tx":"…"}` or with `"again":true` | `{"height":10}` |
//! | `{"do":"outage","ms":5000}` | `{"until_ms":…}` |
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
//! # Whose an action is
//!
//! The host adds `by`, the merchant who asks. The chain and its blocks are everybody's; what a merchant can do
//! to it reaches only transactions of the same merchant:
//!
//! - What waits for a block waits for one of the merchant's own.
//! - `retract` finds only the merchant's own. Another's have no guessable ids, and stay at their heights.
//! - `outage` holds up what the merchant does: transactions and blocks wait until it is over or ended (`ms` 0),
//!   and then reach the chain all at once. Whoever reads the chain notices nothing of it.
//! - `address` makes addresses of the merchant's own, whatever others call theirs.
//! - `to` in an answer names whom a transaction pays, so that the host can refuse what pays another merchant.
//!
//! Without `by` an action is the operator's or the host's own: it may take back whatever is not final, and its
//! outage makes every scan fail until it is over, by the clock, because a scan that fails leaves nothing
//! behind, not even a counter. Its `kind` is `upstream` (if absent), `rate-limited`, `malformed` or `behind`.

use crate::address;
use crate::host::Host;
use crate::ledger::{
    self, Held, Ledger, Move, OUTAGE_MS_MAX, OWN_OUTAGE_MS_MAX, Outage, SHARE_BYTES, Segment, Tx,
};
use kassa_sdk::simulator::SimulateError;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Maximum number of blocks of one action, and of one merchant's action.
const BLOCKS_MAX: u64 = 1_000;
const OWN_BLOCKS_MAX: u64 = 100;
/// Maximum number of blocks that a merchant mines during an outage.
const HELD_BLOCKS_MAX: u64 = 1_000;
const MOVES_MAX: usize = 1_000;
const MEMO_BYTES_MAX: usize = 1_024;
/// Maximum number of digits of an amount: enough for more than 256 bits.
const AMOUNT_DIGITS_MAX: usize = 80;
const ASSET_BYTES_MAX: usize = 128;
const SEED_BYTES_MAX: usize = 256;
/// Number of final blocks that are searched for a transaction, to tell one that is final from one that does not exist.
const FINAL_SEARCHED: u64 = 100;

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

/// Does one action on the chain that `host` stores. `depth` is the depth below the head at which blocks are final.
/// Returns the answer as JSON.
pub(crate) fn simulate<H: Host>(host: &H, depth: u64, action: &str) -> Result<String, SimulateError> {
    let mut fields: Map<String, Value> =
        serde_json::from_str(action).map_err(|error| malformed(error.to_string()))?;
    let by = match fields.remove("by") {
        None => None,
        Some(Value::String(by)) => Some(by),
        Some(_) => return Err(malformed("by: a merchant's id")),
    };
    let action: Action =
        serde_json::from_value(Value::Object(fields)).map_err(|error| malformed(error.to_string()))?;
    let mut ledger = Ledger::open(host).map_err(SimulateError::Storage)?;
    ledger.end_outages(depth).map_err(SimulateError::Storage)?;
    Turn { ledger, depth, by }.act(action).map(|answer| answer.to_string())
}

/// One action and who asked for it.
struct Turn<'a, H> {
    ledger: Ledger<'a, H>,
    depth: u64,
    by: Option<String>,
}

type Answer = Result<Value, SimulateError>;

impl<H: Host> Turn<'_, H> {
    fn act(&mut self, action: Action) -> Answer {
        match action {
            Action::Transfer(action) => {
                let TransferAction { to, amount, asset, from, memo, unreadable_memo, fail, mine } = action;
                let movement = Movement { to, amount, asset, from, memo, unreadable_memo };
                self.transfer(vec![movement], fail, mine)
            }
            Action::Transfers(TransfersAction { list, fail, mine }) => self.transfer(list, fail, mine),
            Action::Mine(MineAction { blocks }) => self.mine(blocks),
            Action::State {} => {
                let height = self.ledger.head.height;
                Ok(json!({ "height": height, "hash": self.ledger.hash(height) }))
            }
            Action::Retract(RetractAction { tx, again }) => self.retract(&tx, again),
            Action::Outage(OutageAction { ms, kind }) => self.outage(ms, kind),
            Action::Address(AddressAction { seed }) => self.address(&seed),
        }
    }

    fn transfer(&mut self, list: Vec<Movement>, failed: bool, blocks: u64) -> Answer {
        if list.is_empty() || list.len() > MOVES_MAX {
            return Err(malformed(format!("list: 1 to {MOVES_MAX} movements")));
        }
        self.check_blocks("mine", 0, blocks)?;
        let moves = list.into_iter().map(checked).collect::<Result<Vec<_>, _>>()?;
        let to: BTreeSet<String> = moves.iter().map(|movement| movement.to.clone()).collect();
        let number = self.ledger.head.txs;
        self.ledger.head.txs = number.saturating_add(1);
        // The merchant is part of the id, so that others cannot guess it.
        let whose = self.by.as_deref().unwrap_or_default();
        let halves = [format!("tx {number} a {whose}"), format!("tx {number} b {whose}")];
        let id: String = halves.iter().map(|half| address::hex(&address::hash16(half.as_bytes()))).collect();
        let tx = Tx { id: id.clone(), by: self.by.clone(), failed, moves };
        if self.by.is_some() && stored(ledger::size(std::slice::from_ref(&tx)))? > SHARE_BYTES {
            let what = format!("list: more than {SHARE_BYTES} bytes; send it as several transactions");
            return Err(malformed(what));
        }
        let height = self.include(tx, blocks)?;
        Ok(json!({ "tx": id, "height": height, "to": to }))
    }

    /// Puts a transaction into the first of `blocks` new blocks, or lets it wait. Returns its height, `None` if it
    /// waits.
    fn include(&mut self, tx: Tx, blocks: u64) -> Result<Option<u64>, SimulateError> {
        let held = self.hold(blocks)?;
        let by = self.by.as_deref();
        if held || blocks == 0 {
            let mut pool = stored(self.ledger.pool(by))?;
            pool.push(tx);
            if by.is_some() && stored(ledger::size(&pool))? > SHARE_BYTES {
                return Err(malformed("too much waits for your next block; mine one, or end the outage"));
            }
            stored(self.ledger.set_pool(by, &pool))?;
            stored(self.ledger.save())?;
            return Ok(None);
        }
        let height = self.ledger.head.height.saturating_add(1);
        stored(self.ledger.mine(by, vec![tx], blocks, self.depth))?;
        stored(self.ledger.save())?;
        Ok(Some(height))
    }

    /// True if whoever acts has an outage; then `blocks` blocks wait until it is over. Errors if too many wait.
    fn hold(&mut self, blocks: u64) -> Result<bool, SimulateError> {
        let by = self.by.as_deref();
        let Some(held) = self.ledger.head.held.iter_mut().find(|held| by == Some(held.by.as_str())) else {
            return Ok(false);
        };
        held.blocks = held.blocks.saturating_add(blocks);
        if held.blocks > HELD_BLOCKS_MAX {
            return Err(malformed(format!("at most {HELD_BLOCKS_MAX} blocks wait for the end of an outage")));
        }
        Ok(true)
    }

    fn mine(&mut self, blocks: u64) -> Answer {
        self.check_blocks("blocks", 1, blocks)?;
        if !self.hold(blocks)? {
            stored(self.ledger.mine(self.by.as_deref(), Vec::new(), blocks, self.depth))?;
        }
        self.finish()
    }

    fn check_blocks(&self, field: &str, least: u64, blocks: u64) -> Result<(), SimulateError> {
        let most = if self.by.is_some() { OWN_BLOCKS_MAX } else { BLOCKS_MAX };
        if (least..=most).contains(&blocks) {
            return Ok(());
        }
        Err(malformed(format!("{field}: {least} to {most} at a time")))
    }

    fn retract(&mut self, id: &str, again: bool) -> Answer {
        let by = self.by.as_deref();
        let mut pool = stored(self.ledger.pool(by))?;
        if let Some(index) = pool.iter().position(|tx| tx.id == id) {
            if !again {
                pool.remove(index);
                stored(self.ledger.set_pool(by, &pool))?;
            }
            return self.finish();
        }
        let final_height = self.ledger.final_height(self.depth);
        let found = self.find(final_height.saturating_sub(FINAL_SEARCHED), id)?;
        let Some((mut segment, index)) = found else { return Err(SimulateError::NotFound(id.to_owned())) };
        if segment.from <= final_height {
            return Err(SimulateError::TooDeep(format!("blocks up to {final_height} are final")));
        }
        let tx = segment.txs.remove(index);
        stored(self.ledger.put(&segment))?;
        self.ledger.begin_era(segment.from);
        if again {
            self.include(tx, 1)?;
        }
        self.finish()
    }

    /// Finds the segment above `height` that holds the transaction in its first block, and the transaction's index
    /// there.
    fn find(&self, height: u64, id: &str) -> Result<Option<(Segment, usize)>, SimulateError> {
        const PAGE: u32 = 100;
        let own = |tx: &Tx| tx.id == id && (self.by.is_none() || tx.by == self.by);
        let mut above = height;
        loop {
            let segments = stored(self.ledger.segments_above(above, PAGE))?;
            let Some(last) = segments.last().map(|segment| segment.to) else { return Ok(None) };
            for segment in segments {
                if let Some(index) = segment.txs.iter().position(own) {
                    return Ok(Some((segment, index)));
                }
            }
            above = last;
        }
    }

    fn outage(&mut self, ms: u64, kind: Option<Outage>) -> Answer {
        let most = if self.by.is_some() { OWN_OUTAGE_MS_MAX } else { OUTAGE_MS_MAX };
        if ms > most {
            return Err(malformed(format!(
                "ms: an outage takes {most} at most; begin another when it is over"
            )));
        }
        let until = match self.by.clone() {
            None => self.ledger.set_outage(ms, kind.unwrap_or(Outage::Upstream)),
            Some(_) if kind.is_some() => {
                return Err(malformed("kind: only an operator's key makes the provider fail; leave it out"));
            }
            Some(by) => {
                let until_ms = self.ledger.host.now_ms().saturating_add(ms);
                match self.ledger.head.held.iter_mut().find(|held| held.by == by) {
                    Some(held) => held.until_ms = until_ms,
                    None => self.ledger.head.held.push(Held { by, until_ms, blocks: 0 }),
                }
                stored(self.ledger.end_outages(self.depth))?;
                until_ms
            }
        };
        stored(self.ledger.save())?;
        Ok(json!({ "until_ms": until }))
    }

    fn address(&self, seed: &str) -> Answer {
        if seed.len() > SEED_BYTES_MAX {
            return Err(malformed(format!("seed: at most {SEED_BYTES_MAX} bytes")));
        }
        let account = match &self.by {
            None => address::account_of(seed),
            Some(by) => address::account_of(&format!("{by}/{seed}")),
        };
        Ok(json!({
            "address": address::encode(account),
            "wrong_checksum": address::encode_wrongly(account),
        }))
    }

    fn finish(&self) -> Answer {
        stored(self.ledger.save())?;
        Ok(json!({ "height": self.ledger.head.height }))
    }
}

fn stored<T>(result: Result<T, String>) -> Result<T, SimulateError> {
    result.map_err(SimulateError::Storage)
}

/// A movement whose fields are checked, with addresses in their normal form.
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
    if movement.asset.as_ref().is_some_and(|asset| asset.len() > ASSET_BYTES_MAX) {
        return Err(malformed(format!("asset: at most {ASSET_BYTES_MAX} bytes")));
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
