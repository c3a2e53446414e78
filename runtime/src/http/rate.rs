//! Rate limit of a key: a maximum number of requests in a window of ten seconds, counted by each process for itself.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::domain::{Millis, id::ApiKeyId};

const WINDOW_MS: Millis = 10_000;
const WINDOW_S: u64 = 10;
/// Number of windows in memory beyond which those that are over are dropped.
const WINDOWS_MAX: usize = 10_000;
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

#[derive(Default)]
pub(super) struct Rates {
    windows: Mutex<HashMap<ApiKeyId, Window>>,
}

struct Window {
    began: Millis,
    used: u32,
}

/// State of a key's limit after a request.
pub(super) struct Rate {
    pub(super) refused: bool,
    /// Seconds until the window is over.
    pub(super) reset_s: u64,
    limit: u32,
    left: u32,
}

impl Rates {
    /// Counts a request of this key.
    pub(super) fn take(&self, key_id: &ApiKeyId, limit: u32, now: Millis) -> Rate {
        let is_over = |window: &Window| !(0..WINDOW_MS).contains(&(now - window.began));
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= WINDOWS_MAX {
            windows.retain(|_, window| !is_over(window));
        }
        if windows.get(key_id).is_none_or(is_over) {
            windows.insert(key_id.clone(), Window { began: now, used: 0 });
        }
        let (began, used) = windows.get_mut(key_id).map_or((now, 0), |window| {
            window.used = window.used.saturating_add(1);
            (window.began, window.used)
        });
        let left_ms = (began + WINDOW_MS - now).max(0);
        let reset_s = u64::try_from((left_ms + 999) / 1000).unwrap_or(WINDOW_S);
        Rate { refused: used > limit, reset_s, limit, left: limit.saturating_sub(used) }
    }
}

impl Rate {
    /// Writes the `RateLimit` headers (draft-ietf-httpapi-ratelimit-headers).
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        let policy = format!("\"default\";q={};w={WINDOW_S}", self.limit);
        let limit = format!("\"default\";r={};t={}", self.left, self.reset_s);
        for (name, text) in [(POLICY, policy), (LIMIT, limit)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_and_keys_do_not_share_one() {
        let rates = Rates::default();
        assert!(!rates.take(&"a".into(), 2, 0).refused);
        assert_eq!(rates.take(&"a".into(), 2, 4_000).left, 0);
        let refused = rates.take(&"a".into(), 2, 4_001);
        assert!(refused.refused);
        assert_eq!(refused.reset_s, 6);
        assert!(!rates.take(&"b".into(), 2, 4_001).refused);
        assert!(!rates.take(&"a".into(), 2, 10_000).refused);
        // A clock that went back does not lock anyone out.
        assert!(!rates.take(&"a".into(), 1, 5_000).refused);
    }

    #[test]
    fn the_headers_read_as_the_draft_says() {
        let mut headers = HeaderMap::new();
        Rates::default().take(&"a".into(), 100, 0).tell(&mut headers);
        assert_eq!(headers[POLICY], "\"default\";q=100;w=10");
        assert_eq!(headers[LIMIT], "\"default\";r=99;t=10");
    }
}
