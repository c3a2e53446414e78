//! What was learned of an upstream, as it is kept over a restart.

use serde::{Deserialize, Serialize};

use super::{Day, Pace};
use crate::domain::Millis;

/// Facts learned about an upstream. All have defaults: unreadable ones count as not learned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Learned {
    /// Notes of its plugin.
    pub(crate) notes: String,
    pub(crate) pace: Option<Pace>,
    pub(crate) day: Day,
}

impl Learned {
    /// Reads the column's text.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    #[must_use]
    pub(crate) fn text(&self) -> String {
        // Numbers and one text: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(crate) fn calls_on(&self, now: Millis) -> u64 {
        self.day.at(now).calls
    }

    pub(crate) fn pace_milli(&self) -> Option<u32> {
        self.pace.map(|pace| pace.milli)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::allowance::{Allowance, Terms};

    #[test]
    fn what_cannot_be_read_was_not_learned() {
        let terms = Terms { calls_per_s: 10, calls_per_day: None };
        let mut allowance = Allowance::default();
        allowance.take(terms, 3, 1_800_000_000_000, 0).unwrap();
        allowance.served(3, 1_800_000_000_000);
        allowance.refused(terms, 0, 1_000, 1_800_000_000_000);
        let Allowance { pace, day, .. } = allowance;
        let learned = Learned { notes: "batch 10".to_owned(), pace, day };
        assert_eq!(Learned::parse(&learned.text()), learned);
        assert_eq!(learned.calls_on(1_800_000_000_000), 3);
        assert_eq!(learned.calls_on(1_800_000_000_000 + 86_400_000), 0);
        for text in ["", "null", "[]", "{\"notes\": 7}"] {
            assert_eq!(Learned::parse(text), Learned::default(), "{text}");
        }
    }
}
