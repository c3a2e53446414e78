//! The index's claims about a transaction that it calls a payment, to be compared with the transaction's cells.

use crate::address::{Account, Hash};
use crate::base64;
use crate::boc::Boc;
use crate::transaction::{Message, Transaction};
use crate::wire::{MessageJson, TxJson};
use kassa_sdk::upstream::Fault;
use sha2::{Digest, Sha256};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claim {
    pub(crate) account: Account,
    pub(crate) hash: Hash,
    pub(crate) lt: u64,
    before_hash: Hash,
    before_lt: u64,
    is_end: bool,
    source: Option<Account>,
    destination: Option<Account>,
    is_bounced: bool,
    is_sent_back: bool,
    /// `None` if the index does not say; then nothing that is reported depends on it.
    value: Option<u128>,
    body: Option<Hash>,
    is_aborted: Option<bool>,
    has_succeeded: Option<bool>,
}

impl Claim {
    pub(crate) fn of(account: &Account, tx: &TxJson<'_>) -> Result<Self, Fault> {
        let message = tx.in_msg.as_ref().ok_or_else(|| Fault::malformed("a payment without a message"))?;
        let address = |text: &Option<_>, what| match text {
            Some(text) => crate::wire::Text::account(text, what).map(Some),
            None => Ok(None),
        };
        let compute = tx.description.compute_ph.as_ref();
        let skipped = compute.filter(|compute| compute.skipped == Some(true)).map(|_| false);
        Ok(Self {
            account: *account,
            hash: tx.hash.hash("transaction's hash")?,
            lt: tx.lt.u64("lt")?,
            before_hash: tx.prev_trans_hash.hash("prev_trans_hash")?,
            before_lt: tx.prev_trans_lt.u64("prev_trans_lt")?,
            is_end: tx.end_status.0 == "nonexist",
            source: address(&message.source, "source")?,
            destination: address(&message.destination, "destination")?,
            is_bounced: message.bounced == Some(true),
            is_sent_back: tx.description.is_sent_back(),
            value: message.value.map(|value| value.0),
            body: body(message)?,
            is_aborted: tx.description.aborted,
            has_succeeded: compute.and_then(|compute| compute.success).or(skipped),
        })
    }

    /// Identifies this claim among those that were proven: another claim has another mark.
    pub(crate) fn mark(&self) -> Hash {
        Sha256::digest(format!("{self:?}")).into()
    }

    /// The first field that the transaction's own cells contradict, by the index's name for it.
    pub(crate) fn contradiction(&self, tx: &Transaction) -> Option<&'static str> {
        let Some(Message { source, destination, value, is_bounced, body }) = &tx.message else {
            return Some("in_msg");
        };
        let is_as_told = |told: Option<bool>, found| told.is_none_or(|told| told == found);
        [
            (self.account.hash == tx.account, "account"),
            (self.lt == tx.lt, "lt"),
            (self.before_hash == tx.before_hash, "prev_trans_hash"),
            (self.before_lt == tx.before_lt, "prev_trans_lt"),
            (self.is_end == tx.is_end, "end_status"),
            (self.source == *source, "source"),
            (self.destination == *destination, "destination"),
            (self.value.is_none_or(|told| told == *value), "value"),
            (self.is_bounced == *is_bounced, "bounced"),
            (self.body.is_none_or(|told| told == *body), "body"),
            (is_as_told(self.is_aborted, tx.outcome.is_aborted), "aborted"),
            (is_as_told(self.has_succeeded, tx.outcome.has_succeeded), "compute_ph"),
            (self.is_sent_back == tx.outcome.is_sent_back, "bounce"),
        ]
        .into_iter()
        .find_map(|(agrees, part)| (!agrees).then_some(part))
    }
}

/// The hash of the body as it was read, regardless of the hash that comes with it.
fn body(message: &MessageJson<'_>) -> Result<Option<Hash>, Fault> {
    let Some(text) = message.message_content.as_ref().and_then(|content| content.body.as_ref()) else {
        return Ok(None);
    };
    let hash = base64::decode(&text.0).and_then(|bytes| Boc::parse(&bytes).ok()?.hash());
    hash.map(Some).ok_or_else(|| Fault::malformed("a body that has no hash"))
}
