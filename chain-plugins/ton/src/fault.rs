//! What goes wrong while reading.

use kassa_sdk::chain::ScanError;

/// Why a step of a scan did not succeed.
#[derive(Debug, PartialEq)]
pub(crate) enum Fault {
    /// This is the scan's answer.
    Scan(ScanError),
    /// The host's budget is used up, or an answer was larger than what is left of it: less may do.
    Budget(String),
}

impl Fault {
    pub(crate) fn upstream(why: impl AsRef<str>) -> Self {
        Self::Scan(ScanError::Upstream(clean(why.as_ref())))
    }

    pub(crate) fn malformed(why: impl AsRef<str>) -> Self {
        Self::Scan(ScanError::Malformed(clean(why.as_ref())))
    }

    /// The answer is sound by itself but does not fit to another one.
    pub(crate) fn lags(what: impl AsRef<str>) -> Self {
        Self::upstream(format!("{}: the index lags", what.as_ref()))
    }

    pub(crate) fn into_scan_error(self) -> ScanError {
        match self {
            Self::Scan(error) => error,
            Self::Budget(why) => ScanError::Upstream(clean(&format!("budget: {why}"))),
        }
    }
}

/// Longest text of a provider that is passed on.
const TEXT_MAX: usize = 160;

/// What is used of a `Retry-After`, in seconds.
const RETRY_AFTER_MAX_S: u32 = 60;

/// To be asked again after a second where the provider does not say when.
const RATE_LIMITED_MS: u32 = 1_000;

/// `Retry-After` in milliseconds. Its other form, a date, is not worth a calendar.
pub(crate) fn retry_after_ms(header: Option<&str>) -> u32 {
    let seconds = header.and_then(|text| text.trim().parse::<u32>().ok());
    seconds.map_or(RATE_LIMITED_MS, |seconds| seconds.clamp(1, RETRY_AFTER_MAX_S).saturating_mul(1_000))
}

/// Text of strangers, fit for a log line.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_ascii_graphic() || char == ' ' { char } else { ' ' })
        .take(TEXT_MAX)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_bounded() {
        assert_eq!(retry_after_ms(None), 1_000);
        assert_eq!(retry_after_ms(Some(" 7 ")), 7_000);
        assert_eq!(retry_after_ms(Some("0")), 1_000);
        assert_eq!(retry_after_ms(Some("86400")), 60_000);
        assert_eq!(retry_after_ms(Some("Wed, 21 Oct 2026 07:28:00 GMT")), 1_000);
        assert_eq!(retry_after_ms(Some("-5")), 1_000);
    }

    #[test]
    fn strangers_texts_are_cut_and_cleaned() {
        assert_eq!(clean("a\nb\u{1b}[31mc\u{202e}"), "a b [31mc");
        assert_eq!(clean(&"x".repeat(1_000)).len(), 160);
    }
}
