//! Operations of a simulation, in order: made from a seed, and written out so that a person can follow them.

use std::fmt;

use kassa::simulation::{Asset, By};

use crate::{chain::State, random::Random};

/// An operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    /// Time passes, spread over some blocks.
    Wait {
        ms: i64,
        blocks: u32,
    },
    /// A merchant asks for an amount; its invoice gets this number.
    Invoice {
        number: usize,
        merchant: usize,
        asset: Asset,
        amount: u128,
        by: By,
        expires_in_s: i64,
    },
    /// The payer of an invoice pays, at an offset from its deadline in milliseconds (before it if negative), or now.
    Pay {
        number: usize,
        how: How,
        from_deadline: Option<i64>,
        /// Number of blocks that pass it over.
        passed_over: u32,
    },
    /// Somebody sends what nobody asked for.
    Stray {
        merchant: usize,
        asset: Asset,
        amount: u128,
    },
    Provider(State),
    Reorg {
        deep: u64,
        shuffle: u64,
    },
    /// The process ends at its `nth` commit from now, which is made or not, and starts again.
    Crash {
        nth: u32,
        made: bool,
    },
    Restart,
    /// The machine's clock is set forward, by milliseconds.
    Clock {
        ms: i64,
    },
    /// A second replica starts, or ends.
    Second,
    /// Another replica gets the leases.
    Leases,
    /// An answer to the first replica is delayed. Meanwhile a block is mined, `deep` blocks are replaced, and the
    /// second replica gets the leases and works.
    Overlap {
        deep: u64,
        shuffle: u64,
    },
    /// The operator has the last blocks read again, by their number or by milliseconds.
    Rescan {
        blocks: i64,
        ms: Option<i64>,
    },
    BackUp,
    /// Everything stops, and continues from the last backup.
    Restore,
}

/// Payment of an invoice by its payer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Exactly,
    /// A difference from the exact amount.
    Off(i64),
    /// Sent by a contract, if it is coin: no transfer shows it.
    Unseen,
}

/// An operation, and the workers that get their turn after it. [`SECOND`] is the second replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) op: Op,
    pub(crate) workers: u8,
}

pub(crate) const OBSERVE: u8 = 1;
pub(crate) const SETTLE: u8 = 2;
pub(crate) const EXPIRE: u8 = 4;
pub(crate) const SECOND: u8 = 8;
/// The workers for rescans and balances.
pub(crate) const BESIDE: u8 = 16;
pub(crate) const ALL: u8 = 31;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    /// Number of confirmations of a credit.
    pub(crate) confirmations: u32,
    /// Depth of the final block below the head.
    pub(crate) depth: u64,
    pub(crate) turns: Vec<Turn>,
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// Prices in whole cents, so that no two rings of amounts overlap.
const PRICES: [u128; 3] = [10_000_000, 10_010_000, 25_000_000];
/// A price so small that only two suffixes are a decent share of it: its amounts come again as soon as they may.
pub(crate) const TINY_PRICE: u128 = 200;

impl Schedule {
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let depth = random.below(9);
        let confirmations = 1 + u32::try_from(random.below(4)).unwrap_or(0);
        // The chain is read before anyone asks for anything; one time in ten it is not.
        let mut turns = Vec::new();
        if !random.one_in(10) {
            let op = Op::Wait { ms: 20_000, blocks: 4 };
            turns.push(Turn { op, workers: ALL });
        }
        let prices: &[u128] = if random.one_in(4) { &[TINY_PRICE] } else { &PRICES };
        let (mut invoices, mut backed_up) = (0_usize, false);
        for _ in 0..random.between(8, 40) {
            let op = op(&mut random, prices, invoices, backed_up);
            invoices += usize::from(matches!(op, Op::Invoice { .. }));
            backed_up |= op == Op::BackUp;
            // Mostly everyone gets a turn; now and then some workers are slow.
            let workers = match random.below(6) {
                0 => u8::try_from(random.below(32)).unwrap_or(0),
                1 => ALL & !(1 << random.below(5)),
                _ => ALL,
            };
            turns.push(Turn { op, workers });
        }
        Self { seed, confirmations, depth, turns }
    }
}

