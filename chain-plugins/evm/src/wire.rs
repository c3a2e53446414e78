//! The shapes of JSON-RPC results, with the fields that matter and no others.
//!
//! Text is borrowed from the answer (hexadecimal digits are never escaped); what a chain adds (new transaction types,
//! new header fields) is ignored. Fields that are read have one type: anything else is `malformed`.

use crate::bloom::Bloom;
use crate::fault::Fault;
use crate::hex::{self, Hash, Key};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// A block with transactions as `T`: [`IgnoredAny`] counts them, [`TxJson`] reads them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockJson<'a, T> {
    number: &'a str,
    hash: &'a str,
    parent_hash: &'a str,
    timestamp: &'a str,
    logs_bloom: &'a str,
    pub(crate) transactions: Vec<T>,
}

/// A block whose transactions are only counted.
pub(crate) type HeaderJson<'a> = BlockJson<'a, IgnoredAny>;

/// A transaction. Everything is optional, since only its recipient tells whether the rest is needed.
#[derive(Deserialize)]
pub(crate) struct TxJson<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<&'a str>,
    #[serde(borrow)]
    pub(crate) hash: Option<&'a str>,
    #[serde(borrow)]
    pub(crate) from: Option<&'a str>,
    /// Null if the transaction creates a contract; later kinds may have no such field at all.
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) to: Option<Option<&'a str>>,
    #[serde(borrow)]
    pub(crate) value: Option<&'a str>,
    #[serde(borrow)]
    pub(crate) input: Option<&'a str>,
    /// Amount that a deposit from another layer brings to its sender.
    #[serde(borrow)]
    mint: Option<&'a str>,
}

/// Type of a transaction that the OP Stack makes of a deposit.
const DEPOSIT: &str = "0x7e";

impl TxJson<'_> {
    /// True for the kinds that have a recipient, possibly null, and a value.
    pub(crate) fn has_recipient(&self) -> bool {
        self.kind.is_none_or(|kind| ["0x0", "0x1", "0x2", "0x3", "0x4", DEPOSIT].contains(&kind))
    }

    /// The value. The inner `Option` is `None` if it has more than 128 bits.
    pub(crate) fn amount(&self) -> Result<Option<u128>, Fault> {
        let amount = self.value.and_then(hex::big_quantity);
        amount.ok_or_else(|| Fault::malformed("transaction's value is not a quantity"))
    }

    /// The amount that was created for the sender before anything was sent. `None` if it has more than 128 bits.
    pub(crate) fn minted(&self) -> Result<Option<u128>, Fault> {
        match self.mint.filter(|_| self.kind == Some(DEPOSIT)) {
            None => Ok(Some(0)),
            Some(mint) => hex::big_quantity(mint).ok_or_else(|| Fault::malformed("mint is not a quantity")),
        }
    }
}

/// Deserializes a field that is there, even if it is null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<&'de str>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogJson<'a> {
    pub(crate) address: &'a str,
    #[serde(borrow)]
    pub(crate) topics: Vec<&'a str>,
    pub(crate) data: &'a str,
    pub(crate) block_hash: &'a str,
    pub(crate) block_number: &'a str,
    pub(crate) transaction_hash: &'a str,
    pub(crate) log_index: &'a str,
    pub(crate) removed: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReceiptJson<'a> {
    pub(crate) transaction_hash: &'a str,
    pub(crate) block_hash: &'a str,
    pub(crate) status: &'a str,
    #[serde(borrow)]
    pub(crate) logs: Vec<LogJson<'a>>,
}

impl ReceiptJson<'_> {
    pub(crate) fn has_succeeded(&self) -> Result<bool, Fault> {
        match number(self.status, "receipt's status")? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Fault::malformed("the receipt's status is neither 0 nor 1")),
        }
    }
}

/// The part of a block that a scan keeps.
pub(crate) struct Header {
    pub(crate) height: u64,
    pub(crate) hash: Hash,
    pub(crate) parent: Hash,
    pub(crate) time_ms: u64,
    pub(crate) bloom: Bloom,
    pub(crate) tx_count: usize,
}

impl Header {
    pub(crate) fn of<T>(json: &BlockJson<'_, T>) -> Result<Self, Fault> {
        let seconds = number(json.timestamp, "timestamp")?;
        Ok(Self {
            height: number(json.number, "block number")?,
            hash: bytes(json.hash, "block hash")?,
            parent: bytes(json.parent_hash, "parentHash")?,
            time_ms: seconds.checked_mul(1_000).ok_or_else(|| Fault::malformed("timestamp is too large"))?,
            bloom: Bloom::new(bytes(json.logs_bloom, "logsBloom")?),
            tx_count: json.transactions.len(),
        })
    }
}

/// The movement of an ERC-20 `Transfer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    /// Index in the network's list of assets.
    pub(crate) asset: u32,
    pub(crate) from: Key,
    pub(crate) to: Key,
    /// `None` if it has more than 128 bits.
    pub(crate) amount: Option<u128>,
}

/// First topic of the event: `keccak256("Transfer(address,address,uint256)")`.
pub(crate) const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";

/// The listed tokens by contract.
pub(crate) struct Tokens(pub(crate) Vec<(Key, u32)>);

impl Tokens {
    /// The asset whose `Transfer` event this log is, by contract and signature alone. A token is its contract: the same
    /// event of another contract is an imitation.
    pub(crate) fn asset_of(&self, log: &LogJson<'_>) -> Result<Option<u32>, Fault> {
        if !log.topics.first().is_some_and(|topic| topic.eq_ignore_ascii_case(TRANSFER)) {
            return Ok(None);
        }
        let contract: Key = bytes(log.address, "log address")?;
        Ok(self.0.iter().find(|(token, _)| *token == contract).map(|(_, asset)| *asset))
    }

    /// The movement that a log of a listed token reports. `None` if it reports none.
    pub(crate) fn movement(&self, log: &LogJson<'_>) -> Result<Option<Move>, Fault> {
        self.asset_of(log)?.map_or(Ok(None), |asset| log.movement(asset))
    }
}

impl LogJson<'_> {
    /// Reads a `Transfer` of the asset: three topics and one word of data. With a fourth topic it is the event of an
    /// ERC-721 collection, which has the same signature. `None` too if an account sends to itself, since nothing
    /// arrived.
    pub(crate) fn movement(&self, asset: u32) -> Result<Option<Move>, Fault> {
        let [_, from, to] = self.topics.as_slice() else { return Ok(None) };
        if self.data.len() != 66 {
            return Ok(None);
        }
        let from = hex::word_key(&bytes(from, "log topic")?);
        let to = hex::word_key(&bytes(to, "log topic")?);
        let Some((from, to)) = from.zip(to).filter(|(from, to)| from != to) else { return Ok(None) };
        let amount = hex::word_amount(&bytes(self.data, "log data")?);
        Ok(Some(Move { asset, from, to, amount }))
    }
}

pub(crate) fn bytes<const N: usize>(text: &str, what: &str) -> Result<[u8; N], Fault> {
    hex::bytes(text).ok_or_else(|| Fault::malformed(format!("{what} is not {N} bytes")))
}

pub(crate) fn number(text: &str, what: &str) -> Result<u64, Fault> {
    hex::quantity(text).ok_or_else(|| Fault::malformed(format!("{what} is not a number of 64 bits")))
}
