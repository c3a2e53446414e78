//! The shapes of the API's answers, with the fields that matter and no others.
//!
//! What is read has to be there and to have its type; what is not read may change. Numbers come as numbers
//! or as decimal text, depending on their size and on the version of the index. Words for states are text
//! here, though the API's own description calls some of them numbers.

use crate::address::{Account, Hash};
use crate::base64;
use kassa_sdk::upstream::Fault;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Text, borrowed unless it has escapes.
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Read)
    }
}

impl Text<'_> {
    pub(crate) fn hash(&self, what: &str) -> Result<Hash, Fault> {
        base64::hash(&self.0).ok_or_else(|| Fault::malformed(format!("{what} is not 32 bytes")))
    }

    pub(crate) fn account(&self, what: &str) -> Result<Account, Fault> {
        Account::of_raw(&self.0).ok_or_else(|| Fault::malformed(format!("{what} is not an account")))
    }
}

/// An unsigned number, written as a number or as decimal text.
#[derive(Clone, Copy)]
pub(crate) struct Number(pub(crate) u128);

impl Number {
    pub(crate) fn u64(self, what: &str) -> Result<u64, Fault> {
        u64::try_from(self.0).map_err(|_| Fault::malformed(format!("{what} is not a number of 64 bits")))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Number;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number that is not negative")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(u128::from(number)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                let number = digits.and_then(|digits| digits.parse().ok());
                number.map(Number).ok_or_else(|| E::custom("not a decimal number of 128 bits"))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// Deserializes a field that has to be there, even if it is null.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// `GET /masterchainInfo`.
#[derive(Deserialize)]
pub(crate) struct MasterchainJson<'a> {
    #[serde(borrow)]
    pub(crate) last: BlockJson<'a>,
}

/// `GET /blocks`.
#[derive(Deserialize)]
pub(crate) struct BlocksJson<'a> {
    #[serde(borrow)]
    pub(crate) blocks: Vec<BlockJson<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct BlockJson<'a> {
    pub(crate) workchain: i64,
    pub(crate) seqno: Number,
    #[serde(borrow)]
    pub(crate) root_hash: Text<'a>,
    pub(crate) global_id: i64,
    pub(crate) gen_utime: Number,
    pub(crate) start_lt: Number,
    pub(crate) end_lt: Number,
}

/// `GET /accountStates`. Accounts that never existed are left out.
#[derive(Deserialize)]
pub(crate) struct StatesJson<'a> {
    #[serde(borrow)]
    pub(crate) accounts: Vec<StateJson<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct StateJson<'a> {
    #[serde(borrow)]
    pub(crate) address: Text<'a>,
    #[serde(borrow)]
    pub(crate) status: Text<'a>,
    #[serde(deserialize_with = "present")]
    pub(crate) last_transaction_lt: Option<Number>,
    #[serde(borrow, deserialize_with = "present")]
    pub(crate) last_transaction_hash: Option<Text<'a>>,
}

/// `GET /transactions`.
#[derive(Deserialize)]
pub(crate) struct TransactionsJson<'a> {
    #[serde(borrow)]
    pub(crate) transactions: Vec<TxJson<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct TxJson<'a> {
    #[serde(borrow)]
    pub(crate) account: Text<'a>,
    #[serde(borrow)]
    pub(crate) hash: Text<'a>,
    pub(crate) lt: Number,
    /// Null until the masterchain has it.
    pub(crate) mc_block_seqno: Option<Number>,
    /// Absent in older versions, which have nothing that is not final.
    #[serde(borrow)]
    finality: Option<&'a RawValue>,
    emulated: Option<bool>,
    #[serde(borrow)]
    pub(crate) prev_trans_hash: Text<'a>,
    pub(crate) prev_trans_lt: Number,
    #[serde(borrow)]
    pub(crate) end_status: Text<'a>,
    #[serde(borrow)]
    pub(crate) description: DescriptionJson<'a>,
    #[serde(borrow, deserialize_with = "present")]
    pub(crate) in_msg: Option<MessageJson<'a>>,
    #[serde(deserialize_with = "present")]
    pub(crate) out_msgs: Option<Vec<OutMessageJson>>,
}

impl TxJson<'_> {
    /// The height of the masterchain block that made it final, if it is final.
    pub(crate) fn height(&self) -> Result<Option<u64>, Fault> {
        final_at(self.mc_block_seqno, self.finality, self.emulated)
    }
}

