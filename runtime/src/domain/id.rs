//! Ids: a prefix that says what it is, and 26 characters that sort by time (`inv_01K…`).
//!
//! 48 bits of milliseconds and 80 random bits, as a ULID writes them (Crockford's base 32). Within one process
//! ids never go back, so that rows made in order are listed in order.

use std::{
    fmt,
    hash::Hash,
    str::FromStr,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Millis;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const BODY_LEN: usize = 26;
/// Latest time that an id has room for.
const TIME_MAX: Millis = 0xFFFF_FFFF_FFFF;

/// Calls a macro with all types of ids and their prefixes.
macro_rules! ids {
    ($do:ident) => {
        $do! {
            /// Names an API key, of a merchant or an operator.
            ApiKeyId = "key_",
            /// Names a receive address.
            AddressId = "adr_",
            /// Names what a person decided.
            CorrectionId = "cor_",
            /// Names an event that is owed to an endpoint.
            DeliveryId = "dlv_",
            /// Names a merchant's URL.
            EndpointId = "ep_",
            /// Names an event.
            EventId = "evt_",
            /// Names an extended public key.
            ExtendedKeyId = "xpk_",
            /// Names a merchant's plugin.
            HookId = "hook_",
            /// Names a question to a matcher.
            HookMatchId = "mat_",
            /// Names an event that is owed to a hook.
            HookRunId = "run_",
            /// Names a secret of a hook.
            HookSecretId = "sec_",
            /// Names a version of a hook.
            HookVersionId = "hkv_",
            /// Names an invoice.
            InvoiceId = "inv_",
            /// Names entries of the ledger that balance to zero.
            JournalId = "jrn_",
            /// Names a merchant.
            MerchantId = "mer_",
            /// Names what a transfer pays of one invoice.
            PaymentId = "pay_",
            /// Names a version of a chain plugin.
            PluginVersionId = "plv_",
            /// Names a request to the API, and a process among its replicas.
            RequestId = "req_",
            /// Names a range of blocks that is read again.
            RescanId = "rsc_",
            /// Names a movement on chain.
            TransferId = "trf_",
            /// Names an RPC provider of a network.
            UpstreamId = "ups_",
        }
    };
}
pub(crate) use ids;

/// An id of one kind of thing.
pub trait Id: Clone + Eq + Ord + Hash + fmt::Debug + fmt::Display + FromStr<Err = NoId> {
    /// What all ids of this kind begin with.
    const PREFIX: &'static str;

    /// Takes the text of a row, which was an id when it was written. Errors if it begins like one of another kind.
    fn stored(text: &str) -> Result<Self, NoId>;

    /// Makes an id of these last 26 characters.
    fn of_body(body: &str) -> Self;

    fn as_str(&self) -> &str;

    /// The least id that can have been made at this time: the start of a range of time.
    #[must_use]
    fn first_at(at: Millis) -> Self {
        Self::of_body(&body(u128::from(at.clamp(0, TIME_MAX).unsigned_abs()) << 80))
    }

    /// An id not less than any of this kind, in any collation: `Z` is the last letter of the alphabet of ids.
    #[must_use]
    fn greatest() -> Self {
        Self::of_body(&"Z".repeat(BODY_LEN))
    }

    /// Time at which the thing with this id was made, as the id says; [`Millis::MAX`] if it says none.
    fn made_at(&self) -> Millis {
        time_of(self.as_str())
    }
}

/// A text that is no id of the kind that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no id that begins with {prefix}")]
pub struct NoId {
    pub prefix: &'static str,
}

macro_rules! define {
    ($($(#[$meta:meta])* $name:ident = $prefix:literal,)*) => { $(
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl Id for $name {
            const PREFIX: &'static str = $prefix;

            fn stored(text: &str) -> Result<Self, NoId> {
                if text.starts_with($prefix) { Ok(Self(text.into())) } else { Err(NoId { prefix: $prefix }) }
            }

            fn of_body(body: &str) -> Self {
                Self([$prefix, body].concat().into())
            }

            fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl $name {
            /// Makes a new id from this process's source.
            #[must_use]
            pub fn new(now: Millis) -> Self {
                Ids::of_process().next(now)
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        /// Takes texts with the shape of an id of this kind; anything else is not looked up.
        impl FromStr for $name {
            type Err = NoId;

            fn from_str(text: &str) -> Result<Self, NoId> {
                if has_shape($prefix, text) { Ok(Self(text.into())) } else { Err(NoId { prefix: $prefix }) }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        /// For tests, whose ids may be short.
        #[cfg(test)]
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        #[cfg(test)]
        impl PartialEq<&str> for $name {
            fn eq(&self, text: &&str) -> bool {
                self.as_str() == *text
            }
        }
    )* };
}
ids!(define);

fn has_shape(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|body| body.len() == BODY_LEN && body.bytes().all(|byte| ALPHABET.contains(&byte)))
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
    pub fn next<I: Id>(&self, now: Millis) -> I {
        I::of_body(&body(self.next_bits(now)))
    }

    fn next_bits(&self, now: Millis) -> u128 {
        let mut source = self.lock();
        let time = u128::from(now.unsigned_abs() & 0xFFFF_FFFF_FFFF) << 80;
        let mut bits = time | source.random() >> 48;
        if bits <= source.last {
            bits = source.last.wrapping_add(1);
        }
        source.last = bits;
        bits
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

fn time_of(text: &str) -> Millis {
    let body = text.rsplit('_').next().unwrap_or_default();
    let digit = |byte: u8| ALPHABET.iter().position(|digit| *digit == byte);
    let digits: Option<Vec<usize>> = body.bytes().map(digit).collect();
    let Some(digits) = digits.filter(|digits| digits.len() == BODY_LEN) else { return Millis::MAX };
    let bits = digits.into_iter().fold(0_u128, |bits, digit| bits << 5 | u128::try_from(digit).unwrap_or(0));
    Millis::try_from(bits >> 80).unwrap_or(Millis::MAX)
}

/// Writes the bits of an id, as Crockford's base 32.
fn body(bits: u128) -> String {
    let digit = |place: usize| usize::try_from((bits >> (place * 5)) & 31).unwrap_or(0);
    (0..BODY_LEN).rev().map(|place| char::from(ALPHABET[digit(place)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_process_ascend_even_when_the_clock_goes_back() {
        let ids: Vec<InvoiceId> = (0..2000).map(|i| InvoiceId::new(1_800_000_000_000 - i)).collect();
        assert!(ids.is_sorted());
        assert!(ids.iter().all(|id| id.as_str().parse() == Ok(id.clone())));
    }

    #[test]
    fn a_seed_says_all() {
        let ids = |seed| {
            let ids = Ids::seeded(seed);
            (0..9).map(|i| (ids.next::<EventId>(i), ids.random())).collect::<Vec<_>>()
        };
        assert_eq!(ids(1), ids(1));
        assert_ne!(ids(1), ids(2));
        assert_ne!(Ids::of_process().random(), Ids::of_process().random());
    }

    #[test]
    fn a_range_of_time_is_a_range_of_ids() {
        let at = 1_900_000_000_000;
        let id = DeliveryId::new(at);
        assert!(DeliveryId::first_at(at) <= id && id < DeliveryId::first_at(at + 1));
        assert!(DeliveryId::first_at(i64::MAX) <= DeliveryId::greatest());
        assert_eq!((id.made_at(), EventId::first_at(7).made_at()), (at, 7));
        assert_eq!(
            (DeliveryId::from("x").made_at(), DeliveryId::from("").made_at()),
            (Millis::MAX, Millis::MAX)
        );
        assert_eq!(DeliveryId::first_at(-1), DeliveryId::first_at(0));
        assert!(DeliveryId::first_at(i64::MAX).as_str().parse::<DeliveryId>().is_ok());
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
            assert_eq!(text.parse::<InvoiceId>(), Err(NoId { prefix: "inv_" }), "{text}");
        }
        let id: InvoiceId = "inv_01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), r#""inv_01ARZ3NDEKTSV4RRFFQ69G5FAV""#);
        assert_eq!(serde_json::from_str::<InvoiceId>(r#""inv_01ARZ3NDEKTSV4RRFFQ69G5FAV""#).unwrap(), id);
        assert!(serde_json::from_str::<EventId>(r#""inv_01ARZ3NDEKTSV4RRFFQ69G5FAV""#).is_err());
    }

    #[test]
    fn a_row_has_ids_of_the_kind_that_its_column_holds() {
        assert_eq!(InvoiceId::stored("inv_1").unwrap().as_str(), "inv_1");
        assert_eq!(EventId::stored("inv_1"), Err(NoId { prefix: "evt_" }));
    }
}
