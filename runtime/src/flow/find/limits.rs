//! Limits on finds, and recent answers. Each process has its own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::outcome::{Denied, Whereabouts};
use crate::domain::{Millis, id::MerchantId};

/// Maximum number of a merchant's finds that run at once.
const AT_ONCE: u32 = 2;
/// Maximum number of finds of all merchants that run at once.
const AT_ONCE_ALL: u32 = 8;
/// Capacity of a merchant's bucket of finds, and the time in which one comes back.
const STORE: i64 = 10;
const BACK_MS: Millis = 6_000;
/// Time for which an answer is reused, milliseconds.
const GOOD_MS: Millis = 5_000;
/// Maximum number of merchants and of answers remembered before old ones are forgotten.
const KEPT_MAX: usize = 1_000;

/// Limits and recent answers of this process's finds. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Finds(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    merchants: HashMap<MerchantId, Merchant>,
    going: u32,
    /// Answers by network and transaction (as it was written), each with the time until which it is good.
    answers: HashMap<(String, String), (Millis, Whereabouts)>,
}

/// A token bucket, kept as the time at which it is full again.
#[derive(Debug, Default)]
struct Merchant {
    full_at: Millis,
    going: u32,
}

/// A find that is under way.
pub(super) struct Going {
    finds: Finds,
    merchant_id: MerchantId,
}

impl Drop for Going {
    fn drop(&mut self) {
        let mut state = self.finds.lock();
        state.going = state.going.saturating_sub(1);
        if let Some(merchant) = state.merchants.get_mut(&self.merchant_id) {
            merchant.going = merchant.going.saturating_sub(1);
        }
    }
}

/// Times are [`crate::clock::Clock::passed`].
impl Finds {
    /// The answer to the same question of the last seconds, if there is one.
    pub(super) fn known(&self, network: &str, tx: &str, now: Millis) -> Option<Whereabouts> {
        let state = self.lock();
        let (good_to, found) = state.answers.get(&(network.to_owned(), tx.to_owned()))?;
        (now < *good_to).then(|| found.clone())
    }

    pub(super) fn learn(&self, network: &str, tx: &str, found: Whereabouts, now: Millis) {
        let mut state = self.lock();
        if state.answers.len() >= KEPT_MAX {
            state.answers.retain(|_, (good_to, _)| now < *good_to);
        }
        if state.answers.len() < KEPT_MAX {
            state.answers.insert((network.to_owned(), tx.to_owned()), (now + GOOD_MS, found));
        }
    }

    /// Takes one of the merchant's finds. It counts as under way until the returned value is dropped.
    pub(super) fn begin(&self, merchant_id: &MerchantId, now: Millis) -> Result<Going, Denied> {
        let mut state = self.lock();
        if state.going >= AT_ONCE_ALL {
            return Err(Denied::Busy);
        }
        if state.merchants.len() >= KEPT_MAX {
            state.merchants.retain(|_, one| one.going > 0 || one.full_at > now);
        }
        let merchant = state.merchants.entry(merchant_id.clone()).or_default();
        if merchant.going >= AT_ONCE {
            return Err(Denied::Limited { retry_s: 1 });
        }
        let full_at = merchant.full_at.max(now) + BACK_MS;
        let wait_ms = full_at - now - STORE * BACK_MS;
        if wait_ms > 0 {
            return Err(Denied::Limited { retry_s: u64::try_from((wait_ms + 999) / 1000).unwrap_or(1) });
        }
        merchant.full_at = full_at;
        merchant.going += 1;
        state.going += 1;
        drop(state);
        Ok(Going { finds: self.clone(), merchant_id: merchant_id.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(finds: &Finds, merchant: &MerchantId, now: Millis) -> Option<u64> {
        match finds.begin(merchant, now) {
            Ok(_) => None,
            Err(Denied::Limited { retry_s }) => Some(retry_s),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_merchant_has_some_and_then_one_now_and_then() {
        let finds = Finds::default();
        for _ in 0..STORE {
            assert_eq!(limited(&finds, &"a".into(), 1_000), None);
        }
        assert_eq!(limited(&finds, &"a".into(), 1_000), Some(6));
        assert_eq!(limited(&finds, &"a".into(), 6_999), Some(1));
        assert_eq!(limited(&finds, &"b".into(), 1_000), None, "each merchant has its own");
        assert_eq!(limited(&finds, &"a".into(), 7_000), None);
        assert_eq!(limited(&finds, &"a".into(), 7_000), Some(6));
        // Refusals cost nothing, and after a minute all are back.
        assert!((0..1_000).all(|_| limited(&finds, &"a".into(), 7_000).is_some()));
        assert_eq!((0..20).filter(|_| limited(&finds, &"a".into(), 100_000).is_none()).count(), 10);
    }

    #[test]
    fn few_run_at_once() {
        let finds = Finds::default();
        let first: Vec<_> = (0..AT_ONCE).map(|_| finds.begin(&"a".into(), 0).ok().unwrap()).collect();
        assert_eq!(limited(&finds, &"a".into(), 0), Some(1));
        let others: Vec<_> = (AT_ONCE..AT_ONCE_ALL)
            .map(|number| finds.begin(&format!("m{number}").as_str().into(), 0).ok().unwrap())
            .collect();
        assert!(matches!(finds.begin(&"z".into(), 0), Err(Denied::Busy)));
        drop(others);
        assert_eq!(limited(&finds, &"z".into(), 0), None);
        drop(first);
        assert_eq!(limited(&finds, &"a".into(), 0), None);
    }

    #[test]
    fn an_answer_is_good_for_some_seconds_for_whoever_asks() {
        let finds = Finds::default();
        finds.learn("base", "0xab", Whereabouts::Unread { height: 7 }, 1_000);
        assert_eq!(finds.known("base", "0xab", 5_999), Some(Whereabouts::Unread { height: 7 }));
        assert_eq!(finds.known("base", "0xab", 6_000), None);
        assert_eq!(finds.known("bsc", "0xab", 1_000), None);
        assert_eq!(finds.known("base", "0xac", 1_000), None);
    }

    #[test]
    fn memory_is_bounded() {
        let finds = Finds::default();
        for number in 0..3_000 {
            finds.learn("base", &number.to_string(), Whereabouts::Nowhere, number);
            let _ = finds.begin(&number.to_string().as_str().into(), number * BACK_MS);
        }
        let state = finds.lock();
        assert!(state.answers.len() <= KEPT_MAX && state.merchants.len() <= KEPT_MAX);
    }
}