fn op(random: &mut Random, prices: &[u128], invoices: usize, backed_up: bool) -> Op {
    let merchant = usize::from(random.one_in(3));
    let asset = if random.one_in(5) { Asset::Coin } else { Asset::Dollar };
    match random.below(100) {
        0..22 => Op::Invoice {
            number: invoices,
            merchant,
            asset,
            amount: random.of(prices).copied().unwrap_or(TINY_PRICE),
            by: *random
                .of(&[By::Amount, By::Amount, By::Amount, By::Memo, By::Address])
                .unwrap_or(&By::Amount),
            expires_in_s: *random.of(&[600, 600, 3600]).unwrap_or(&600),
        },
        22..44 if invoices > 0 => Op::Pay {
            number: usize::try_from(random.below(invoices as u64)).unwrap_or(0),
            how: match random.below(6) {
                0 => How::Off(random.between(-5, 5)),
                1 | 2 => How::Unseen,
                _ => How::Exactly,
            },
            from_deadline: match random.below(6) {
                0 => Some(random.between(-20_000, 20_000)),
                1 => Some(random.between(0, 5 * HOUR)),
                2 => Some(random.between(-9 * MINUTE, -3 * MINUTE)),
                _ => None,
            },
            passed_over: if random.one_in(4) { 1 + u32::try_from(random.below(2)).unwrap_or(0) } else { 0 },
        },
        44..46 => {
            let price = random.of(prices).copied().unwrap_or(TINY_PRICE);
            let suffixes = if price == TINY_PRICE { 4 } else { 450 };
            Op::Stray { merchant, asset, amount: price + u128::from(random.below(suffixes)) }
        }
        46..62 => match random.below(8) {
            0 => Op::Wait { ms: random.between(HOUR, 30 * HOUR), blocks: 5 },
            1 | 2 => Op::Wait { ms: random.between(10 * MINUTE, 2 * HOUR), blocks: 4 },
            _ => Op::Wait { ms: random.between(5_000, 3 * MINUTE), blocks: 3 },
        },
        62..72 => Op::Provider(match random.below(9) {
            0..4 => State::Well,
            4 | 5 => State::Away,
            6 => *random.of(&[State::RateLimited, State::Malformed]).unwrap_or(&State::Away),
            7 => State::Lags(if random.one_in(2) {
                random.between(0, 90_000)
            } else {
                random.between(0, 3 * HOUR)
            }),
            _ => State::Stale,
        }),
        72..77 => Op::Reorg { deep: 1 + random.below(8), shuffle: random.next() },
        77..81 => Op::Crash { nth: 1 + u32::try_from(random.below(6)).unwrap_or(0), made: random.one_in(2) },
        81..84 => Op::Restart,
        84..86 => Op::Overlap { deep: random.below(8), shuffle: random.next() },
        86..90 => Op::Rescan {
            blocks: random.between(0, 30),
            ms: random.one_in(3).then(|| random.between(0, 3 * HOUR)),
        },
        90..93 => Op::Clock {
            ms: match random.below(6) {
                0 => -20 * 365 * 24 * HOUR,
                1 => 20 * 365 * 24 * HOUR,
                2 | 3 => random.between(-3 * HOUR, 3 * HOUR),
                _ => random.between(-MINUTE, MINUTE),
            },
        },
        93..95 => Op::Second,
        95..96 => Op::Leases,
        96..98 => Op::BackUp,
        98.. if backed_up => Op::Restore,
        _ => Op::Wait { ms: 6_000, blocks: 1 },
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {} confirmations are a credit, {} blocks below the head are final",
            self.confirmations, self.depth
        )?;
        for (number, turn) in self.turns.iter().enumerate() {
            writeln!(f, "  {number:>3}  {:?}  (workers {:05b})", turn.op, turn.workers)?;
        }
        Ok(())
    }
}
