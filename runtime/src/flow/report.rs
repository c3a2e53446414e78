//! Reports of chain plugins, converted into the domain's types. Numbers that do not fit are an error in the report, not
//! a defect of ours.

use crate::{
    domain::{
        money::Amount,
        network::Manifest,
        observation::{self, Block, Contradiction, MEMO_LEN_MAX, Position, Scan, Seen},
    },
    host,
};

/// Checks that a report is consistent and can follow on a position. Errors with a description of what does not fit.
pub(crate) fn checked(
    result: host::ScanResult,
    from: Option<&Position>,
    network: &Manifest,
    limits: &host::ScanLimits,
) -> Result<Scan, Contradiction> {
    let scan = read(result)?;
    let blocks_max = usize::try_from(limits.blocks).unwrap_or(usize::MAX);
    observation::check(&scan, from, network.assets.len(), blocks_max)?;
    Ok(scan)
}

fn read(result: host::ScanResult) -> Result<Scan, Contradiction> {
    Ok(Scan {
        head: Position { height: height(result.head.height)?, hash: result.head.hash },
        safe: result.safe.map(height).transpose()?,
        r#final: height(result.final_)?,
        blocks: result.blocks.into_iter().map(block).collect::<Result<_, _>>()?,
        transfers: result.transfers.into_iter().map(seen).collect::<Result<_, _>>()?,
    })
}

fn height(height: u64) -> Result<i64, Contradiction> {
    i64::try_from(height).map_err(|_| Contradiction::Height(height))
}

fn block(block: host::Block) -> Result<Block, Contradiction> {
    Ok(Block {
        height: height(block.height)?,
        hash: block.hash,
        parent: block.parent,
        time: i64::try_from(block.time_ms).map_err(|_| Contradiction::Time)?,
    })
}

fn seen(transfer: host::PluginTransfer) -> Result<Seen, Contradiction> {
    let (memo, memo_problem) = match transfer.memo {
        host::Memo::None => (None, None),
        host::Memo::Text(text) if text.len() > MEMO_LEN_MAX => (None, Some("too long".to_owned())),
        // A NUL cannot be stored by every database; no invoice's memo has one.
        host::Memo::Text(text) if text.contains('\0') => (None, Some("holds a NUL".to_owned())),
        host::Memo::Text(text) => (Some(text), None),
        host::Memo::Unreadable(why) => {
            (None, Some(why.chars().filter(|c| !c.is_control()).take(100).collect()))
        }
    };
    Ok(Seen {
        tx: transfer.tx,
        ordinal: i64::from(transfer.ordinal),
        asset: usize::try_from(transfer.asset).unwrap_or(usize::MAX),
        sender: transfer.sender,
        recipient: transfer.recipient,
        amount: transfer.amount.map(Amount::from),
        memo,
        memo_problem,
        height: height(transfer.height)?,
    })
}

/// Converts the position at which a scan begins into the plugin's type.
pub(crate) fn position(from: &Position) -> host::Position {
    host::Position { height: u64::try_from(from.height).unwrap_or(0), hash: from.hash.clone() }
}
