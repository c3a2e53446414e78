//! What moves in a block: the payments of its transactions, and what their code did.

use crate::address::{Key, from_hex};
use crate::wire::{BlockJson, Header, InfoJson, InternalJson, LogJson, TxJson, hash};
use crate::{api, proof};
use kassa_sdk::chain::ScanError;
use kassa_sdk::upstream::{lags, malformed};
use std::collections::HashMap;
use std::iter;

/// The listed assets.
#[derive(Debug)]
pub(crate) struct Assets {
    /// Contracts, each with its index in the list.
    pub(crate) tokens: Vec<(Key, u32)>,
    /// Index of the native coin, if it is listed.
    pub(crate) native: Option<u32>,
}

/// A block with its transactions, and the infos of those in the same order if any of them runs code.
pub(crate) struct Block<'a> {
    pub(crate) header: Header,
    /// True if a transaction runs code: then the infos say what moved.
    pub(crate) runs_code: bool,
    txs: Vec<TxJson<'a>>,
    infos: Vec<InfoJson<'a>>,
}

/// One movement of a listed asset.
pub(crate) struct Move<'b> {
    pub(crate) height: u64,
    pub(crate) tx: &'b TxJson<'b>,
    /// `None` unless the transaction runs code: only then does the info say how that ended.
    info: Option<&'b InfoJson<'b>>,
    pub(crate) ordinal: u32,
    pub(crate) asset: u32,
    pub(crate) from: Key,
    pub(crate) to: Key,
    /// `None` if it has more than 128 bits.
    pub(crate) amount: Option<u128>,
}

/// First topic of the event: `keccak256("Transfer(address,address,uint256)")`.
pub(crate) const TRANSFER: &str = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";

/// First ordinal of internal transfers, beyond those of any number of logs. So neither shifts the other.
pub(crate) const INTERNAL: u32 = 1 << 31;

/// Notes of the internal transactions that move the native coin. The value of others is not paid to the account that
/// they name: `delegateResourceOfEnergy` lends, `freezeForEnergy` stakes.
const PAYING_NOTES: [&[u8]; 4] = [b"call", b"create", b"suicide", b"withdrawExpireUnfreezeWhileSuiciding"];

impl<'a> Block<'a> {
    pub(crate) fn read(body: &'a [u8], height: u64) -> Result<Self, ScanError> {
        let what = format!("block {height}");
        let json: BlockJson<'_> = api::parse(body, &what)?;
        if !json.is_whole() {
            return Err(malformed(format!("{what} came without its transactions")));
        }
        let header = Header::of(&json)?;
        if header.height != height {
            return Err(malformed(format!("asked for {what}, got block {}", header.height)));
        }
        let txs: Vec<TxJson<'_>> = json.transactions;
        let mut runs_code = false;
        for tx in &txs {
            runs_code |= tx.runs_code()?;
        }
        Ok(Self { header, runs_code, txs, infos: Vec::new() })
    }

    /// Adds the infos, which must be of this very block: one for each transaction and no others.
    pub(crate) fn add_infos(&mut self, body: &'a [u8]) -> Result<(), ScanError> {
        let Header { height, time_ms, .. } = self.header;
        let what = format!("transaction infos of block {height}");
        let infos: Vec<InfoJson<'_>> = api::parse(body, &what)?;
        let is_of_block = |info: &InfoJson<'_>| {
            info.block_number == height && info.block_time_stamp.is_none_or(|time| time == time_ms)
        };
        let is_sound = infos.len() == self.txs.len() && infos.iter().all(is_of_block);
        self.infos = in_order(infos, &self.txs)
            .filter(|_| is_sound)
            .ok_or_else(|| lags(format!("{what} are not those of its transactions")))?;
        Ok(())
    }

    /// Appends everything that the block may have moved to somebody else, in the order of the ordinals in each
    /// transaction.
    pub(crate) fn moves<'b>(&'b self, assets: &Assets, moves: &mut Vec<Move<'b>>) -> Result<(), ScanError> {
        let infos = self.infos.iter().map(Some).chain(iter::repeat(None));
        for (tx, info) in self.txs.iter().zip(infos) {
            let is_by_code = tx.runs_code()?;
            let found = |ordinal, asset, from, to, amount| Move {
                height: self.header.height,
                tx,
                info: info.filter(|_| is_by_code || ordinal > 0),
                ordinal,
                asset,
                from,
                to,
                amount,
            };
            let paid = tx.payment()?.filter(|paid| paid.from != paid.to);
            if let (Some(native), Some(paid)) = (assets.native, paid) {
                moves.push(found(0, native, paid.from, paid.to, Some(paid.amount.into())));
            }
            let Some(info) = info else { continue };
            for (ordinal, log) in (1u32..).zip(&info.log) {
                if let Some((asset, from, to, amount)) = token_move(assets, log)? {
                    moves.push(found(ordinal, asset, from, to, amount));
                }
            }
            let Some(native) = assets.native else { continue };
            for (ordinal, internal) in (INTERNAL..).zip(&info.internal) {
                if let Some((from, to, amount)) = internal_move(internal)? {
                    moves.push(found(ordinal, native, from, to, Some(amount.into())));
                }
            }
        }
        Ok(())
    }
}

