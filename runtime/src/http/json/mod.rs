//! JSON bodies, read strictly.
//!
//! Input that parsers disagree about is refused, so that no proxy, log or fingerprint sees another request than the one
//! that is served: duplicate keys, text after the end, characters that a database cannot hold. The shape
//! comes next: unknown fields are refused, and a refusal names the field.

use std::{collections::HashSet, fmt, time::Duration};

use axum::{
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};

use super::{
    idempotent::Once,
    problem::{Kind, Problem, sentence},
};
use crate::{
    app::App,
    domain::{nesting::DEPTH_MAX, objects::Objects},
};

/// Maximum time for a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON body, with the idempotency key of its request.
pub(crate) struct Json<T> {
    pub(crate) value: T,
    pub(crate) once: Once,
}

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        check_type(request.headers())?;
        let (parts, body) = request.into_parts();
        let bytes = read(body, app.config.http.body_bytes_max).await?;
        let once = Once::new(&parts, &bytes)?;
        Ok(Self { value: parse(&bytes)?, once })
    }
}

/// An optional JSON body.
pub(crate) struct MaybeJson<T> {
    pub(crate) value: T,
    pub(crate) once: Once,
}

impl<T: DeserializeOwned + Default> FromRequest<App> for MaybeJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read(body, app.config.http.body_bytes_max).await?;
        let mut value = T::default();
        if !bytes.is_empty() {
            check_type(&parts.headers)?;
            value = parse(&bytes)?;
        }
        Ok(Self { value, once: Once::new(&parts, &bytes)? })
    }
}

/// Body of a POST whose address says everything: empty, or an empty object.
pub(crate) type NoBody = MaybeJson<Nothing>;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// An answer in JSON, with status 200. POSTs answer with a [`super::idempotent::Reply`].
pub(crate) struct Answer<T>(pub(crate) T);

impl<T: serde::Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => {
                let kind = HeaderValue::from_static("application/json");
                ([(header::CONTENT_TYPE, kind)], body).into_response()
            }
            Err(error) => Problem::internal(error).into_response(),
        }
    }
}

/// A decimal number as text. A JSON number would pass through a float in most clients.
#[derive(Debug, Clone, PartialEq, Eq, utoipa::ToSchema)]
#[schema(value_type = String, example = "12.50")]
pub(crate) struct Decimal(pub(crate) String);

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Decimal;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal number as a string, as in \"12.50\"")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Decimal, E> {
                Ok(Decimal(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// Reads a body of at most `bytes_max` bytes.
pub(crate) async fn read(body: axum::body::Body, bytes_max: usize) -> Result<bytes::Bytes, Problem> {
    read_within(BODY_TIMEOUT, body, bytes_max).await
}

/// Reads a body of at most `bytes_max` bytes, which has to arrive within `patience`.
pub(crate) async fn read_within(
    patience: Duration,
    body: axum::body::Body,
    bytes_max: usize,
) -> Result<bytes::Bytes, Problem> {
    let collected = tokio::time::timeout(patience, Limited::new(body, bytes_max).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Problem::new(Kind::BodyTooLarge, format!("This address takes at most {bytes_max} bytes."))
                .with("bytes_max", bytes_max))
        }
        Ok(Err(_)) => Err(Problem::new(Kind::BodyUnreadable, "The connection ended inside the body.")),
        Err(_) => Err(Problem::new(
            Kind::BodyUnreadable,
            format!("The body did not arrive within {} seconds.", patience.as_secs()),
        )),
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    check_encoding(headers)?;
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let charset_ok = parameters.trim().is_empty() || parameters.trim().eq_ignore_ascii_case("charset=utf-8");
    if essence.trim().eq_ignore_ascii_case("application/json") && charset_ok {
        return Ok(());
    }
    Err(Problem::new(Kind::ContentType, "Send it as Content-Type: application/json, in UTF-8."))
}

/// Refuses compressed bodies: a small one could become a huge one.
pub(crate) fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(value) if value != "identity" => {
            Err(Problem::new(Kind::ContentEncoding, "Send the body without Content-Encoding."))
        }
        _ => Ok(()),
    }
}

/// Reads a value. Errors with what is wrong, and where.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Problem::new(Kind::JsonMalformed, "The body is not UTF-8."))?;
    if text.trim_ascii().is_empty() {
        return Err(Problem::new(Kind::JsonMalformed, "The body is empty; a JSON object is needed."));
    }
    check_text(text)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(Objects(&mut reader)).map_err(|error| shape_problem(&error))
}

/// First pass: checks the JSON as such.
fn check_text(text: &str) -> Result<(), Problem> {
    let mut found = None;
    let mut reader = serde_json::Deserializer::from_str(text);
    let outcome = Check { depth: 0, found: &mut found }.deserialize(&mut reader).and_then(|()| reader.end());
    match (found, outcome) {
        (Some(problem), _) => Err(problem),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => {
            // serde_json's text holds no part of the body but single characters.
            Err(Problem::new(Kind::JsonMalformed, sentence(&error)))
        }
    }
}

/// Visitor of a JSON value that records the first thing to refuse.
struct Check<'f> {
    depth: usize,
    found: &'f mut Option<Problem>,
}

impl Check<'_> {
    fn refuse<E: serde::de::Error>(&mut self, problem: Problem) -> E {
        self.found.get_or_insert(problem);
        E::custom("refused")
    }

    fn text<E: serde::de::Error>(&mut self, text: &str) -> Result<(), E> {
        if text.contains('\0') {
            return Err(self.refuse(Problem::new(Kind::JsonText, "Take the NUL character out of the text.")));
        }
        Ok(())
    }

    fn deeper<E: serde::de::Error>(&mut self) -> Result<usize, E> {
        if self.depth == DEPTH_MAX {
            let detail = format!("At most {DEPTH_MAX} levels of arrays and objects are read.");
            return Err(self.refuse(Problem::new(Kind::JsonTooDeep, detail)));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Check<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        while items.next_element_seed(Check { depth, found: self.found })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let mut seen = HashSet::new();
        while let Some(key) = entries.next_key::<std::borrow::Cow<'de, str>>()? {
            self.text(&key)?;
            if seen.contains(&key) {
                let problem = Problem::new(Kind::JsonDuplicateKey, "Send each key of an object once.");
                return Err(self.refuse(problem.field(shortened(&key))));
            }
            seen.insert(key);
            entries.next_value_seed(Check { depth, found: self.found })?;
        }
        Ok(())
    }
}

/// Second pass: the problem of well-formed JSON that does not fit this request's type.
fn shape_problem(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let path = error.path().to_string();
    let message = error.inner().to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let named = message.split('`').nth(1).unwrap_or_default();
    let kind = if message.starts_with("unknown field") {
        Kind::FieldUnknown
    } else if message.starts_with("missing field") {
        Kind::FieldMissing
    } else {
        Kind::FieldMalformed
    };
    // serde names a field that is unknown or missing in its message; the path ends at the object around it,
    // or at the field itself.
    let field = match (kind, path.as_str()) {
        (Kind::FieldMalformed, "." | "?") => return Problem::new(kind, format!("The body: {message}.")),
        (Kind::FieldMalformed, _) => path,
        (_, "." | "?") => named.to_owned(),
        (_, path) if path == named || path.ends_with(&format!(".{named}")) => path.to_owned(),
        (_, path) => format!("{path}.{named}"),
    };
    Problem::new(kind, format!("{}: {message}.", shortened(&field))).field(shortened(&field))
}

/// A name from the body, shortened for the answer.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
