//! A scan: heads first, then steps of blocks until the limits or the head are reached.
//!
//! An idle scan is one call: the head, or the block after the cursor, where the host expects that one to be the head if
//! it is there. The safe and the final block are asked for as often as the host wants them. A step is one request for
//! its blocks and logs, and another one only where something was paid. Steps that were read completely are kept when a
//! later one fails: the failure comes again at the next scan, the work does not.
//!
//! Which chain the node serves is asked together with what is final, and where it is in doubt: a chain whose block
//! stands on the cursor's is the cursor's, or one that parted from it there.

use crate::fault::{Fault, RpcError};
use crate::hex::{self, Key};
use crate::host::Host;
use crate::learned::Learned;
use crate::rpc::{self, Call, Replies};
use crate::settings::{Dialect, Settings};
use crate::step::{self, Step};
use crate::wire::{Header, HeaderJson, Tokens, number};
use kassa_sdk::chain::{Block, Finality, ScanError, ScanLimits, ScanResult};
use kassa_sdk::types::{Network, Position};
use kassa_sdk::upstream::agrees;

/// Time after which a scan returns what it has read instead of reading more, milliseconds.
const TOOK_MS_MAX: u64 = 10_000;

/// A scan and its network.
pub(crate) struct Scan<'a, H> {
    pub(crate) host: &'a H,
    pub(crate) tokens: Tokens,
    /// Index of the native coin in the list of assets, if it is listed.
    pub(crate) native: Option<u32>,
    pub(crate) traces: Option<Dialect>,
    /// Time of the head, seconds.
    pub(crate) head_s: u32,
}

struct Heads {
    latest: Header,
    safe: Option<u64>,
    /// Height of the final block. `None` if neither the node nor the settings give it.
    finalized: Option<u64>,
}

pub(crate) fn scan<H: Host>(
    host: &H,
    network: &Network,
    cursor: Option<&Position>,
    limits: &ScanLimits,
) -> Result<ScanResult, ScanError> {
    let (tokens, native) = listed(network).map_err(ScanError::Settings)?;
    let settings = Settings::parse(&network.settings, native.is_some()).map_err(ScanError::Settings)?;
    let mut scan = Scan { host, tokens, native, traces: settings.traces, head_s: 0 };
    let before = Learned::load(host, &settings).map_err(Fault::into_scan_error)?;
    let mut learned = before;
    let result = scan.read(network, &settings, cursor, limits, &mut learned);
    let has_read = result.as_ref().is_ok_and(|result| !result.blocks.is_empty());
    learned.note(host, &settings, &before, has_read);
    let result = result?;
    agrees(&result)?;
    learned.keep_waits(host, &before);
    Ok(result)
}

/// The listed assets: tokens by contract, and the native coin's index.
fn listed(network: &Network) -> Result<(Tokens, Option<u32>), String> {
    let mut tokens: Vec<(Key, u32)> = Vec::new();
    let mut native = None;
    for (index, asset) in (0u32..).zip(&network.assets) {
        match &asset.contract {
            Some(contract) => {
                let key = hex::bytes(contract).ok_or_else(|| format!("{contract} is not a contract"))?;
                tokens.push((key, index));
            }
            None => native = native.or(Some(index)),
        }
    }
    Ok((Tokens(tokens), native))
}

