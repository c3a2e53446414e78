//! Ids: a prefix that says what it is, and 26 characters that sort by time (`inv_01K…`).
//!
//! 48 bits of milliseconds and 80 random bits, as a ULID writes them (Crockford's base 32). Within one process
//! ids never go back, so that rows made in order are listed in order.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::Millis;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const BODY_LEN: usize = 26;

/// The kind of thing that an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    ApiKey,
    Attempt,
    Correction,
    Delivery,
    Endpoint,
    Event,
    ExtendedKey,
    Hook,
    HookMatch,
    HookRun,
    HookSecret,
    HookVersion,
    Invoice,
    Journal,
    Merchant,
    Payment,
    PluginVersion,
    ReceiveAddress,
    Request,
    Rescan,
    Transfer,
    Upstream,
}

impl Kind {
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::ApiKey => "key_",
            Self::Attempt => "att_",
            Self::Correction => "cor_",
            Self::Delivery => "dlv_",
            Self::Endpoint => "ep_",
            Self::Event => "evt_",
            Self::ExtendedKey => "xpk_",
            Self::Hook => "hook_",
            Self::HookMatch => "mat_",
            Self::HookRun => "run_",
            Self::HookSecret => "sec_",
            Self::HookVersion => "hkv_",
            Self::Invoice => "inv_",
            Self::Journal => "jrn_",
            Self::Merchant => "mer_",
            Self::Payment => "pay_",
            Self::PluginVersion => "plv_",
            Self::ReceiveAddress => "adr_",
            Self::Request => "req_",
            Self::Rescan => "rsc_",
            Self::Transfer => "trf_",
            Self::Upstream => "ups_",
        }
    }

    /// True if `text` has the shape of an id of this kind; anything else is not looked up.
    #[must_use]
    pub fn accepts(self, text: &str) -> bool {
        text.strip_prefix(self.prefix())
            .is_some_and(|body| body.len() == BODY_LEN && body.bytes().all(|byte| ALPHABET.contains(&byte)))
    }
}

/// The source of ids and of other random numbers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ids(Arc<Mutex<Source>>);

#[derive(Debug, Default)]
struct Source {
    /// Bits of the last id. The next id is greater, even within a millisecond or after the clock was set back.
    last: u128,
    /// State of the deterministic generator; `None` for the system's.
    seeded: Option<u64>,
}

impl Source {
    fn random(&mut self) -> u128 {
        let Some(state) = &mut self.seeded else {
            let mut random = [0u8; 16];
            // The system's generator fails only before the machine has any entropy; time alone still gives an id
            // that is unique within the process.
            let _ = getrandom::fill(&mut random);
            return u128::from_be_bytes(random);
        };
        u128::from(splitmix(state)) << 64 | u128::from(splitmix(state))
    }
}

/// SplitMix64: the next number of a sequence that its seed decides (Steele, Lea and Flood, 2014).
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

impl Ids {
    /// Returns the source that this process shares.
    #[must_use]
    pub fn of_process() -> Self {
        static PROCESS: LazyLock<Ids> = LazyLock::new(|| Ids(Arc::default()));
        PROCESS.clone()
    }

    /// Makes a source that yields the same sequence for the same seed, for simulations.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Source { last: 0, seeded: Some(seed) })))
    }

    /// Makes a new id.
    #[must_use]
    pub fn next(&self, kind: Kind, now: Millis) -> String {
        let mut source = self.lock();
        let time = u128::from(now.unsigned_abs() & 0xFFFF_FFFF_FFFF) << 80;
        let mut bits = time | source.random() >> 48;
        if bits <= source.last {
            bits = source.last.wrapping_add(1);
        }
        source.last = bits;
        render(kind, bits)
    }

    /// Two numbers that nobody can guess, unless the source is seeded.
    #[must_use]
    pub fn random(&self) -> [u32; 2] {
        let [.., a, b, c, d, e, f, g, h] = self.lock().random().to_be_bytes();
        [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])]
    }

    fn lock(&self) -> MutexGuard<'_, Source> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a new id from this process's source.
#[must_use]
pub fn new(kind: Kind, now: Millis) -> String {
    Ids::of_process().next(kind, now)
}

/// The least id that can have been made at this time: the start of a range of time.
#[must_use]
pub fn first_at(kind: Kind, at: Millis) -> String {
    render(kind, u128::from(at.clamp(0, 0xFFFF_FFFF_FFFF).unsigned_abs()) << 80)
}

/// Time at which the thing with this id was made, as the id says; [`Millis::MAX`] if `id` is not an id.
#[must_use]
pub fn made_at(id: &str) -> Millis {
    let body = id.rsplit('_').next().unwrap_or_default();
    let digit = |byte: u8| ALPHABET.iter().position(|digit| *digit == byte);
    let digits: Option<Vec<usize>> = body.bytes().map(digit).collect();
    let Some(digits) = digits.filter(|digits| digits.len() == BODY_LEN) else { return Millis::MAX };
    let bits = digits.into_iter().fold(0_u128, |bits, digit| bits << 5 | u128::try_from(digit).unwrap_or(0));
    Millis::try_from(bits >> 80).unwrap_or(Millis::MAX)
}

fn render(kind: Kind, bits: u128) -> String {
    let mut text = String::with_capacity(kind.prefix().len() + BODY_LEN);
    text.push_str(kind.prefix());
    for place in (0..BODY_LEN).rev() {
        let index = usize::try_from((bits >> (place * 5)) & 31).unwrap_or(0);
        text.push(char::from(ALPHABET[index]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_process_ascend_even_when_the_clock_goes_back() {
        let ids: Vec<String> = (0..2000).map(|i| new(Kind::Invoice, 1_800_000_000_000 - i)).collect();
        assert!(ids.is_sorted());
        assert!(ids.iter().all(|id| Kind::Invoice.accepts(id)));
    }

    #[test]
    fn a_seed_says_all() {
        let ids = |seed| {
            let ids = Ids::seeded(seed);
            (0..9).map(|i| (ids.next(Kind::Event, i), ids.random())).collect::<Vec<_>>()
        };
        assert_eq!(ids(1), ids(1));
        assert_ne!(ids(1), ids(2));
        assert_ne!(Ids::of_process().random(), Ids::of_process().random());
    }

    #[test]
    fn a_range_of_time_is_a_range_of_ids() {
        let at = 1_900_000_000_000;
        let id = new(Kind::Delivery, at);
        assert!(first_at(Kind::Delivery, at) <= id && id < first_at(Kind::Delivery, at + 1));
        assert_eq!((made_at(&id), made_at(&first_at(Kind::Event, 7))), (at, 7));
        assert_eq!((made_at("dlv_x"), made_at("")), (Millis::MAX, Millis::MAX));
        assert_eq!(first_at(Kind::Delivery, -1), first_at(Kind::Delivery, 0));
        assert!(Kind::Delivery.accepts(&first_at(Kind::Delivery, i64::MAX)));
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in [
            "",
            "inv_",
            "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "inv_01ARZ3NDEKTSV4RRFFQ69G5FA'",
            "inv_01arz3ndektsv4rrffq69g5fav",
        ] {
            assert!(!Kind::Invoice.accepts(text), "{text}");
        }
        assert!(Kind::Invoice.accepts("inv_01ARZ3NDEKTSV4RRFFQ69G5FAV"));
    }
}
