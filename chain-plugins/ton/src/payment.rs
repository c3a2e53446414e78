//! Which transactions are payments.

use crate::accounts::Role;
use crate::address::{Account, hex};
use crate::base64;
use crate::boc::Boc;
use crate::body::{self, Body, InternalTransfer, unreadable};
use crate::host::Host;
use crate::scan::Scan;
use crate::slice::Slice;
use crate::wire::{DescriptionJson, MessageJson, TxJson};
use kassa_sdk::types::{Memo, Transfer};
use kassa_sdk::upstream::Fault;

/// What a body turns out to be.
enum Read<T> {
    Is(T),
    /// The cells cannot be read; the text says why.
    Unreadable(&'static str),
}

/// The transfer to a watched owner that a transaction of the account is, if it is one.
pub(crate) fn transfer<H: Host>(
    scan: &Scan<'_, H>,
    account: &Account,
    role: &Role,
    tx: &TxJson<'_>,
    height: u64,
) -> Result<Option<Transfer>, Fault> {
    let Some(message) = &tx.in_msg else {
        // Only what the chain does by itself comes without a message.
        let is_ordinary = tx.description.kind.0 == "ord";
        return if is_ordinary {
            Err(Fault::malformed("an ordinary transaction without a message"))
        } else {
            Ok(None)
        };
    };
    let Some(source) = &message.source else { return Ok(None) };
    let source = source.account("source")?;
    let destination = message.destination.as_ref().map(|text| text.account("destination")).transpose()?;
    if destination != Some(*account) {
        return Err(Fault::malformed("a transaction with a message to another account"));
    }
    if source == *account {
        // Nothing arrives where it came from: an account's message to itself moves its own coins.
        return Ok(None);
    }
    let is_bounced = message.bounced.ok_or_else(|| Fault::malformed("bounced is null"))?;
    if is_bounced {
        return Ok(None);
    }
    let found = match role {
        Role::Owner => {
            native(tx, message)?.map(|(amount, memo)| (*account, Some(source), Some(amount), memo))
        }
        Role::JettonWallet { owner, .. } => jetton(tx, message)?.map(|credit| match credit {
            Read::Is(InternalTransfer { amount, from, memo }) => (*owner, from, Some(amount), memo),
            Read::Unreadable(why) => (*owner, None, None, unreadable(why)),
        }),
    };
    let asset = match role {
        Role::Owner => scan.native,
        Role::JettonWallet { asset, .. } => Some(*asset),
    };
    let (Some((owner, sender, amount, memo)), Some(asset)) = (found, asset) else { return Ok(None) };
    Ok(Some(Transfer {
        tx: hex(&tx.hash.hash("transaction's hash")?),
        // A transaction has one incoming message, and an account is read for one asset.
        ordinal: 0,
        asset,
        sender: sender.map(|sender| sender.show(scan.is_testnet)),
        recipient: owner.show(scan.is_testnet),
        amount: amount.map(Into::into),
        memo,
        height,
    }))
}

/// What the native coin paid, if it stayed. That the contract failed (`aborted`) does not matter: a wallet
/// that does not exist yet cannot run, and is paid all the same. What matters is whether it was sent back.
fn native(tx: &TxJson<'_>, message: &MessageJson<'_>) -> Result<Option<(u128, Memo)>, Fault> {
    let value = message.value.ok_or_else(|| Fault::malformed("value is null"))?.0;
    if is_sent_back(tx) {
        return Ok(None);
    }
    let memo = match with_body(message, |slice| Some(Body::read(slice)))? {
        Read::Is(Body::Memo(memo)) => memo,
        // The coins that come with these are what is left of fees.
        Read::Is(Body::Operation(body::EXCESSES | body::TRANSFER_NOTIFICATION | body::BOUNCED)) => {
            return Ok(None);
        }
        // A call without value is no payment; a plain transfer of zero gets its outcome from the host.
        Read::Is(Body::Operation(_)) if value == 0 => return Ok(None),
        Read::Is(Body::Operation(op)) => body::unreadable_op(op),
        Read::Unreadable(why) => unreadable(why),
    };
    Ok(Some((value, memo)))
}

fn is_sent_back(tx: &TxJson<'_>) -> bool {
    tx.description.is_sent_back() || tx.out_msgs.iter().flatten().any(|message| message.bounced == Some(true))
}

/// What a jetton wallet was credited with: the wallet's own code has checked that the message is from
/// another wallet of the same master, so it counts if the code succeeded.
fn jetton(tx: &TxJson<'_>, message: &MessageJson<'_>) -> Result<Option<Read<InternalTransfer>>, Fault> {
    if message.message_content.as_ref().is_none_or(|content| content.body.is_none()) {
        return Err(Fault::malformed("a message to a jetton wallet without a body"));
    }
    let body = with_body(message, |mut slice| {
        // Coins for the wallet's rent come without an operation.
        let is_credit = slice.op() == Some(body::INTERNAL_TRANSFER);
        Some(is_credit.then(|| InternalTransfer::read(slice)))
    })?;
    Ok(match body {
        Read::Is(None) => None,
        _ if !has_succeeded(&tx.description)? => None,
        Read::Is(Some(Some(credit))) => Some(Read::Is(credit)),
        Read::Is(Some(None)) => Some(Read::Unreadable("a credit that cannot be read")),
        Read::Unreadable(why) => Some(Read::Unreadable(why)),
    })
}

fn has_succeeded(description: &DescriptionJson<'_>) -> Result<bool, Fault> {
    let aborted = description.aborted.ok_or_else(|| Fault::malformed("aborted is missing"))?;
    let compute = description.compute_ph.as_ref();
    let success =
        compute.and_then(|compute| compute.success.or((compute.skipped == Some(true)).then_some(false)));
    let success =
        success.ok_or_else(|| Fault::malformed("the compute phase does not say whether it succeeded"))?;
    Ok(success && !aborted)
}

/// Reads the message's body, which has to be the one that the index names by its hash.
fn with_body<T>(
    message: &MessageJson<'_>,
    read: impl FnOnce(Slice<'_>) -> Option<T>,
) -> Result<Read<T>, Fault> {
    let content = message.message_content.as_ref();
    let Some((content, body)) = content.and_then(|content| Some((content, content.body.as_ref()?))) else {
        return Ok(Read::Unreadable("a body that the index does not have"));
    };
    let bytes = base64::decode(&body.0).ok_or_else(|| Fault::malformed("a body is not base64"))?;
    let boc = Boc::parse(&bytes).map_err(|error| Fault::malformed(format!("a body's cells: {}", error.0)))?;
    if let (Some(told), Some(hash)) = (&content.hash, boc.hash())
        && told.hash("a body's hash")? != hash
    {
        return Err(Fault::malformed("a body that is not the one of its hash"));
    }
    let value = Slice::root(&boc).and_then(read);
    Ok(value.map_or(Read::Unreadable("a body that cannot be read"), Read::Is))
}