impl<H: Host> Scan<'_, H> {
    fn read(
        &mut self,
        network: &Network,
        settings: &Settings,
        cursor: Option<&Position>,
        limits: &ScanLimits,
        learned: &mut Learned,
    ) -> Result<ScanResult, ScanError> {
        if let (Some(cursor), Some(known), true) = (cursor, limits.known, limits.next_is_head)
            && self.traces.is_none()
            && !cursor.hash.is_empty()
        {
            let result = self.next(cursor, known, limits, learned).map_err(Fault::into_scan_error)?;
            self.joins(network, cursor, &result, learned)?;
            return Ok(result);
        }
        let heads = self.heads(network, settings, limits, learned).map_err(Fault::into_scan_error)?;
        let head = &heads.latest;
        self.head_s = u32::try_from(head.time_ms / 1_000).unwrap_or(u32::MAX);
        let mut result = ScanResult {
            blocks: Vec::new(),
            transfers: Vec::new(),
            head: Position { height: head.height, hash: hex::text(&head.hash) },
            safe: heads.safe.map(|safe| safe.min(head.height)),
            final_: heads.finalized.unwrap_or(0).min(head.height),
            more: Vec::new(),
        };
        let Some(cursor) = cursor else {
            if heads.finalized.is_none() {
                let why = "the node does not say what is final: set finality_depth";
                return Err(ScanError::Settings(why.into()));
            }
            // A new network starts where no reorg can take the ground away.
            let start = self.header_at(result.final_, learned).map_err(Fault::into_scan_error)?;
            result.blocks.push(block(&start));
            return Ok(result);
        };
        if head.height < cursor.height {
            self.check_chain(network, learned)?;
            return Err(ScanError::Behind(head.height));
        }
        let waits_since_s = learned.waits_since_s;
        match self.read_on(cursor.height, limits, learned, &mut result) {
            Ok(()) if result.blocks.last().is_some_and(|last| last.height == head.height) => {
                learned.waits_since_s = 0;
            }
            Ok(()) => {}
            // A scan that fails keeps nothing, and the time since which it fails has to be kept: so the first failure
            // is a scan that read nothing.
            Err(fault) if learned.waits_since_s != waits_since_s => {
                self.host.warn(&format!("{:?}; it is waited for", fault.into_scan_error()));
            }
            Err(fault) => return Err(fault.into_scan_error()),
        }
        self.joins(network, cursor, &result, learned)?;
        Ok(result)
    }

    /// Reads the block after the cursor, which is the head if it exists.
    fn next(
        &self,
        cursor: &Position,
        known: Finality,
        limits: &ScanLimits,
        learned: &mut Learned,
    ) -> Result<ScanResult, Fault> {
        let mut result = ScanResult {
            blocks: Vec::new(),
            transfers: Vec::new(),
            head: cursor.clone(),
            safe: known.safe.map(|safe| safe.min(cursor.height)),
            final_: known.final_.min(cursor.height),
            more: Vec::new(),
        };
        let height = cursor.height.saturating_add(1);
        let replies = rpc::send(self.host, &[step::block_call(height, self.native.is_some())], learned)?;
        let is_there = match replies.get(0) {
            Err(error) if error.is_missing() => false,
            Err(error) => return Err(error.fault("the next block")),
            Ok(json) => json.trim() != "null",
        };
        if !is_there {
            return Ok(result);
        }
        let room = usize::try_from(limits.transfers).unwrap_or(usize::MAX);
        let Step { headers, transfers, .. } =
            step::read(self, height..=height, room, false, learned, Some(replies))?;
        if let Some(head) = headers.last() {
            result.head = Position { height: head.height, hash: hex::text(&head.hash) };
        }
        result.blocks.extend(headers.iter().map(block));
        result.transfers = transfers;
        Ok(result)
    }

    /// Checks which chain the node serves, unless the first block's parent is the cursor's block: then it is the
    /// cursor's chain. Any other block is on another branch, or on another chain.
    fn joins(
        &self,
        network: &Network,
        cursor: &Position,
        result: &ScanResult,
        learned: &mut Learned,
    ) -> Result<(), ScanError> {
        match result.blocks.first() {
            Some(first) if first.parent != cursor.hash => self.check_chain(network, learned),
            _ => Ok(()),
        }
    }

    fn check_chain(&self, network: &Network, learned: &mut Learned) -> Result<(), ScanError> {
        let asked = rpc::send(self.host, &[chain_id()], learned);
        asked.and_then(|replies| is_chain(network, &replies, 0)).map_err(Fault::into_scan_error)
    }

    fn heads(
        &self,
        network: &Network,
        settings: &Settings,
        limits: &ScanLimits,
        learned: &mut Learned,
    ) -> Result<Heads, Fault> {
        let tag = |tag: &str| Call { method: "eth_getBlockByNumber", params: format!(r#""{tag}",false"#) };
        let mut calls = vec![tag("latest")];
        if limits.known.is_none() {
            calls.extend([tag("safe"), tag("finalized"), chain_id()]);
        }
        let replies = rpc::send(self.host, &calls, learned)?;
        if limits.known.is_none() {
            is_chain(network, &replies, 3)?;
        }
        let latest = replies.parse::<Option<HeaderJson<'_>>>(0, "latest block")?;
        let latest = Header::of(&latest.ok_or_else(|| Fault::upstream("the node has no latest block"))?)?;
        let (safe, finalized) = match limits.known {
            Some(known) => (known.safe, Some(known.final_)),
            None => (tagged(&replies, 1, "safe block")?, tagged(&replies, 2, "finalized block")?),
        };
        let by_depth = settings.finality_depth.map(|depth| latest.height.saturating_sub(depth));
        Ok(Heads { latest, safe, finalized: finalized.or(by_depth) })
    }

    fn header_at(&self, height: u64, learned: &mut Learned) -> Result<Header, Fault> {
        let params = format!(r#""0x{height:x}",false"#);
        let calls = [Call { method: "eth_getBlockByNumber", params }];
        let replies = rpc::send(self.host, &calls, learned)?;
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
        limits: &ScanLimits,
        learned: &mut Learned,
        result: &mut ScanResult,
    ) -> Result<(), Fault> {
        let last = result.head.height.min(cursor.saturating_add(u64::from(limits.blocks.max(1))));
        let transfers_max = usize::try_from(limits.transfers).unwrap_or(usize::MAX);
        let (mut above, began_ms) = (cursor, self.host.now_ms());
        while above < last {
            let took_ms = self.host.now_ms().saturating_sub(began_ms);
            if took_ms > TOOK_MS_MAX && !result.blocks.is_empty() {
                return Ok(());
            }
            let next = above.saturating_add(1);
            let to = last.min(above.saturating_add(learned.step().max(1)));
            let room = transfers_max.saturating_sub(result.transfers.len());
            let step = match step::read(self, next..=to, room, !result.blocks.is_empty(), learned, None) {
                Ok(step) => step,
                // The answer is too large for the host's budget: less may fit, if this was the first step.
                Err(Fault::Budget(_)) if to > next && result.blocks.is_empty() => {
                    learned.blocks = (to - next).div_ceil(2);
                    continue;
                }
                Err(fault) => {
                    if matches!(fault, Fault::Scan(ScanError::RateLimited(_))) {
                        learned.blocks = (to - above).div_ceil(2);
                    }
                    return if result.blocks.is_empty() { Err(fault) } else { Ok(()) };
                }
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

fn chain_id() -> Call {
    Call { method: "eth_chainId", params: String::new() }
}

fn is_chain(network: &Network, replies: &Replies, index: usize) -> Result<(), Fault> {
    let chain = number(replies.parse(index, "eth_chainId")?, "chain id")?.to_string();
    if chain == network.chain_id { Ok(()) } else { Err(Fault::Scan(ScanError::WrongNetwork(chain))) }
}

/// Reads the height behind a tag. `None` if the node does not know the tag or has no such block yet.
fn tagged(replies: &Replies, index: usize, what: &str) -> Result<Option<u64>, Fault> {
    match replies.get(index) {
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
        more: Vec::new(),
    }
}
