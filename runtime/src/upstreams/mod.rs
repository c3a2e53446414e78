//! RPC providers of the networks: the choice among them, their rates and their health.
//!
//! The cast: a network has several *upstreams*. A worker [`Upstreams::pick`]s one, runs a whole scan against it (so
//! that all answers fit together), and [`Upstreams::report`]s how the scan went. Only such a verdict changes the health
//! of an upstream: only the reader of an answer knows whether it was any good, TCP does not. See `health` for the
//! rules, `domain::allowance` for the rate of requests. Facts that the plugin and these rules have learned of an
//! upstream are stored in the database (`learned`), so that a restart does not run into the same limits again.
//!
//! The URL of an upstream and its headers carry keys: outside of a request only scheme and host are ever shown.

pub(crate) mod access;
mod health;
mod learned;
mod request;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use http::HeaderMap;
use url::Url;
use zeroize::Zeroizing;

use self::health::{Health, Readiness};
use crate::{
    clock::Clock,
    domain::{Millis, allowance::Allowance, id::UpstreamId, word::words},
    outbound::{Outbound, OutboundError, Reach, parse_url},
};

pub(crate) use crate::domain::allowance::{Learned, Terms};
pub(crate) use access::Access;
pub(crate) use learned::NOTES_MAX;
pub(crate) use request::{UpstreamError, UpstreamRequest};

words! {
    /// Abilities of an upstream.
    UpstreamState {
        Ready = "ready",
        /// It failed and rests.
        Paused = "paused",
        /// Its rest is over; the next one who picks it finds out.
        Due = "due",
        /// It said that it was asked too often.
        RateLimited = "rate_limited",
        /// It serves another network than it is configured for.
        WrongNetwork = "wrong_network",
        /// Its head is behind those of others.
        Behind = "behind",
    }
}

/// Configuration of an upstream.
pub(crate) struct UpstreamSpec {
    pub(crate) id: UpstreamId,
    pub(crate) url: String,
    /// Secret headers, added to every request.
    pub(crate) headers: Vec<(String, Zeroizing<String>)>,
    pub(crate) terms: Terms,
    /// Lower is asked first.
    pub(crate) priority: i64,
    /// Facts from the database; newer ones in memory take precedence.
    pub(crate) learned: Learned,
}

impl UpstreamSpec {
    pub(crate) fn new(
        id: UpstreamId,
        access: &Access,
        terms: Terms,
        priority: i64,
        learned: Learned,
    ) -> Self {
        let header = |(name, value): (&String, &String)| (name.clone(), Zeroizing::new(value.clone()));
        let headers = access.headers.iter().map(header).collect();
        Self { id, url: access.url.clone(), headers, terms, priority, learned }
    }

    /// Checks that it can be used at all. The error is for the operator who wrote it.
    pub(crate) fn check(&self) -> Result<(), OutboundError> {
        self.parse().map(drop)
    }

    fn parse(&self) -> Result<(Url, HeaderMap), OutboundError> {
        let url = parse_url(&self.url, Reach::Any)?;
        Ok((url, request::secret_headers(&self.headers)?))
    }
}

/// Outcome of a whole scan against an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good {
        head: u64,
    },
    Bad(String),
    WrongNetwork,
    RateLimited {
        ms: u32,
    },
    /// It answered, but knows less than is already known.
    Behind,
    /// It answered about the past. That says nothing about how well it reads on.
    Past,
    /// It was asked about the past and could not answer, for this reason; which says no more.
    PastUnanswered(String),
}

/// No upstream can be asked now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", match .retry_ms {
    None => "the network has no upstream; configure one".to_owned(),
    Some(ms) => format!("no upstream of the network is usable for another {ms} ms"),
})]
pub(crate) struct NoUpstream {
    /// Time until the next try, milliseconds; `None` if the network has no upstream.
    pub(crate) retry_ms: Option<u64>,
}

