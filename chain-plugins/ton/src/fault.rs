//! What goes wrong while reading.

use kassa_sdk::chain::ScanError;
use kassa_sdk::upstream;

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
        Self::Scan(upstream::failed(why))
    }

    pub(crate) fn malformed(why: impl AsRef<str>) -> Self {
        Self::Scan(upstream::malformed(why))
    }

    /// The answer is sound by itself but does not fit to another one.
    pub(crate) fn lags(what: impl AsRef<str>) -> Self {
        Self::upstream(format!("{}: the index lags", what.as_ref()))
    }

    pub(crate) fn into_scan_error(self) -> ScanError {
        match self {
            Self::Scan(error) => error,
            Self::Budget(why) => upstream::failed(format!("budget: {why}")),
        }
    }
}
