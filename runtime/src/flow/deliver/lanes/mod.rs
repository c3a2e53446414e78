//! Lanes: who sends next, so that no endpoint delays another. Pure bookkeeping.
//!
//! Each endpoint with something claimed has a lane. A lane's *window* says how many of its deliveries may be
//! under way: it begins small, grows by one with each success up to the configured figure, and falls back to one
//! with a failure. So endpoints that hang hold few places before anything is known of them, and one place each
//! once they have failed; and all that failed last (the *suspects*) share half of the places at most. The other
//! half belongs to those that answer quickly: one that takes its time is a suspect too, with as large a window as any.
//! No merchant has more than a quarter of the places once half of all are taken. After a failure a lane rests until it
//! is written down, so that the breaker (`domain::retry`) decides whether there is a next one.
//!
//! A lane whose window is full-grown may claim ahead, so that fast endpoints do not wait for the database.

use std::collections::{HashMap, VecDeque};

use super::attempt::{Due, Target};

use crate::domain::id::{EndpointId, MerchantId};

/// Window of an endpoint about which nothing is known.
const FIRST_WINDOW: usize = 2;
/// Time, milliseconds, after which an endpoint that took a delivery counts as slow.
const SLOW_MS: i64 = 1_000;
/// Number of windows that a lane of full size may have claimed.
const AHEAD: usize = 8;

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Maximum number of deliveries under way in all.
    pub(super) concurrency: usize,
    /// Maximum number of deliveries under way to one endpoint.
    pub(super) per_endpoint: usize,
}

/// Outcome of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Went {
    Well,
    /// The delivery was taken, after more than [`SLOW_MS`].
    Slowly,
    Badly,
}

impl Went {
    pub(super) fn of(delivered: bool, duration_ms: i64) -> Self {
        match delivered {
            false => Self::Badly,
            true if duration_ms > SLOW_MS => Self::Slowly,
            true => Self::Well,
        }
    }
}

pub(super) struct Lanes {
    limits: Limits,
    lanes: HashMap<EndpointId, Lane>,
    /// Number of deliveries under way of each merchant that has any.
    of_merchants: HashMap<MerchantId, usize>,
    /// Lanes with deliveries waiting and room in their window, each once, in turn.
    turn: VecDeque<EndpointId>,
    sending: usize,
    suspects_sending: usize,
    waiting: usize,
}

struct Lane {
    merchant_id: MerchantId,
    window: usize,
    suspect: bool,
    /// Number of those under way that count as a suspect's.
    sending_as_suspect: usize,
    sending: usize,
    /// Number of failures that are not written down yet.
    unwritten: usize,
    waiting: VecDeque<Due>,
    /// True if the database may have more that is due.
    more: bool,
    in_turn: bool,
}

/// Maximum number of deliveries that a claim may take of each endpoint.
pub(super) struct Allowance {
    known: HashMap<EndpointId, usize>,
    unknown: usize,
}

impl Allowance {
    pub(super) fn of(&self, endpoint_id: &EndpointId, failures: u32) -> usize {
        let unknown = if failures > 0 { 1 } else { self.unknown };
        self.known.get(endpoint_id).copied().unwrap_or(unknown)
    }
}

impl Lane {
    fn new(merchant_id: MerchantId, window: usize, suspect: bool) -> Self {
        Self {
            merchant_id,
            window,
            suspect,
            sending_as_suspect: 0,
            sending: 0,
            unwritten: 0,
            waiting: VecDeque::new(),
            more: false,
            in_turn: false,
        }
    }

    /// Number of deliveries worth claiming in a transaction: 0 until half of what the lane may hold is gone.
    fn room(&self, per_endpoint: usize) -> usize {
        if self.unwritten > 0 {
            return 0;
        }
        let hold = if self.window >= per_endpoint { self.window * AHEAD } else { self.window };
        let held = self.sending + self.waiting.len();
        if held * 2 > hold { 0 } else { hold - held }
    }
}

impl Lanes {
    pub(super) fn new(limits: Limits) -> Self {
        let limits =
            Limits { concurrency: limits.concurrency.max(1), per_endpoint: limits.per_endpoint.max(1) };
        Self {
            limits,
            lanes: HashMap::new(),
            of_merchants: HashMap::new(),
            turn: VecDeque::new(),
            sending: 0,
            suspects_sending: 0,
            waiting: 0,
        }
    }

    /// True if a merchant has all the attempts that it may have at present.
    fn has_its_share(&self, merchant_id: &MerchantId) -> bool {
        let (half, quarter) = (self.limits.concurrency.div_ceil(2), self.limits.concurrency.div_ceil(4));
        let of_merchant = self.of_merchants.get(merchant_id).copied().unwrap_or(0);
        self.sending >= half && of_merchant >= quarter
    }

    /// Records that an attempt for an endpoint is no longer under way.
    fn give_place_back(&mut self, endpoint_id: &EndpointId) {
        let Some(lane) = self.lanes.get_mut(endpoint_id) else { return };
        lane.sending = lane.sending.saturating_sub(1);
        self.sending = self.sending.saturating_sub(1);
        if lane.sending_as_suspect > 0 {
            lane.sending_as_suspect -= 1;
            self.suspects_sending = self.suspects_sending.saturating_sub(1);
        }
        if let Some(of_merchant) = self.of_merchants.get_mut(&lane.merchant_id) {
            *of_merchant -= 1;
            if *of_merchant == 0 {
                self.of_merchants.remove(&lane.merchant_id);
            }
        }
    }

    /// Number of attempts under way.
    pub(super) fn sending(&self) -> usize {
        self.sending
    }

