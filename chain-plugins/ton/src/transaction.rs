//! A transaction in its own cells: the parts that make a payment (`Transaction` of
//! <https://github.com/ton-blockchain/ton/blob/master/crypto/block/block.tlb>).

use crate::address::{Account, Hash};
use crate::boc::Boc;
use crate::hashes::Hashes;
use crate::slice::Slice;

const TRANSACTION: u128 = 0b0111;
const ORDINARY: u128 = 0;
const NONEXIST: u128 = 3;

/// The part that is not what the format demands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NotATransaction(pub(crate) &'static str);

#[derive(Debug, PartialEq)]
pub(crate) struct Transaction {
    /// The account without its workchain, which a transaction does not contain.
    pub(crate) account: Hash,
    pub(crate) lt: u64,
    pub(crate) before_hash: Hash,
    pub(crate) before_lt: u64,
    /// True if it ended the account.
    pub(crate) is_end: bool,
    /// The message that came in, if it came from an account.
    pub(crate) message: Option<Message>,
    pub(crate) outcome: Outcome,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) source: Option<Account>,
    pub(crate) destination: Option<Account>,
    pub(crate) value: u128,
    pub(crate) is_bounced: bool,
    pub(crate) body: Hash,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) is_aborted: bool,
    /// True if the code ran and did not fail.
    pub(crate) has_succeeded: bool,
    pub(crate) is_sent_back: bool,
}

impl Transaction {
    pub(crate) fn read(boc: &Boc<'_>, hashes: &Hashes) -> Result<Self, NotATransaction> {
        let mut slice = Slice::root(boc).ok_or(NotATransaction("its root"))?;
        let head = Head::read(&mut slice).ok_or(NotATransaction("its head"))?;
        let mut messages = slice.next_ref().ok_or(NotATransaction("its messages"))?;
        let message = inbound(&mut messages, hashes).ok_or(NotATransaction("its message"))?;
        let description = rest(&mut slice).ok_or(NotATransaction("what follows its messages"))?;
        let outcome = outcome(description).ok_or(NotATransaction("its description"))?;
        let Head { account, lt, before_hash, before_lt, is_end } = head;
        Ok(Self { account, lt, before_hash, before_lt, is_end, message, outcome })
    }
}

struct Head {
    account: Hash,
    lt: u64,
    before_hash: Hash,
    before_lt: u64,
    is_end: bool,
}

impl Head {
    fn read(slice: &mut Slice<'_>) -> Option<Self> {
        (slice.uint(4)? == TRANSACTION).then_some(())?;
        let (account, lt) = (slice.hash()?, long(slice)?);
        let (before_hash, before_lt) = (slice.hash()?, long(slice)?);
        // The time, the number of messages out, and the account's status before.
        slice.skip(32 + 15 + 2)?;
        let is_end = slice.uint(2)? == NONEXIST;
        Some(Self { account, lt, before_hash, before_lt, is_end })
    }
}

fn long(slice: &mut Slice<'_>) -> Option<u64> {
    slice.uint(64).and_then(|number| u64::try_from(number).ok())
}

/// Skips an optional reference.
fn skip_maybe_ref(slice: &mut Slice<'_>) -> Option<()> {
    if slice.bit()? {
        slice.next_index()?;
    }
    Some(())
}

/// Reads an amount of native coins; other currencies are in a tree of their own, which is skipped.
fn currencies(slice: &mut Slice<'_>) -> Option<u128> {
    let coins = slice.coins()?;
    skip_maybe_ref(slice)?;
    Some(coins)
}

fn maybe_coins(slice: &mut Slice<'_>) -> Option<()> {
    if slice.bit()? {
        slice.coins()?;
    }
    Some(())
}

/// Reads the message that came in. The inner `Option` is `None` if there is none, or none from an account.
fn inbound(messages: &mut Slice<'_>, hashes: &Hashes) -> Option<Option<Message>> {
    if !messages.bit()? {
        return Some(None);
    }
    let mut slice = messages.next_ref()?;
    // `int_msg_info$0`
    if slice.bit()? {
        return Some(None);
    }
    slice.skip(2)?;
    let is_bounced = slice.bit()?;
    let (source, destination) = (slice.address()?, slice.address()?);
    let value = currencies(&mut slice)?;
    // Fees of two kinds, then the time of the message.
    slice.coins()?;
    slice.coins()?;
    slice.skip(64 + 32)?;
    skip_state(&mut slice)?;
    let body = body(slice, hashes)?;
    Some(Some(Message { source, destination, value, is_bounced, body }))
}

/// Skips the code and data that a message may bring along, in place or in a cell of their own.
fn skip_state(slice: &mut Slice<'_>) -> Option<()> {
    if !slice.bit()? {
        return Some(());
    }
    if slice.bit()? {
        return slice.next_index().map(drop);
    }
    for bits in [5, 2] {
        if slice.bit()? {
            slice.skip(bits)?;
        }
    }
    (0..3).try_for_each(|_| skip_maybe_ref(slice))
}

fn body(mut slice: Slice<'_>, hashes: &Hashes) -> Option<Hash> {
    if !slice.bit()? {
        return hashes.rest(slice);
    }
    let index = slice.next_index()?;
    slice.is_empty().then_some(())?;
    hashes.get(index)
}

/// Skips from the fees to the description. Returns the description.
fn rest<'a>(slice: &mut Slice<'a>) -> Option<Slice<'a>> {
    currencies(slice)?;
    let _state_update = slice.next_index()?;
    let description = slice.next_ref()?;
    slice.is_empty().then_some(description)
}

/// Reads a `trans_ord$0000`: only such transactions have a message from an account.
fn outcome(mut slice: Slice<'_>) -> Option<Outcome> {
    (slice.uint(4)? == ORDINARY).then_some(())?;
    let _credit_first = slice.bit()?;
    // The storage phase: fees collected, fees due, and whether the account was frozen or deleted.
    if slice.bit()? {
        slice.coins()?;
        maybe_coins(&mut slice)?;
        if slice.bit()? {
            slice.skip(1)?;
        }
    }
    // The credit phase.
    if slice.bit()? {
        maybe_coins(&mut slice)?;
        currencies(&mut slice)?;
    }
    let has_succeeded = compute(&mut slice)?;
    // The action phase.
    skip_maybe_ref(&mut slice)?;
    let is_aborted = slice.bit()?;
    // `tr_phase_bounce_ok$1`; the others begin with a zero.
    let is_sent_back = slice.bit()? && slice.bit()?;
    Some(Outcome { is_aborted, has_succeeded, is_sent_back })
}

fn compute(slice: &mut Slice<'_>) -> Option<bool> {
    if !slice.bit()? {
        // The reason for skipping it: two bits, or three that begin with 11.
        if slice.uint(2)? == 3 {
            slice.skip(1)?;
        }
        return Some(false);
    }
    let has_succeeded = slice.bit()?;
    slice.skip(2)?;
    slice.coins()?;
    slice.next_index()?;
    Some(has_succeeded)
}

#[cfg(test)]
#[path = "tests/transaction.rs"]
mod tests;
