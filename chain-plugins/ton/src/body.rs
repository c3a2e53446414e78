//! Bodies of messages: comments, and the message with which a jetton wallet is credited.
//!
//! They are read from the cells themselves. The API decodes them too, but its shapes changed over time.

use crate::address::Account;
use crate::slice::Slice;
use kassa_sdk::types::Memo;

const COMMENT: u32 = 0;
const ENCRYPTED_COMMENT: u32 = 0x2167_da4b;
/// Operation of a message that returns what was paid too much for a contract's work.
pub(crate) const EXCESSES: u32 = 0xd532_76db;
/// Operation that tells the owner of a jetton wallet of a credit. Anyone can send one.
pub(crate) const TRANSFER_NOTIFICATION: u32 = 0x7362_d09c;
/// Operation of a message that was bounced.
pub(crate) const BOUNCED: u32 = 0xffff_ffff;
/// Operation that credits a jetton wallet (TEP-74).
pub(crate) const INTERNAL_TRANSFER: u32 = 0x178d_4519;

/// Maximum length of a comment that the host keeps, bytes.
const COMMENT_MAX: usize = 4_096;

/// The beginning of a body.
#[derive(Debug, PartialEq)]
pub(crate) enum Body {
    /// No operation: an empty body or a text.
    Memo(Memo),
    /// A call of a contract, by its operation.
    Operation(u32),
}

impl Body {
    pub(crate) fn read(mut slice: Slice<'_>) -> Self {
        if slice.is_empty() {
            return Self::Memo(Memo::None);
        }
        match slice.op() {
            Some(COMMENT) => Self::Memo(comment(slice)),
            Some(ENCRYPTED_COMMENT) => Self::Memo(unreadable("an encrypted comment")),
            Some(op) => Self::Operation(op),
            None => Self::Memo(unreadable("a body too short for an operation")),
        }
    }
}

pub(crate) fn unreadable(what: &str) -> Memo {
    Memo::Unreadable(what.into())
}

pub(crate) fn unreadable_op(op: u32) -> Memo {
    Memo::Unreadable(format!("operation 0x{op:08x}"))
}

/// Reads UTF-8 in a chain of cells, each but the last with one reference to the next.
fn comment(mut slice: Slice<'_>) -> Memo {
    let mut bytes = Vec::new();
    loop {
        if slice.bytes_into(&mut bytes).is_none() {
            return unreadable("a comment that is not in whole bytes");
        }
        if bytes.len() > COMMENT_MAX {
            return unreadable("a comment of over 4096 bytes");
        }
        slice = match slice.refs_left() {
            0 => break,
            1 => match slice.next_ref() {
                Some(next) => next,
                None => return unreadable("a comment in an exotic cell"),
            },
            _ => return unreadable("a comment that branches"),
        };
    }
    if bytes.first() == Some(&0xff) {
        return unreadable("a binary comment");
    }
    match String::from_utf8(bytes) {
        Ok(text) if text.is_empty() => Memo::None,
        Ok(text) => Memo::Text(text),
        Err(_) => unreadable("a comment that is not UTF-8"),
    }
}

/// The body of an `internal_transfer` of TEP-74, after its operation.
#[derive(Debug, PartialEq)]
pub(crate) struct InternalTransfer {
    pub(crate) amount: u128,
    pub(crate) from: Option<Account>,
    pub(crate) memo: Memo,
}

impl InternalTransfer {
    pub(crate) fn read(mut slice: Slice<'_>) -> Option<Self> {
        // The query's id matters to the sender only.
        slice.skip(64)?;
        let amount = slice.coins()?;
        let from = slice.address()?;
        Some(Self { amount, from, memo: forwarded(slice) })
    }
}

fn forwarded(slice: Slice<'_>) -> Memo {
    match payload(slice).map(Body::read) {
        Some(Body::Memo(memo)) => memo,
        Some(Body::Operation(op)) => unreadable_op(op),
        None => unreadable("a malformed forward payload"),
    }
}

/// The payload that is forwarded to the owner, in place or in a cell of its own: wallets do both.
fn payload(mut slice: Slice<'_>) -> Option<Slice<'_>> {
    let _response_address = slice.address()?;
    let _forwarded_coins = slice.coins()?;
    if !slice.bit()? {
        return Some(slice);
    }
    let inner = slice.next_ref()?;
    slice.is_empty().then_some(inner)
}

#[cfg(test)]
#[path = "tests/body.rs"]
mod tests;
