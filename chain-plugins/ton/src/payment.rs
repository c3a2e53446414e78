//! Payments among transactions.

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

/// Result of reading a body.
enum Read<T> {
    Is(T),
    /// Reason that the cells cannot be read.
    Unreadable(&'static str),
}

/// The transfer to a watched owner that this transaction makes, if it makes one.
pub(crate) fn transfer<H: Host>(
    scan: &Scan<'_, H>,
    account: &Account,
    role: &Role,
    tx: &TxJson<'_>,
    height: u64,
) -> Result<Option<Transfer>, Fault> {
    let Some(message) = &tx.in_msg else {
        // Only transactions that the chain makes by itself come without a message.
        let is_ordinary = tx.description.kind.0 == "ord";
        return if is_ordinary {
            Err(Fault::malformed("an ordinary transaction without a message"))
        } else {
            Ok(None)
        };
    };
    let Some(source) = &message.source else {
        // A message from outside the chain, which can bring no coins.
        let brings_coins = message.value.is_some_and(|value| value.0 > 0);
        let told = || Fault::malformed("a message that brings coins from nobody");
        return if brings_coins { Err(told()) } else { Ok(None) };
    };
    let source = source.account("source")?;
    let destination = message.destination.as_ref().map(|text| text.account("destination")).transpose()?;
    if destination != Some(*account) {
        return Err(Fault::malformed("a transaction with a message to another account"));
    }
    // What an account sends to itself was there before. A jetton wallet does so when its owner pays itself; the owner
    // that a body names proves nothing, since whoever mints can write any.
    if source == *account {
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
        more: Vec::new(),
    }))
}

/// The native coin that a message paid. `None` if it was sent back or is no payment. That the contract failed
/// (`aborted`) does not matter: a wallet that does not exist yet cannot run, and is paid all the same.
fn native(tx: &TxJson<'_>, message: &MessageJson<'_>) -> Result<Option<(u128, Memo)>, Fault> {
    let value = message.value.ok_or_else(|| Fault::malformed("value is null"))?.0;
    if is_sent_back(tx, message)? {
        return Ok(None);
    }
    let memo = match with_body(message, |slice| Some(Body::read(slice)))? {
        Read::Is(Body::Memo(memo)) => memo,
        // Coins that come with these are what is left of fees.
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

/// True if the coins were sent back. Errors if the account's code failed, the message may bounce, and there is no
/// bounce phase, which the chain always has then.
fn is_sent_back(tx: &TxJson<'_>, message: &MessageJson<'_>) -> Result<bool, Fault> {
    let description = &tx.description;
    let is_returned = tx.out_msgs.iter().flatten().any(|message| message.bounced == Some(true));
    if description.is_sent_back() || is_returned {
        return Ok(true);
    }
    let may_bounce = message.bounce.ok_or_else(|| Fault::malformed("bounce is null"))?;
    if may_bounce && description.bounce.is_none() && !has_computed(description)? {
        return Err(Fault::malformed("a payment that failed, and not a word of whether it was sent back"));
    }
    Ok(false)
}

/// The credit of a jetton wallet. The wallet's own code has checked that the message is from another wallet of the same
/// master, so it counts if the code succeeded.
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
    Ok(has_computed(description)? && !aborted)
}

/// True if the code ran and did not fail; the actions that it wanted may have failed after that.
fn has_computed(description: &DescriptionJson<'_>) -> Result<bool, Fault> {
    let compute = description.compute_ph.as_ref();
    let success =
        compute.and_then(|compute| compute.success.or((compute.skipped == Some(true)).then_some(false)));
    success.ok_or_else(|| Fault::malformed("the compute phase does not say whether it succeeded"))
}

/// Reads the message's body. Errors if it does not have the hash that the index gives for it.
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
    let told = content.hash.as_ref().ok_or_else(|| Fault::malformed("a body without its hash"))?;
    let told = told.hash("a body's hash")?;
    if boc.hash().is_some_and(|hash| hash != told) {
        return Err(Fault::malformed("a body that is not the one of its hash"));
    }
    let value = Slice::root(&boc).and_then(read);
    Ok(value.map_or(Read::Unreadable("a body that cannot be read"), Read::Is))
}
