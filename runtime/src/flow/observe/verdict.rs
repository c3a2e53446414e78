//! Verdict on an upstream, from the outcome of a scan.

use super::{ObserveError, Watcher};
use crate::{domain::id::UpstreamId, host::ScanError, upstreams::Verdict};

impl Watcher {
    pub(super) fn scan_failed(&self, upstream: Option<UpstreamId>, error: ScanError) -> ObserveError {
        let (verdict, why) = match error {
            ScanError::RateLimited(ms) => {
                (Verdict::RateLimited { ms }, format!("it wants to be left alone for {ms} ms"))
            }
            ScanError::WrongNetwork(id) => {
                (Verdict::WrongNetwork, format!("it serves chain {id}, not {}", self.network.chain_id()))
            }
            ScanError::Behind(head) => (Verdict::Behind, format!("its head {head} is behind what was read")),
            ScanError::Upstream(why) | ScanError::Other(why) => (Verdict::Bad(why.clone()), why),
            ScanError::Malformed(why) => (Verdict::Bad(why.clone()), format!("contradictory answer: {why}")),
            // Not the upstream's fault.
            ScanError::Settings(why) => {
                return ObserveError::Plugin(format!("settings of the network: {why}"));
            }
        };
        self.bad(upstream, verdict, &why)
    }

    pub(super) fn report(&self, upstream: Option<UpstreamId>, verdict: Verdict) {
        if let Some(upstream) = upstream {
            self.app.upstreams.report(&self.network.name, &upstream, verdict);
        }
    }

    pub(super) fn bad(&self, upstream: Option<UpstreamId>, verdict: Verdict, why: &str) -> ObserveError {
        self.report(upstream, verdict);
        ObserveError::Upstream(why.to_owned())
    }
}
