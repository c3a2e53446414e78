//! Times in requests and answers: RFC 3339, in UTC.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::{
    RefOr, Schema,
    schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type},
};

use crate::domain::Millis;

/// A time as in `2026-03-01T12:00:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) Millis);

/// End of the year 9999 in the last time zone: RFC 3339 has no spelling beyond it.
const LATEST: Millis = 253_402_207_200_000;

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = jiff::Timestamp::from_millisecond(self.0.clamp(0, LATEST)).unwrap_or_default();
        write!(f, "{at:.3}")
    }
}

/// Reads RFC 3339 with any offset, from 1970 to the year 9999.
impl std::str::FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed: Result<jiff::Timestamp, _> = text.parse();
        let ms = parsed.map_err(|_| "not a time: write it as in \"2026-03-01T12:00:00Z\"")?.as_millisecond();
        if (0..=LATEST).contains(&ms) { Ok(Self(ms)) } else { Err("not a time between 1970 and 9999") }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl utoipa::PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .examples(["2026-03-01T12:00:00.000Z"])
            .into()
    }
}

impl utoipa::ToSchema for Time {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_in_utc_and_read_with_any_offset() {
        assert_eq!(Time(1_772_366_400_123).to_string(), "2026-03-01T12:00:00.123Z");
        assert_eq!(Time(i64::MAX).to_string(), "9999-12-30T22:00:00.000Z");
        assert_eq!("2026-03-01T13:00:00+01:00".parse(), Ok(Time(1_772_366_400_000)));
    }

    #[test]
    fn other_texts_are_no_times() {
        for text in [
            "",
            "2026-03-01",
            "1772366400",
            "2026-03-01T12:00:00",
            "1969-12-31T23:59:59Z",
            "9999-12-31T23:59:59-01:00",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }
}
