//! The newest blocks, read only as far as a scan needs to identify them.

use crate::api;
use crate::wire::{Header, HeaderJson};
use kassa_sdk::chain::ScanError;
use kassa_sdk::upstream::malformed;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A block's header, and whether its transactions came with it.
pub(crate) struct Top {
    pub(crate) header: Header,
    pub(crate) has_transactions: bool,
}

impl Top {
    /// Reads up to the first transaction. Nodes write the header first, and what follows is megabytes.
    pub(crate) fn read(body: &[u8], what: &str) -> Result<Self, ScanError> {
        api::check_present(body, what)?;
        let mut reading = Reading::default();
        let mut json = serde_json::Deserializer::from_slice(body);
        let read = json.deserialize_map(&mut reading).and_then(|()| json.end());
        let why = match (read, reading.id, reading.header) {
            (Ok(()), Some(id), Some(header)) => {
                let header = Header::new(id, &header)?;
                return Ok(Self { header, has_transactions: reading.has_transactions });
            }
            (Err(_), Some(id), Some(header)) if reading.is_enough => {
                return Ok(Self { header: Header::new(id, &header)?, has_transactions: true });
            }
            (Ok(()), ..) => "no blockID or no block_header".to_owned(),
            (Err(error), ..) => error.to_string(),
        };
        Err(malformed(format!("{what}: {why}")))
    }
}

#[derive(Default)]
struct Reading<'a> {
    id: Option<&'a str>,
    header: Option<HeaderJson<'a>>,
    has_transactions: bool,
    /// True once all is known: then the error that ends the reading is our own.
    is_enough: bool,
}

#[derive(Deserialize)]
#[serde(field_identifier)]
enum Field {
    #[serde(rename = "blockID")]
    Id,
    #[serde(rename = "block_header")]
    Header,
    #[serde(rename = "transactions")]
    Transactions,
    #[serde(other)]
    Other,
}

impl<'a> Visitor<'a> for &mut Reading<'a> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a block")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key()? {
            match field {
                Field::Id => self.id = Some(map.next_value()?),
                Field::Header => self.header = Some(map.next_value()?),
                Field::Transactions => map.next_value_seed(Transactions(self))?,
                Field::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct Transactions<'r, 'a>(&'r mut Reading<'a>);

impl<'a> DeserializeSeed<'a> for Transactions<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for Transactions<'_, 'a> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("transactions")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut transactions: A) -> Result<(), A::Error> {
        let Self(reading) = self;
        while transactions.next_element::<IgnoredAny>()?.is_some() {
            reading.has_transactions = true;
            if reading.id.is_some() && reading.header.is_some() {
                reading.is_enough = true;
                return Err(A::Error::custom("enough"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(json: &str) -> Result<(u64, bool), ScanError> {
        let id = format!("{:016x}{}", 7, "ab".repeat(24));
        let header =
            format!(r#"{{"raw_data":{{"number":7,"timestamp":1,"parentHash":"{}"}}}}"#, "cd".repeat(32));
        let json = json.replace("ID", &format!(r#""blockID":"{id}""#));
        let json = json.replace("HEADER", &format!(r#""block_header":{header}"#));
        Top::read(json.as_bytes(), "a block").map(|top| (top.header.height, top.has_transactions))
    }

    #[test]
    fn it_ends_at_the_first_transaction_if_the_header_is_known() {
        for (json, has_transactions) in [
            ("{ID,HEADER}", false),
            (r#"{ID,HEADER,"transactions":[]}"#, false),
            (r#"{HEADER,"more":[{}],ID,"transactions":[{"ret":[]}]}"#, true),
            (r#"{ID,HEADER,"transactions":[{},whatever"#, true),
            (r#"{ID,"transactions":[{},{}],HEADER}"#, true),
        ] {
            assert_eq!(top(json).unwrap(), (7, has_transactions), "{json}");
        }
        for json in [
            "{ID}",
            "{HEADER}",
            "[]",
            "{ID,HEADER",
            "{ID,HEADER}}",
            r#"{ID,HEADER,"transactions":null}"#,
            r#"{ID,HEADER,"transactions":[whatever"#,
            r#"{ID,"transactions":[{},whatever],HEADER}"#,
        ] {
            assert!(matches!(top(json), Err(ScanError::Malformed(_))), "{json}");
        }
        assert!(matches!(top("{}"), Err(ScanError::Upstream(_))));
    }
}
