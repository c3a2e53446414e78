//! Ids: a prefix that says what it is, and 26 characters that sort by time (`inv_01K…`).
//!
//! 48 bits of milliseconds and 80 random bits, as a ULID writes them (Crockford's base 32). Within one process
//! ids never go back, so that rows made in order are listed in order.

use std::sync::Mutex;

use super::Millis;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const BODY_LEN: usize = 26;

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    ApiKey,
    Attempt,
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
    Transfer,
    Upstream,
}

impl Kind {
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::ApiKey => "key_",
            Self::Attempt => "att_",
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
            Self::Transfer => "trf_",
            Self::Upstream => "ups_",
        }
    }

    /// Whether `text` could be an id of this kind: what is not, is not looked up.
    #[must_use]
    pub fn accepts(self, text: &str) -> bool {
        text.strip_prefix(self.prefix())
            .is_some_and(|body| body.len() == BODY_LEN && body.bytes().all(|byte| ALPHABET.contains(&byte)))
    }
}

/// The last id's bits: the next one is greater, even within a millisecond or when the clock goes back.
static LAST: Mutex<u128> = Mutex::new(0);

/// A new id.
#[must_use]
pub fn new(kind: Kind, now: Millis) -> String {
    let mut random = [0u8; 16];
    // The system's generator fails only before the machine has any entropy; time alone still gives an id
    // that is unique within the process.
    let _ = getrandom::fill(&mut random[6..]);
    let time = u128::from(now.unsigned_abs() & 0xFFFF_FFFF_FFFF) << 80;
    let mut bits = time | u128::from_be_bytes(random);
    {
        let mut last = LAST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if bits <= *last {
            bits = last.wrapping_add(1);
        }
        *last = bits;
    }
    render(kind, bits)
}

/// The least id that can have been made at this time: where a range of time begins.
#[must_use]
pub fn first_at(kind: Kind, at: Millis) -> String {
    render(kind, u128::from(at.clamp(0, 0xFFFF_FFFF_FFFF).unsigned_abs()) << 80)
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
    fn a_range_of_time_is_a_range_of_ids() {
        let at = 1_900_000_000_000;
        let id = new(Kind::Delivery, at);
        assert!(first_at(Kind::Delivery, at) <= id && id < first_at(Kind::Delivery, at + 1));
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
