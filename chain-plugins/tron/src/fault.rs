//! What goes wrong with nodes and with the providers before them, and how it is told from each other.

use kassa_sdk::chain::ScanError;

/// Longest text of a provider that is passed on.
const TEXT_MAX: usize = 160;
/// What is used of a wait that a provider asks for, in seconds.
const WAIT_MAX_S: u32 = 60;
/// To be asked again after a second where the provider does not say when.
const RATE_LIMITED_MS: u32 = 1_000;

pub(crate) fn upstream(why: impl AsRef<str>) -> ScanError {
    ScanError::Upstream(clean(why.as_ref()))
}

pub(crate) fn malformed(why: impl AsRef<str>) -> ScanError {
    ScanError::Malformed(clean(why.as_ref()))
}

/// The answer is sound by itself but does not fit to another one.
pub(crate) fn lags(what: impl AsRef<str>) -> ScanError {
    upstream(format!("{}: a backend lags or the chain moved", what.as_ref()))
}

/// The wait that a text asks for, if it speaks of too many requests. TronGrid: "request rate exceeded the
/// allowed_rps(10), and the query server is suspended for 5 s", "Exceed the user daily usage (100000), …".
/// java-tron: "lack of computing resources".
pub(crate) fn rate_limit_ms(text: &str) -> Option<u32> {
    const WORDS: [&str; 8] = [
        "rate exceeded",
        "rate limit",
        "daily usage",
        "query frequency",
        "too many requests",
        "lack of computing",
        "allowed_rps",
        "suspended for",
    ];
    let text = text.to_ascii_lowercase();
    if !WORDS.iter().any(|word| text.contains(word)) {
        return None;
    }
    let digits = |text: &str| {
        let rest = text.trim_start();
        rest.split(|char: char| !char.is_ascii_digit()).next().unwrap_or_default().to_owned()
    };
    let seconds = text.split_once("suspended for").map(|(_, rest)| digits(rest));
    Some(retry_after_ms(seconds.as_deref()))
}

/// `Retry-After` in milliseconds. Its other form, a date, is not worth a calendar.
pub(crate) fn retry_after_ms(header: Option<&str>) -> u32 {
    let seconds = header.and_then(|text| text.trim().parse::<u32>().ok());
    seconds.map_or(RATE_LIMITED_MS, |seconds| seconds.clamp(1, WAIT_MAX_S).saturating_mul(1_000))
}

/// Text of strangers, fit for a log line.
fn clean(text: &str) -> String {
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
    fn the_words_of_rate_limits() {
        for (text, ms) in [
            ("request rate exceeded the allowed_rps(10), and the query server is suspended for 5 s", 5_000),
            ("suspended for 30s", 30_000),
            ("suspended for 86400 s", 60_000),
            ("suspended for a while", 1_000),
            ("Exceed the user daily usage (100000), the maximum query frequency is 1 time per second", 1_000),
            ("class java.lang.IllegalAccessException : lack of computing resources", 1_000),
        ] {
            assert_eq!(rate_limit_ms(text), Some(ms), "{text}");
        }
        for text in ["", "class java.lang.NullPointerException : null", "Forbidden"] {
            assert_eq!(rate_limit_ms(text), None, "{text}");
        }
    }

    #[test]
    fn retry_after_is_bounded() {
        assert_eq!(retry_after_ms(None), 1_000);
        assert_eq!(retry_after_ms(Some(" 7 ")), 7_000);
        assert_eq!(retry_after_ms(Some("0")), 1_000);
        assert_eq!(retry_after_ms(Some("86400")), 60_000);
        assert_eq!(retry_after_ms(Some("Wed, 21 Oct 2026 07:28:00 GMT")), 1_000);
    }

    #[test]
    fn strangers_texts_are_cut_and_cleaned() {
        assert_eq!(clean("a\nb\u{1b}[31mc\u{202e}"), "a b [31mc");
        assert_eq!(clean(&"x".repeat(1_000)).len(), 160);
    }
}