    /// Number of deliveries that may be claimed in all.
    pub(super) fn room(&self) -> usize {
        (self.limits.concurrency * AHEAD).saturating_sub(self.sending + self.waiting)
    }

    pub(super) fn allowance(&self) -> Allowance {
        let per_endpoint = self.limits.per_endpoint;
        let known = self.lanes.iter().map(|(id, lane)| (id.clone(), lane.room(per_endpoint))).collect();
        Allowance { known, unknown: FIRST_WINDOW.min(per_endpoint) }
    }

    /// Adds deliveries claimed of an endpoint.
    pub(super) fn add(&mut self, target: &Target, failures: u32, more: bool, dues: Vec<Due>) {
        let endpoint_id = &target.endpoint_id;
        let suspect = failures > 0;
        let window = if suspect { 1 } else { FIRST_WINDOW.min(self.limits.per_endpoint) };
        let new = || Lane::new(target.merchant_id.clone(), window, suspect);
        let lane = self.lanes.entry(endpoint_id.clone()).or_insert_with(new);
        lane.more = more;
        self.waiting += dues.len();
        lane.waiting.extend(dues);
        self.take_turn(endpoint_id);
    }

    fn take_turn(&mut self, endpoint_id: &EndpointId) {
        if let Some(lane) = self.lanes.get_mut(endpoint_id)
            && !lane.in_turn
            && !lane.waiting.is_empty()
            && lane.unwritten == 0
            && lane.sending < lane.window
        {
            lane.in_turn = true;
            self.turn.push_back(endpoint_id.clone());
        }
    }

    /// The next delivery to send, from the lanes in turn. It counts as under way until [`Lanes::ended`].
    pub(super) fn next(&mut self) -> Option<Due> {
        if self.sending >= self.limits.concurrency {
            return None;
        }
        let suspects_full = self.suspects_sending >= (self.limits.concurrency / 2).max(1);
        for _ in 0..self.turn.len() {
            let endpoint_id = self.turn.pop_front()?;
            let Some(lane) = self.lanes.get(&endpoint_id) else { continue };
            if lane.suspect && suspects_full || self.has_its_share(&lane.merchant_id) {
                self.turn.push_back(endpoint_id);
                continue;
            }
            let Some(lane) = self.lanes.get_mut(&endpoint_id) else { continue };
            lane.in_turn = false;
            if lane.unwritten > 0 || lane.sending >= lane.window {
                continue;
            }
            let Some(due) = lane.waiting.pop_front() else { continue };
            lane.sending += 1;
            *self.of_merchants.entry(lane.merchant_id.clone()).or_default() += 1;
            self.sending += 1;
            self.waiting -= 1;
            if lane.suspect {
                lane.sending_as_suspect += 1;
                self.suspects_sending += 1;
            }
            self.take_turn(&endpoint_id);
            return Some(due);
        }
        None
    }

    /// Records that an attempt has ended. Returns true if its lane has room and the database may have more for it.
    pub(super) fn ended(&mut self, endpoint_id: &EndpointId, went: Went) -> bool {
        self.give_place_back(endpoint_id);
        let Some(lane) = self.lanes.get_mut(endpoint_id) else { return false };
        let delivered = went != Went::Badly;
        lane.suspect = went != Went::Well;
        lane.window = if delivered { (lane.window + 1).min(self.limits.per_endpoint) } else { 1 };
        lane.unwritten += usize::from(!delivered);
        let hungry = lane.more && lane.room(self.limits.per_endpoint) > 0;
        self.take_turn(endpoint_id);
        hungry
    }

    /// Records that a failure has been written down. Returns true if the lane has room and the database may have more
    /// for it.
    pub(super) fn written(&mut self, endpoint_id: &EndpointId) -> bool {
        let Some((endpoint_id, _)) = self.lanes.get_key_value(endpoint_id) else { return false };
        let endpoint_id = endpoint_id.clone();
        let Some(lane) = self.lanes.get_mut(&endpoint_id) else { return false };
        lane.unwritten = lane.unwritten.saturating_sub(1);
        let hungry = lane.more && lane.room(self.limits.per_endpoint) > 0;
        self.take_turn(&endpoint_id);
        hungry
    }

    /// Records that a delivery from [`Lanes::next`] was not sent.
    pub(super) fn dropped(&mut self, endpoint_id: &EndpointId) {
        self.give_place_back(endpoint_id);
        self.take_turn(endpoint_id);
    }

    /// Takes back the deliveries that wait for an endpoint.
    pub(super) fn withdraw(&mut self, endpoint_id: &EndpointId) -> Vec<Due> {
        let Some(lane) = self.lanes.get_mut(endpoint_id) else { return Vec::new() };
        lane.more = false;
        let dues: Vec<Due> = lane.waiting.drain(..).collect();
        self.waiting -= dues.len();
        dues
    }

    /// Takes back all waiting deliveries.
    pub(super) fn withdraw_all(&mut self) -> Vec<Due> {
        let ids: Vec<EndpointId> = self.lanes.keys().cloned().collect();
        ids.iter().flat_map(|id| self.withdraw(id)).collect()
    }

    /// Records that a claim has looked at all endpoints: those that it could have taken from and did not have nothing
    /// due. Forgets lanes with nothing left to do.
    pub(super) fn looked(&mut self, brought: impl Fn(&EndpointId) -> bool, allowance: &Allowance) {
        self.lanes.retain(|id, lane| {
            if allowance.known.get(id).is_some_and(|room| *room > 0) && !brought(id) {
                lane.more = false;
            }
            lane.sending + lane.unwritten > 0 || !lane.waiting.is_empty() || lane.more || lane.in_turn
        });
    }
}

#[cfg(test)]
mod tests;