impl Move<'_> {
    /// The memo, or `None` if the transaction failed. Called only for what goes to a watched address, since a proof is
    /// expensive.
    pub(crate) fn confirm(&self) -> Result<Option<Vec<u8>>, ScanError> {
        let has_succeeded = self.tx.has_succeeded()?;
        // The chain itself rejects a block in which the two differ.
        if let Some(info) = self.info
            && info.has_succeeded()? != has_succeeded
        {
            return Err(malformed("a block and its transaction infos disagree about a transaction's end"));
        }
        let id = hash(self.tx.id, "txID")?;
        let content = self.tx.content()?;
        let signed = self.tx.raw_data_hex.ok_or_else(|| malformed("a transaction without raw_data_hex"))?;
        if proof::content(signed, &id)? != content {
            return Err(malformed("a transaction's JSON is not what was signed"));
        }
        Ok(has_succeeded.then_some(content.memo))
    }
}

/// Sorts the infos into the order of the transactions. `None` if they are not those of all of them.
fn in_order<'a>(infos: Vec<InfoJson<'a>>, txs: &[TxJson<'_>]) -> Option<Vec<InfoJson<'a>>> {
    // The order in which nodes send them.
    if infos.iter().map(|info| info.id).eq(txs.iter().map(|tx| tx.id)) {
        return Some(infos);
    }
    let mut by_id: HashMap<&str, InfoJson<'_>> = infos.into_iter().map(|info| (info.id, info)).collect();
    txs.iter().map(|tx| by_id.remove(tx.id)).collect()
}

type TokenMove = (u32, Key, Key, Option<u128>);

/// Reads a `Transfer` of a listed token: three topics and one word of data. With a fourth topic it is the event of an
/// NFT collection, which has the same signature. A token is its contract: the same event of another contract is an
/// imitation. `None` too if an account sends to itself, since nothing arrived.
fn token_move(assets: &Assets, log: &LogJson<'_>) -> Result<Option<TokenMove>, ScanError> {
    let [signature, from, to] = log.topics.as_slice() else { return Ok(None) };
    if !signature.eq_ignore_ascii_case(TRANSFER) {
        return Ok(None);
    }
    let mut contract: Key = [0; 20];
    hex::decode_to_slice(log.address, &mut contract).map_err(|_| malformed("a log's address"))?;
    let asset = assets.tokens.iter().find(|(token, _)| *token == contract).map(|(_, asset)| *asset);
    let Some(asset) = asset else { return Ok(None) };
    let data = log.data.ok_or_else(|| malformed("a listed token's transfer without its amount"))?;
    if data.len() != 64 {
        return Ok(None);
    }
    let from = word_key(&hash(from, "a log's topic")?);
    let to = word_key(&hash(to, "a log's topic")?);
    let amount = word_amount(&hash(data, "a log's data")?);
    let others = from.zip(to).filter(|(from, to)| from != to);
    Ok(others.map(|(from, to)| (asset, from, to, amount)))
}

/// A 32-byte word as an amount. `None` if it is over 128 bits.
fn word_amount(word: &[u8; 32]) -> Option<u128> {
    let (high, low) = word.split_last_chunk::<16>()?;
    high.iter().all(|byte| *byte == 0).then(|| u128::from_be_bytes(*low))
}

/// The address in a 32-byte word. The prefix of TRON's addresses may stand before it.
fn word_key(word: &[u8; 32]) -> Option<Key> {
    let (padding, key) = word.split_last_chunk::<20>()?;
    matches!(padding, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 | 0x41]).then_some(*key)
}

/// The native coin that code moved: payer, recipient and amount. `None` if it moved none to another account.
fn internal_move(internal: &InternalJson<'_>) -> Result<Option<(Key, Key, u64)>, ScanError> {
    let unreadable = || malformed("an internal transaction");
    if internal.rejected {
        return Ok(None);
    }
    // The first value is the native coin's, even if it is zero; those of TRC-10 tokens follow it.
    let values = internal.values.as_ref().ok_or_else(unreadable)?;
    let mut native = values.iter().filter(|value| value.token_id.is_none_or(str::is_empty));
    let amount = native.next().ok_or_else(unreadable)?.call_value;
    if native.next().is_some() {
        return Err(unreadable());
    }
    if amount == 0 {
        return Ok(None);
    }
    let note = internal.note.and_then(|note| hex::decode(note).ok()).ok_or_else(unreadable)?;
    if !PAYING_NOTES.contains(&note.as_slice()) {
        return Ok(None);
    }
    let from = internal.caller_address.and_then(from_hex).ok_or_else(unreadable)?;
    let to = internal.to_address.and_then(from_hex).ok_or_else(unreadable)?;
    // To itself: a library's code on its own behalf, or a contract that burns its balance as it ends.
    Ok((from != to).then_some((from, to, amount)))
}
