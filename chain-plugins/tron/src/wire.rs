//! The shapes of the node's answers, with the fields that matter and no others.
//!
//! Text is borrowed from the answer: hexadecimal digits and the names of constants are never escaped. Fields
//! with their default value are left out by the node (the number of block 0, the amount 0, no logs). Where the
//! default is nothing that a node has to say (how a transaction ended, when a block was made), a field that is
//! absent is `malformed`, and not a failure or a beginning of time. Fields that are read have one type: anything
//! else is `malformed` too.

use crate::address::{Key, from_hex};
use kassa_sdk::chain::ScanError;
use kassa_sdk::upstream::malformed;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A 32-byte hash.
pub(crate) type Hash = [u8; 32];

/// A block with its transactions.
#[derive(Deserialize)]
pub(crate) struct BlockJson<'a> {
    #[serde(rename = "blockID")]
    id: &'a str,
    #[serde(borrow)]
    block_header: HeaderJson<'a>,
    #[serde(default = "Vec::new")]
    pub(crate) transactions: Vec<TxJson<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct HeaderJson<'a> {
    #[serde(borrow)]
    raw_data: RawHeaderJson<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawHeaderJson<'a> {
    #[serde(default)]
    number: u64,
    parent_hash: &'a str,
    #[serde(default)]
    timestamp: u64,
    tx_trie_root: Option<&'a str>,
}

#[derive(Deserialize)]
pub(crate) struct TxJson<'a> {
    #[serde(rename = "txID")]
    pub(crate) id: &'a str,
    /// Outcome of the transaction, in one element. Nodes have always given it since contracts exist.
    #[serde(borrow, default)]
    ret: Vec<RetJson<'a>>,
    #[serde(borrow)]
    raw_data: RawDataJson<'a>,
    /// The signed bytes; their hash is the id.
    pub(crate) raw_data_hex: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetJson<'a> {
    #[serde(borrow)]
    contract_ret: Option<&'a str>,
}

#[derive(Deserialize)]
struct RawDataJson<'a> {
    #[serde(borrow, default)]
    contract: Vec<ContractJson<'a>>,
    #[serde(borrow)]
    data: Option<&'a str>,
}

#[derive(Deserialize)]
struct ContractJson<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    parameter: ParameterJson<'a>,
}

#[derive(Deserialize)]
struct ParameterJson<'a> {
    /// Parameter of the contract; each kind of contract has its own shape.
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

/// The part that both kinds that carry the native coin have in common: payer, recipient and amount, in this order.
#[derive(Deserialize)]
struct ValueJson<'a> {
    owner_address: Option<&'a str>,
    #[serde(alias = "contract_address")]
    to_address: Option<&'a str>,
    #[serde(alias = "call_value", default)]
    amount: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InfoJson<'a> {
    pub(crate) id: &'a str,
    pub(crate) block_number: u64,
    pub(crate) block_time_stamp: Option<u64>,
    /// `FAILED`, or left out.
    result: Option<&'a str>,
    #[serde(borrow)]
    receipt: Option<ReceiptJson<'a>>,
    #[serde(borrow, default)]
    pub(crate) log: Vec<LogJson<'a>>,
    #[serde(rename = "internal_transactions", borrow, default)]
    pub(crate) internal: Vec<InternalJson<'a>>,
}

#[derive(Deserialize)]
struct ReceiptJson<'a> {
    #[serde(borrow)]
    result: Option<&'a str>,
}

#[derive(Deserialize)]
pub(crate) struct LogJson<'a> {
    pub(crate) address: &'a str,
    #[serde(borrow, default)]
    pub(crate) topics: Vec<&'a str>,
    #[serde(borrow)]
    pub(crate) data: Option<&'a str>,
}

#[derive(Deserialize)]
pub(crate) struct InternalJson<'a> {
    pub(crate) caller_address: Option<&'a str>,
    #[serde(rename = "transferTo_address")]
    pub(crate) to_address: Option<&'a str>,
    #[serde(rename = "callValueInfo", borrow)]
    pub(crate) values: Option<Vec<CallValueJson<'a>>>,
    /// Kind of the internal transaction, as hexadecimal digits of a word.
    #[serde(borrow)]
    pub(crate) note: Option<&'a str>,
    #[serde(default)]
    pub(crate) rejected: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallValueJson<'a> {
    #[serde(default)]
    pub(crate) call_value: u64,
    /// Id of a TRC-10 token; the native coin has none.
    #[serde(borrow)]
    pub(crate) token_id: Option<&'a str>,
}

impl BlockJson<'_> {
    /// True if the transactions are there. The root over none is zero, and is given: a gateway that cuts them off must
    /// not pass for a block without payments.
    pub(crate) fn is_whole(&self) -> bool {
        let is_zero = |root: &str| !root.is_empty() && root.bytes().all(|digit| digit == b'0');
        !self.transactions.is_empty() || self.block_header.raw_data.tx_trie_root.is_some_and(is_zero)
    }
}

