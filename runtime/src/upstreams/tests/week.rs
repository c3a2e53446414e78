//! A week on free tiers: each network with three providers that have the quotas and rates of their free plans, in
//! simulated time.
//!
//! Everything that decides on whom to ask, how often, and whom to leave alone for how long is real. The reader is a
//! model: it makes as many calls a block as the suite has measured of the plugins (`conformance::*::days_`), keeps what
//! was served, and pauses after failures as the watcher does.

use super::*;
use crate::{
    domain::Millis,
    flow::observe::{PAUSE_MAX, PAUSE_MIN},
    upstreams::request::WAIT_MS_MAX,
};

const SECOND_MS: Millis = 1_000;
const MINUTE_MS: Millis = 60 * SECOND_MS;
const HOUR_MS: Millis = 60 * MINUTE_MS;
const DAY_MS: Millis = 24 * HOUR_MS;
/// 00:00 UTC.
const START: Millis = 20_000 * DAY_MS;
/// Maximum distance from the head, milliseconds, at which a network counts as at the head.
const BEHIND_MS: Millis = 30 * SECOND_MS;
/// Number of blocks per step while it catches up.
const STEP: i64 = 20;
/// Number of refusals in a row after which a plugin ends its scan, as in the SDK.
const STRIKES: u32 = 3;

/// A free plan.
#[derive(Clone, Copy)]
struct Plan {
    name: &'static str,
    per_s: u32,
    per_day: Option<u32>,
    /// Calls a second that are served beyond the day's quota.
    beyond: u32,
}

const fn plan(name: &'static str, per_s: u32, per_day: Option<u32>) -> Plan {
    Plan { name, per_s, per_day, beyond: 0 }
}

// Monthly plans, per day: 3 million calls, 30 million units of 20, 10 million of 20, 210 million of 20.
const CHAINSTACK: Plan = plan("chainstack", 25, Some(100_000));
const ALCHEMY: Plan = plan("alchemy", 25, Some(50_000));
const QUICKNODE: Plan = plan("quicknode", 15, Some(16_600));
const DRPC: Plan = plan("drpc", 40, Some(350_000));
const TRONGRID: Plan = Plan { beyond: 1, ..plan("trongrid", 15, Some(100_000)) };
const PUBLICNODE: Plan = plan("publicnode", 3, None);
const TONCENTER: Plan = plan("toncenter", 1, None);
const TONCENTER_KEY: Plan = plan("toncenter, with a key", 10, None);
/// No free plan serves BSC alone.
const PAID: Plan = plan("the smallest paid plan", 50, None);

struct Case {
    network: &'static str,
    /// Time between reads at the head, milliseconds: that of a block, or of a poll.
    every_ms: Millis,
    /// Number of calls a day at the head, as measured.
    calls: i64,
    /// True if one read covers everything that was missed while it catches up.
    is_polled: bool,
    plans: &'static [Plan],
    /// Number of minutes of the week that it may be behind.
    minutes: i64,
}

const fn case(network: &'static str, every_ms: Millis, calls: i64, plans: &'static [Plan]) -> Case {
    Case { network, every_ms, calls, is_polled: false, plans, minutes: 0 }
}

const TON: Case = Case { is_polled: true, ..case("ton", 2_000, 44_640, &[]) };

const CASES: [Case; 10] = [
    case("base", 2_000, 109_440, &[CHAINSTACK, ALCHEMY, QUICKNODE]),
    // Two blocks at a time.
    case("bsc", 900, 363_940, &[DRPC, CHAINSTACK, ALCHEMY]),
    case("ethereum", 12_000, 22_320, &[QUICKNODE, ALCHEMY, CHAINSTACK]),
    case("tron", 3_000, 58_560, &[TRONGRID, CHAINSTACK, PUBLICNODE]),
    Case { plans: &[TONCENTER, TONCENTER_KEY, TONCENTER], ..TON },
    // A single provider: for as long as it is down, and until the missed blocks are read.
    Case { minutes: 130, ..case("base", 2_000, 109_440, &[DRPC]) },
    Case { minutes: 140, ..case("bsc", 900, 363_940, &[PAID]) },
    Case { minutes: 130, ..case("ethereum", 12_000, 22_320, &[CHAINSTACK]) },
    Case { minutes: 130, ..case("tron", 3_000, 58_560, &[TRONGRID]) },
    Case { minutes: 121, plans: &[TONCENTER], ..TON },
];

/// A provider's reply to calls.
enum Reply {
    Served,
    Refused,
    Down,
}

struct Provider {
    plan: Plan,
    /// Start and end of its outage.
    away: (Millis, Millis),
    second: (Millis, u32),
    day: (Millis, u32),
    served: u64,
    refused: u64,
}

impl Provider {
    fn asked(&mut self, calls: u32, now: Millis) -> Reply {
        if (self.away.0..self.away.1).contains(&now) {
            return Reply::Down;
        }
        let (second, day) = (now.div_euclid(SECOND_MS), now.div_euclid(DAY_MS));
        if self.second.0 != second {
            self.second = (second, 0);
        }
        if self.day.0 != day {
            self.day = (day, 0);
        }
        let is_beyond = self.plan.per_day.is_some_and(|most| self.day.1 + calls > most);
        let per_s = if is_beyond { self.plan.beyond } else { self.plan.per_s };
        if self.second.1 + calls > per_s {
            self.refused += u64::from(calls);
            return Reply::Refused;
        }
        self.second.1 += calls;
        self.day.1 += calls;
        self.served += u64::from(calls);
        Reply::Served
    }
}

