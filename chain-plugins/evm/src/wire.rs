//! The shapes of JSON-RPC results, with the fields that matter and no others.
//!
//! Text is borrowed from the answer (hexadecimal digits are never escaped); what a chain adds (new transaction types, new header fields) passes
//! unread. Fields that are read have one type: anything else is `malformed`.

use crate::bloom::Bloom;
use crate::fault::Fault;
use crate::hex::{self, Hash, Key};
use serde::Deserialize;
use serde::de::IgnoredAny;

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

/// What is needed of a transaction is known once its recipient is: so everything is optional here.
#[derive(Deserialize)]
pub(crate) struct TxJson<'a> {
    #[serde(borrow)]
    pub(crate) hash: Option<&'a str>,
    #[serde(borrow)]
    pub(crate) from: Option<&'a str>,
    #[serde(borrow)]
    pub(crate) to: Option<&'a str>,
    #[serde(borrow)]
    pub(crate) value: Option<&'a str>,
    #[serde(borrow)]
    pub(crate) input: Option<&'a str>,
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

/// What a scan keeps of a block.
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

/// What an ERC-20 `Transfer` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    /// Place in the network's list of assets.
    pub(crate) asset: u32,
    pub(crate) from: Key,
    pub(crate) to: Key,
    /// `None`: over 128 bits.
    pub(crate) amount: Option<u128>,
}

/// `keccak256("Transfer(address,address,uint256)")`.
pub(crate) const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";

/// The listed tokens by contract.
pub(crate) struct Tokens(pub(crate) Vec<(Key, u32)>);

impl Tokens {
    /// The asset whose `Transfer` event this log is, by contract and signature alone. A token is its
    /// contract: the same event of any other one is somebody's imitation.
    pub(crate) fn asset_of(&self, log: &LogJson<'_>) -> Result<Option<u32>, Fault> {
        if !log.topics.first().is_some_and(|topic| topic.eq_ignore_ascii_case(TRANSFER)) {
            return Ok(None);
        }
        let contract: Key = bytes(log.address, "log address")?;
        Ok(self.0.iter().find(|(token, _)| *token == contract).map(|(_, asset)| *asset))
    }

    /// The movement that a log of a listed token reports, if it is one.
    pub(crate) fn movement(&self, log: &LogJson<'_>) -> Result<Option<Move>, Fault> {
        self.asset_of(log)?.map_or(Ok(None), |asset| log.movement(asset))
    }
}

impl LogJson<'_> {
    /// What a `Transfer` of the asset says: three topics and one word of data. With a fourth topic it is the
    /// event of an ERC-721 collection, which has the same signature.
    pub(crate) fn movement(&self, asset: u32) -> Result<Option<Move>, Fault> {
        let [_, from, to] = self.topics.as_slice() else { return Ok(None) };
        if self.data.len() != 66 {
            return Ok(None);
        }
        let from = hex::word_key(&bytes(from, "log topic")?);
        let to = hex::word_key(&bytes(to, "log topic")?);
        let (Some(from), Some(to)) = (from, to) else { return Ok(None) };
        if from == to {
            // Nothing arrives where it came from.
            return Ok(None);
        }
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