/// The part of a block that a scan keeps.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) height: u64,
    pub(crate) hash: Hash,
    pub(crate) parent: Hash,
    pub(crate) time_ms: u64,
}

impl Header {
    pub(crate) fn of(json: &BlockJson<'_>) -> Result<Self, ScanError> {
        Self::new(json.id, &json.block_header)
    }

    pub(crate) fn new(id: &str, json: &HeaderJson<'_>) -> Result<Self, ScanError> {
        let header = &json.raw_data;
        let hash = hash(id, "blockID")?;
        // The first eight bytes of a block's id are its number.
        if !hash.starts_with(&header.number.to_be_bytes()) {
            return Err(malformed(format!("the blockID is not one of block {}", header.number)));
        }
        // The time decides which invoice a payment belongs to; the first block alone has none.
        if header.timestamp == 0 && header.number > 0 {
            return Err(malformed(format!("block {} has no time", header.number)));
        }
        Ok(Self {
            height: header.number,
            hash,
            parent: self::hash(header.parent_hash, "parentHash")?,
            time_ms: header.timestamp,
        })
    }
}

/// The native coin that a transaction itself carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payment {
    pub(crate) from: Key,
    pub(crate) to: Key,
    pub(crate) amount: u64,
}

/// The part of a signed transaction that matters here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) payment: Option<Payment>,
    pub(crate) memo: Vec<u8>,
}

/// Kinds of transaction that matter here.
const TRANSFER: &str = "TransferContract";
const CALL: &str = "TriggerSmartContract";
const CREATE: &str = "CreateSmartContract";

impl<'a> TxJson<'a> {
    /// The only contract of the transaction; the list is for extensions that never came.
    fn contract(&self) -> Result<&ContractJson<'a>, ScanError> {
        match self.raw_data.contract.as_slice() {
            [contract] => Ok(contract),
            several => Err(malformed(format!("a transaction with {} contracts", several.len()))),
        }
    }

    /// True if the transaction runs code, which can move anything.
    pub(crate) fn runs_code(&self) -> Result<bool, ScanError> {
        Ok([CALL, CREATE].contains(&self.contract()?.kind))
    }

    /// The native coin that the transaction itself carries. A call without value is no payment, a transfer always is.
    pub(crate) fn payment(&self) -> Result<Option<Payment>, ScanError> {
        let contract = self.contract()?;
        let is_transfer = contract.kind == TRANSFER;
        if !is_transfer && contract.kind != CALL {
            return Ok(None);
        }
        let unreadable = || malformed(format!("the value of a {}", contract.kind));
        let value = contract.parameter.value.ok_or_else(unreadable)?.get();
        let value: ValueJson<'_> = serde_json::from_str(value).map_err(|_| unreadable())?;
        if !is_transfer && value.amount == 0 {
            return Ok(None);
        }
        Ok(Some(Payment {
            from: value.owner_address.and_then(from_hex).ok_or_else(unreadable)?,
            to: value.to_address.and_then(from_hex).ok_or_else(unreadable)?,
            amount: value.amount,
        }))
    }

    pub(crate) fn content(&self) -> Result<Content, ScanError> {
        let memo = hex::decode(self.raw_data.data.unwrap_or_default());
        let memo = memo.map_err(|_| malformed("a transaction's data is not hexadecimal"))?;
        Ok(Content { payment: self.payment()?, memo })
    }

    /// True if the block says that the transaction succeeded; blocks hold failed ones too. Errors if the outcome is
    /// missing.
    pub(crate) fn has_succeeded(&self) -> Result<bool, ScanError> {
        let [ret] = self.ret.as_slice() else {
            return Err(malformed(format!("a transaction with {} ends", self.ret.len())));
        };
        match ret.contract_ret {
            None | Some("" | "DEFAULT") => Err(malformed("a transaction that does not say how it ended")),
            Some(end) => Ok(end == "SUCCESS"),
        }
    }
}

impl InfoJson<'_> {
    /// True if the info says that the code of the transaction succeeded. `contractResult` is never read: it is what the
    /// code returned, which some tokens set to zero when they succeed.
    pub(crate) fn has_succeeded(&self) -> Result<bool, ScanError> {
        match (self.result, self.receipt.as_ref().and_then(|receipt| receipt.result)) {
            (None, Some(end)) => Ok(end == "SUCCESS"),
            (Some("FAILED"), _) => Ok(false),
            (None, None) => Err(malformed("a transaction info that does not say how its code ended")),
            (Some(_), _) => Err(malformed("a transaction info's result")),
        }
    }
}

pub(crate) fn hash(text: &str, what: &str) -> Result<Hash, ScanError> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash).map_err(|_| malformed(format!("{what} is not 32 bytes")))?;
    Ok(hash)
}
