//! JSON that belongs to somebody else, kept as the very text that came.
//!
//! A number that fits no float, the zeros of 1.10 and the order of keys mean something to whoever wrote them; read into
//! values and written again they are lost without a word. It is checked where it comes in, like every body.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

/// A JSON value as text. Values are equal if they are written alike.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Verbatim(Box<RawValue>);

impl Verbatim {
    /// Takes a text that is one JSON value. Errors if it is not JSON.
    pub fn of_text(text: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text).map(Self)
    }

    /// Writes a value of ours; `null` if JSON cannot express it.
    #[must_use]
    pub fn of(written: &impl Serialize) -> Self {
        Self(to_raw_value(written).unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }

    #[must_use]
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Parses the text, to look into it. Values may lose digits, so they are never stored.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(self.text()).unwrap_or_default()
    }
}

impl fmt::Debug for Verbatim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl PartialEq for Verbatim {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Verbatim {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_values_would_change_stays() {
        let text = r#"{"z":18446744073709551616, "a":1.10,"e":1e2,"u":"\u00e9"}"#;
        let kept: Verbatim = serde_json::from_str(text).unwrap();
        assert_eq!(kept.text(), text);
        assert_eq!(serde_json::to_string(&Some(&kept)).unwrap(), text);
        assert_ne!(kept, Verbatim::of(&kept.value()));
        assert_eq!(Verbatim::of_text(text.to_owned()).unwrap(), kept);
        assert!(Verbatim::of_text("{".to_owned()).is_err());
    }
}
