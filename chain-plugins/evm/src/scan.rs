//! A scan: heads first, then steps of blocks until the limits or the head are reached.
//!
//! An idle scan is one HTTP request (chain id, latest, safe and finalized block in one batch). A step is one
//! more for its blocks and logs, and another one only where something was paid. Steps that were read
//! completely are kept when a later one fails: the failure comes again at the next scan, the work does not.

use crate::fault::{Fault, RpcError};
use crate::hex::{self, Key};
use crate::host::Host;
use crate::learned::Learned;
use crate::rpc::{self, Call, Replies};
use crate::settings::{Dialect, Settings};
use crate::step::{self, Step};
use crate::wire::{Header, HeaderJson, Tokens, number};
use kassa_sdk::chain::{Block, ScanError, ScanLimits, ScanResult};
use kassa_sdk::types::{Network, Position};
use kassa_sdk::upstream::agrees;

/// What a scan knows about its network.
pub(crate) struct Scan<'a, H> {
    pub(crate) host: &'a H,
    pub(crate) tokens: Tokens,
    /// Place of the native coin in the list of assets, if it is listed.
    pub(crate) native: Option<u32>,
    pub(crate) traces: Option<Dialect>,
    /// The head's time, in seconds.
    pub(crate) head_s: u32,
}

struct Heads {
    latest: Header,
    safe: Option<u64>,
    finalized: u64,
    /// Whether `finalized` was told by anyone, or is 0 for want of better.
    knows_final: bool,
}

pub(crate) fn scan<H: Host>(
    host: &H,
    network: &Network,
    cursor: Option<&Position>,
    limits: ScanLimits,
) -> Result<ScanResult, ScanError> {
    let (tokens, native) = listed(network).map_err(ScanError::Settings)?;
    let settings = Settings::parse(&network.settings, native.is_some()).map_err(ScanError::Settings)?;
    let mut scan = Scan { host, tokens, native, traces: settings.traces, head_s: 0 };
    let before = Learned::load(host, &settings);
    let mut learned = before;
    let heads = scan.heads(network, &settings, &mut learned).map_err(Fault::into_scan_error)?;
    let head = &heads.latest;
    scan.head_s = u32::try_from(head.time_ms / 1_000).unwrap_or(u32::MAX);
    let mut result = ScanResult {
        blocks: Vec::new(),
        transfers: Vec::new(),
        head: Position { height: head.height, hash: hex::text(&head.hash) },
        safe: heads.safe.map(|safe| safe.min(head.height)),
        final_: heads.finalized.min(head.height),
    };
    let Some(cursor) = cursor else {
        if !heads.knows_final {
            let why = "the node does not say what is final: set finality_depth";
            return Err(ScanError::Settings(why.into()));
        }
        // A new network starts where no reorg can take the ground away.
        let start = scan.header_at(result.final_, &mut learned).map_err(Fault::into_scan_error)?;
        result.blocks.push(block(&start));
        agrees(&result)?;
        return Ok(result);
    };
    if head.height < cursor.height {
        return Err(ScanError::Behind(head.height));
    }
    match scan.read_on(cursor.height, limits, &mut learned, &mut result) {
        Ok(()) if result.blocks.last().is_some_and(|last| last.height == head.height) => {
            learned.waits_since_s = 0;
        }
        Ok(()) => {}
        // A scan that fails keeps nothing, and since when it fails is to be known: so the first one is a scan
        // that read nothing.
        Err(fault) if learned.waits_since_s != before.waits_since_s => {
            host.warn(&format!("{:?}; it is waited for", fault.into_scan_error()));
        }
        Err(fault) => return Err(fault.into_scan_error()),
    }
    agrees(&result)?;
    if !result.blocks.is_empty() || learned != before {
        learned.keep(host, &settings, &before);
    }
    Ok(result)
}

/// The listed assets: tokens by contract, and the native coin's place.
fn listed(network: &Network) -> Result<(Tokens, Option<u32>), String> {
    let mut tokens: Vec<(Key, u32)> = Vec::new();
    let mut native = None;
    for (place, asset) in (0u32..).zip(&network.assets) {
        match &asset.contract {
            Some(contract) => {
                let key = hex::bytes(contract).ok_or_else(|| format!("{contract} is not a contract"))?;
                tokens.push((key, place));
            }
            None => native = native.or(Some(place)),
        }
    }
    Ok((Tokens(tokens), native))
}