/// An upstream as people may see it.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamStatus {
    pub(crate) id: UpstreamId,
    pub(crate) state: UpstreamState,
    /// Time at which it is asked again, if it rests.
    pub(crate) retry_at: Option<Millis>,
    pub(crate) head: Option<u64>,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    /// Number of calls since 00:00 UTC.
    pub(crate) calls_today: u64,
    /// Calls a second that it was seen to take, in thousandths; `None` for the operator's limit.
    pub(crate) pace_milli: Option<u32>,
    /// The plugin's notes.
    pub(crate) notes: String,
    pub(crate) last_error: Option<String>,
    pub(crate) last_error_at: Option<Millis>,
}

/// One provider of one network.
pub(crate) struct Upstream {
    pub(crate) id: UpstreamId,
    network: String,
    url: Url,
    headers: HeaderMap,
    terms: Terms,
    priority: i64,
    outbound: Outbound,
    clock: Clock,
    /// Survives changes of the configuration.
    record: Arc<Record>,
}

#[derive(Default)]
struct Record {
    health: Mutex<Health>,
    allowance: Mutex<Allowance>,
    /// The plugin's notes.
    notes: Mutex<String>,
    /// The facts last stored in the database, and the time of that.
    kept: Mutex<(Learned, Millis)>,
    requests: AtomicU64,
    errors: AtomicU64,
}

/// Locks a mutex. Each holds a plain value, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All upstreams of all networks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Upstreams {
    outbound: Outbound,
    clock: Clock,
    /// By network, in the order of priority.
    networks: Arc<RwLock<HashMap<String, Vec<Arc<Upstream>>>>>,
}

impl Upstreams {
    pub(crate) fn new(outbound: Outbound, clock: Clock) -> Self {
        Self { outbound, clock, networks: Arc::default() }
    }

    /// Configures the upstreams of a network. One with unchanged URL and headers keeps its health; calls under way end
    /// on the upstream that they picked. An unusable one is left out, with a line in the log.
    pub(crate) fn set(&self, network: &str, specs: Vec<UpstreamSpec>) {
        let before = self.of(network);
        let mut after: Vec<Arc<Upstream>> = Vec::with_capacity(specs.len());
        for spec in specs {
            match spec.parse() {
                Ok((url, headers)) => {
                    let record = before
                        .iter()
                        .find(|old| old.id == spec.id && old.url == url && old.headers == headers)
                        .map_or_else(|| Arc::new(Record::of(&spec.learned)), |old| old.record.clone());
                    after.push(Arc::new(Upstream {
                        id: spec.id,
                        network: network.to_owned(),
                        url,
                        headers,
                        terms: spec.terms,
                        priority: spec.priority,
                        outbound: self.outbound.clone(),
                        clock: self.clock.clone(),
                        record,
                    }));
                }
                Err(error) => {
                    tracing::warn!(network, upstream = spec.id.as_str(), %error, "upstream left out");
                }
            }
        }
        after.sort_by(|a, b| (a.priority, &a.id).cmp(&(b.priority, &b.id)));
        let mut networks = self.networks.write().unwrap_or_else(PoisonError::into_inner);
        networks.insert(network.to_owned(), after);
    }

    fn of(&self, network: &str) -> Vec<Arc<Upstream>> {
        let networks = self.networks.read().unwrap_or_else(PoisonError::into_inner);
        networks.get(network).cloned().unwrap_or_default()
    }

    /// Picks the upstream to ask. Among those that are ready or due for a probe, fresh ones come before ones that are
    /// behind, then the lowest priority number, then ready ones before due ones. Those whose ids are in `passed_over`
    /// are not asked.
    ///
    /// # Errors
    /// If all rest, or there is none. The error has the time until the next try.
    pub(crate) fn pick(
        &self,
        network: &str,
        passed_over: &[UpstreamId],
    ) -> Result<Arc<Upstream>, NoUpstream> {
        let now = self.clock.now();
        let upstreams = self.of(network);
        let mut next_at: Option<Millis> = None;
        let best = upstreams
            .iter()
            .filter(|upstream| !passed_over.contains(&upstream.id))
            .filter_map(|upstream| match lock(&upstream.record.health).standing(now) {
                Readiness::Ready { behind } => Some((behind, upstream.priority, false, upstream)),
                Readiness::Due { behind } => Some((behind, upstream.priority, true, upstream)),
                Readiness::Resting { until } => {
                    next_at = Some(next_at.map_or(until, |next| next.min(until)));
                    None
                }
            })
            .min_by_key(|(behind, priority, due, _)| (*behind, *priority, *due));
        match best {
            Some((_, _, due, upstream)) => {
                if due {
                    lock(&upstream.record.health).begin_probe(now);
                }
                Ok(upstream.clone())
            }
            None => Err(NoUpstream { retry_ms: next_at.map(|at| (at - now).unsigned_abs()) }),
        }
    }