fn final_at(
    seqno: Option<Number>,
    finality: Option<&RawValue>,
    emulated: Option<bool>,
) -> Result<Option<u64>, Fault> {
    // A word in the answers, a number in the API's description.
    let is_final = finality.is_none_or(|finality| matches!(finality.get(), r#""finalized""# | "2"));
    if !is_final || emulated == Some(true) {
        return Ok(None);
    }
    seqno.map(|seqno| seqno.u64("mc_block_seqno")).transpose()
}

/// `GET /traces`.
#[derive(Deserialize)]
pub(crate) struct TracesJson<'a> {
    #[serde(borrow, deserialize_with = "present")]
    pub(crate) traces: Option<Vec<TraceJson<'a>>>,
}

#[derive(Deserialize)]
pub(crate) struct TraceJson<'a> {
    /// Transactions by their hashes.
    #[serde(borrow)]
    pub(crate) transactions: BTreeMap<Cow<'a, str>, LocatedJson<'a>>,
}

/// A transaction, reduced to its location.
#[derive(Deserialize)]
pub(crate) struct LocatedJson<'a> {
    #[serde(borrow)]
    pub(crate) hash: Text<'a>,
    pub(crate) lt: Number,
    /// Null until the masterchain has it.
    #[serde(deserialize_with = "present")]
    mc_block_seqno: Option<Number>,
    #[serde(borrow)]
    finality: Option<&'a RawValue>,
    emulated: Option<bool>,
}

impl LocatedJson<'_> {
    /// The height of the masterchain block that made it final, if it is final.
    pub(crate) fn height(&self) -> Result<Option<u64>, Fault> {
        final_at(self.mc_block_seqno, self.finality, self.emulated)
    }
}

#[derive(Deserialize)]
pub(crate) struct DescriptionJson<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Text<'a>,
    pub(crate) aborted: Option<bool>,
    pub(crate) compute_ph: Option<ComputeJson>,
    /// Absent if there was nothing to send back, or the message asked for no bounce.
    #[serde(borrow)]
    pub(crate) bounce: Option<BounceJson<'a>>,
}

impl DescriptionJson<'_> {
    /// True if a bounce took the money back.
    pub(crate) fn is_sent_back(&self) -> bool {
        self.bounce.as_ref().is_some_and(|bounce| bounce.kind.0.eq_ignore_ascii_case("ok"))
    }
}

#[derive(Deserialize)]
pub(crate) struct ComputeJson {
    pub(crate) skipped: Option<bool>,
    pub(crate) success: Option<bool>,
}

#[derive(Deserialize)]
pub(crate) struct BounceJson<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Text<'a>,
}

#[derive(Deserialize)]
pub(crate) struct MessageJson<'a> {
    /// Null for messages from outside the chain.
    #[serde(borrow, deserialize_with = "present")]
    pub(crate) source: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "present")]
    pub(crate) destination: Option<Text<'a>>,
    #[serde(deserialize_with = "present")]
    pub(crate) value: Option<Number>,
    /// True if the message goes back when the account's code fails.
    #[serde(deserialize_with = "present")]
    pub(crate) bounce: Option<bool>,
    #[serde(deserialize_with = "present")]
    pub(crate) bounced: Option<bool>,
    #[serde(borrow, deserialize_with = "present")]
    pub(crate) message_content: Option<ContentJson<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct ContentJson<'a> {
    #[serde(borrow)]
    pub(crate) hash: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "present")]
    pub(crate) body: Option<Text<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct OutMessageJson {
    /// Null for messages to outside the chain.
    #[serde(deserialize_with = "present")]
    pub(crate) bounced: Option<bool>,
}

/// `POST /runGetMethod`.
#[derive(Deserialize)]
pub(crate) struct GetMethodJson<'a> {
    pub(crate) exit_code: i64,
    #[serde(borrow)]
    pub(crate) stack: Vec<StackJson<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct StackJson<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Text<'a>,
    #[serde(borrow)]
    pub(crate) value: Text<'a>,
}

/// `GET /getTransactions` of the API v2.
#[derive(Deserialize)]
pub(crate) struct CellsJson<'a> {
    pub(crate) ok: bool,
    #[serde(borrow)]
    pub(crate) result: Vec<RawTxJson<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct RawTxJson<'a> {
    #[serde(borrow)]
    pub(crate) transaction_id: TxIdJson<'a>,
    /// The transaction's cells.
    #[serde(borrow)]
    pub(crate) data: Text<'a>,
}

#[derive(Deserialize)]
pub(crate) struct TxIdJson<'a> {
    pub(crate) lt: Number,
    #[serde(borrow)]
    pub(crate) hash: Text<'a>,
}

/// A refusal by the API or by a gateway before it: `{"code":422,"error":"…"}`, or `{"ok":false,"result":"Ratelimit
/// exceed","code":429}`.
#[derive(Deserialize)]
pub(crate) struct RefusalJson<'a> {
    pub(crate) ok: Option<bool>,
    pub(crate) code: Option<i64>,
    #[serde(borrow)]
    pub(crate) error: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) result: Option<Text<'a>>,
}