struct Week {
    upstreams: Upstreams,
    clock: Clock,
    providers: Vec<Provider>,
}

impl Week {
    fn new(case: &Case, is_said: bool) -> Self {
        let clock = Clock::standing(START);
        let upstreams = Upstreams::new(Outbound::new().unwrap(), clock.clone());
        let specs = (0..).zip(case.plans).map(|(number, plan): (i64, &Plan)| UpstreamSpec {
            terms: Terms { calls_per_s: plan.per_s, calls_per_day: plan.per_day.filter(|_| is_said) },
            ..spec(&number.to_string(), &format!("https://{number}.example"), number)
        });
        upstreams.set(case.network, specs.collect());
        // Each provider is down for two hours, on different days.
        let providers = (1..).zip(case.plans).map(|(number, &plan)| {
            let from = START + number * (DAY_MS + 7 * HOUR_MS);
            let away = (from, from + 2 * HOUR_MS);
            Provider { plan, away, second: (0, 0), day: (0, 0), served: 0, refused: 0 }
        });
        let providers = providers.collect();
        Self { upstreams, clock, providers }
    }

    /// Makes the calls of one scan, in requests of at most one second's calls. Returns true if all were served.
    fn scan(&mut self, network: &str, calls: u32, head: i64) -> bool {
        let Ok(upstream) = self.upstreams.pick(network, &[]) else { return false };
        let provider = &mut self.providers[upstream.id.as_str().parse::<usize>().unwrap()];
        let (mut open, mut strikes, mut size) = (calls, 0, u32::MAX);
        let verdict = loop {
            if open == 0 {
                break Verdict::Good { head: head.unsigned_abs() };
            }
            let batch = open.min(size).min(upstream.terms().0);
            let now = self.clock.now();
            let place = lock(&upstream.record.allowance).take(upstream.terms, batch, now, WAIT_MS_MAX);
            match place {
                Err(ms) => break Verdict::RateLimited { ms: u32::try_from(ms).unwrap_or(u32::MAX) },
                Ok(ms) => self.clock.shift(Millis::try_from(ms).unwrap()),
            }
            // Latency of an answer.
            self.clock.shift(50);
            match provider.asked(batch, self.clock.now()) {
                Reply::Served => {
                    lock(&upstream.record.allowance).served(batch, self.clock.now());
                    open -= batch;
                    strikes = 0;
                }
                Reply::Refused => {
                    upstream.refused(0, 1_000);
                    size = (batch / 2).max(1);
                    strikes += 1;
                    if strikes >= STRIKES {
                        break Verdict::RateLimited { ms: 1_000 };
                    }
                }
                Reply::Down => break Verdict::Bad("away".to_owned()),
            }
        };
        let is_read = matches!(verdict, Verdict::Good { .. });
        self.upstreams.report(network, &upstream.id.as_str().into(), verdict);
        is_read
    }
}

/// Reads a network for a week. Returns the number of minutes that it was behind.
fn behind(case: &Case, is_said: bool) -> (i64, Week) {
    let mut week = Week::new(case, is_said);
    let (mut read, mut pause, mut behind_ms) = (0, PAUSE_MIN, 0);
    let per_day = DAY_MS / case.every_ms;
    let owed = |block: i64| block * case.calls / per_day;
    loop {
        let before = week.clock.now();
        let since = before - START;
        if since >= 7 * DAY_MS {
            break;
        }
        let head = since / case.every_ms;
        if head == read {
            week.clock.shift(case.every_ms - since % case.every_ms);
        } else {
            let to = if case.is_polled { head } else { head.min(read + STEP) };
            let paid = if case.is_polled { read + 1 } else { to };
            let calls = u32::try_from(owed(paid) - owed(read)).unwrap();
            if week.scan(case.network, calls, head) {
                (read, pause) = (to, PAUSE_MIN);
            } else {
                week.clock.shift(Millis::try_from(pause.as_millis()).unwrap());
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        let now = week.clock.now();
        if now - START - read * case.every_ms > BEHIND_MS {
            behind_ms += now - before;
        }
    }
    (behind_ms / MINUTE_MS, week)
}

#[test]
#[expect(clippy::print_stdout, reason = "it is what the test is for, with --nocapture")]
fn a_week_on_free_tiers_stays_at_the_head() {
    for case in &CASES {
        // Also if nobody has configured a day's quota.
        for is_said in [true, false] {
            if !is_said && case.plans.iter().all(|plan| plan.per_day.is_none()) {
                continue;
            }
            let (behind, week) = behind(case, is_said);
            println!("{} (a day's calls said: {is_said}): behind for {behind} min of the week", case.network);
            for Provider { plan, served, refused, .. } in &week.providers {
                println!("  {}: {} calls a day, {} refused", plan.name, served / 7, refused / 7);
                // A provider whose quota is used up is asked at most four times a minute.
                let most = served / 100 + if is_said { 0 } else { 7 * 3_500 };
                assert!(*refused <= most, "{}: {}: {refused}", case.network, plan.name);
            }
            assert!(behind <= case.minutes, "{}: {behind} min", case.network);
        }
    }
}