    /// Records the verdict of a scan against this upstream. Unknown ones (removed in the meantime) are ignored.
    pub(crate) fn report(&self, network: &str, id: &UpstreamId, verdict: Verdict) {
        let now = self.clock.now();
        let upstreams = self.of(network);
        let best_head = upstreams.iter().filter_map(|upstream| lock(&upstream.record.health).head).max();
        if let Some(upstream) = upstreams.iter().find(|upstream| upstream.id == *id) {
            if let Verdict::Bad(why) = &verdict {
                tracing::warn!(
                    network,
                    upstream = id.as_str(),
                    origin = upstream.origin(),
                    why,
                    "upstream failed"
                );
            }
            if matches!(verdict, Verdict::Good { .. }) {
                lock(&upstream.record.allowance).held(upstream.terms, now);
            }
            lock(&upstream.record.health).record(verdict, best_head.unwrap_or(0), now);
        }
    }

    /// The provider of an upstream (see [`Upstream::provider`]).
    pub(crate) fn provider(&self, network: &str, id: &UpstreamId) -> Option<String> {
        self.of(network).iter().find(|upstream| upstream.id == *id).map(|upstream| upstream.provider())
    }

    /// Ids of a provider's upstreams.
    pub(crate) fn of_provider(&self, network: &str, provider: &str) -> Vec<UpstreamId> {
        let all = self.of(network);
        let its = all.iter().filter(|upstream| upstream.provider() == provider);
        its.map(|upstream| upstream.id.clone()).collect()
    }

    pub(crate) fn providers(&self, network: &str) -> BTreeSet<String> {
        self.of(network).iter().map(|upstream| upstream.provider()).collect()
    }

    /// Status of the upstreams of a network, in the order of priority.
    pub(crate) fn status(&self, network: &str) -> Vec<UpstreamStatus> {
        let now = self.clock.now();
        self.of(network).iter().map(|upstream| upstream.status(now)).collect()
    }
}

impl Upstream {
    /// Scheme, host and port: the part of the URL that may be shown.
    fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The provider: the last two labels of its host's name, or the whole host and port if it has fewer. So two keys of
    /// one provider are one provider; two names of one provider are not recognised.
    fn provider(&self) -> String {
        match self.url.domain().map(|name| name.trim_end_matches('.').rsplitn(3, '.').collect::<Vec<_>>()) {
            Some(labels) if labels.len() > 1 => {
                labels.into_iter().take(2).rev().collect::<Vec<_>>().join(".")
            }
            _ => {
                let host = self.url.host_str().unwrap_or_default();
                self.url.port_or_known_default().map_or(host.to_owned(), |port| format!("{host}:{port}"))
            }
        }
    }

    fn status(&self, now: Millis) -> UpstreamStatus {
        let learned = self.record.learned();
        let health = lock(&self.record.health);
        let (state, retry_at) = health.state(now);
        UpstreamStatus {
            id: self.id.clone(),
            state,
            retry_at,
            head: health.head,
            requests: self.record.requests.load(Ordering::Relaxed),
            errors: self.record.errors.load(Ordering::Relaxed),
            calls_today: learned.calls_on(now),
            pace_milli: learned.pace_milli(),
            notes: learned.notes,
            last_error: health.last_error.as_ref().map(|(why, _)| why.clone()),
            last_error_at: health.last_error.as_ref().map(|(_, at)| *at),
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("id", &self.id)
            .field("origin", &self.origin())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