impl<H: Host> Scan<'_, H> {
    fn heads(&self, network: &Network, settings: &Settings, learned: &mut Learned) -> Result<Heads, Fault> {
        let tag = |tag: &str| Call { method: "eth_getBlockByNumber", params: format!(r#""{tag}",false"#) };
        let calls = [
            Call { method: "eth_chainId", params: String::new() },
            tag("latest"),
            tag("safe"),
            tag("finalized"),
        ];
        let replies = rpc::send(self.host, &calls, &mut learned.batch)?;
        let chain = number(replies.parse(0, "eth_chainId")?, "chain id")?.to_string();
        if chain != network.chain_id {
            return Err(Fault::Scan(ScanError::WrongNetwork(chain)));
        }
        let latest = replies.parse::<Option<HeaderJson<'_>>>(1, "latest block")?;
        let latest = latest.ok_or_else(|| Fault::upstream("the node has no latest block"))?;
        let latest = Header::of(&latest)?;
        let safe = tagged(&replies, 2, "safe block")?;
        let by_depth = settings.finality_depth.map(|depth| latest.height.saturating_sub(depth));
        let finalized = tagged(&replies, 3, "finalized block")?.or(by_depth);
        Ok(Heads { latest, safe, finalized: finalized.unwrap_or(0), knows_final: finalized.is_some() })
    }

    fn header_at(&self, height: u64, learned: &mut Learned) -> Result<Header, Fault> {
        let params = format!(r#""0x{height:x}",false"#);
        let calls = [Call { method: "eth_getBlockByNumber", params }];
        let replies = rpc::send(self.host, &calls, &mut learned.batch)?;
        let header = replies.parse::<Option<HeaderJson<'_>>>(0, "final block")?;
        let header = Header::of(&header.ok_or_else(|| Fault::lags("the final block is missing"))?)?;
        if header.height != height {
            return Err(Fault::malformed(format!("asked for block {height}, got block {}", header.height)));
        }
        Ok(header)
    }

    fn read_on(
        &self,
        cursor: u64,
        limits: ScanLimits,
        learned: &mut Learned,
        result: &mut ScanResult,
    ) -> Result<(), Fault> {
        let last = result.head.height.min(cursor.saturating_add(u64::from(limits.blocks.max(1))));
        let transfers_max = usize::try_from(limits.transfers).unwrap_or(usize::MAX);
        let mut above = cursor;
        while above < last {
            let next = above.saturating_add(1);
            let to = last.min(above.saturating_add(learned.blocks.max(1)));
            let room = transfers_max.saturating_sub(result.transfers.len());
            let step = match step::read(self, next, to, room, !result.blocks.is_empty(), learned) {
                Ok(step) => step,
                // Too much at once for the host's budget: less may fit, if this was the first step.
                Err(Fault::Budget(_)) if to > next && result.blocks.is_empty() => {
                    learned.blocks = (to - next).div_ceil(2);
                    continue;
                }
                Err(_) if !result.blocks.is_empty() => return Ok(()),
                Err(fault) => return Err(fault),
            };
            let Step { headers, transfers, is_cut } = step;
            let joins = match (result.blocks.last(), headers.first()) {
                (Some(below), Some(above)) => below.hash == hex::text(&above.parent),
                _ => true,
            };
            if !joins {
                return Ok(());
            }
            above = headers.last().map_or(above, |header| header.height);
            result.blocks.extend(headers.iter().map(block));
            result.transfers.extend(transfers);
            if is_cut {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The height behind a tag; `None` where the node does not know the tag or has no such block yet.
fn tagged(replies: &Replies, place: usize, what: &str) -> Result<Option<u64>, Fault> {
    match replies.get(place) {
        Err(error) if RpcError::is_unknown_tag(error) => Ok(None),
        Err(error) => Err(error.fault(what)),
        Ok(json) => {
            let block = rpc::parse::<Option<HeaderJson<'_>>>(json, what)?;
            block.map(|block| Header::of(&block).map(|header| header.height)).transpose()
        }
    }
}

fn block(header: &Header) -> Block {
    Block {
        height: header.height,
        hash: hex::text(&header.hash),
        parent: hex::text(&header.parent),
        time_ms: header.time_ms,
    }
}
