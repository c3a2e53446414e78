//! Parameters in a request's address: ids and names in the path, and the query.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::{Kind, Problem};
use crate::{app::App, domain::id::Id};

/// Maximum length of a name (of a network or a plugin).
const NAME_LEN_MAX: usize = 100;

/// The one parameter of a path. It can be had only by a method that checks it.
pub(crate) struct PathParam(String);

impl PathParam {
    /// An id of this kind. Errors if it cannot be one, without a look into the database.
    pub(crate) fn id<I: Id>(self, what: &str) -> Result<I, Problem> {
        self.0.parse().map_err(|_| Problem::not_found(what))
    }

    /// A name: lower-case letters, digits, `-`, `_` and `.`.
    pub(crate) fn name(self, what: &str) -> Result<String, Problem> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
        if (1..=NAME_LEN_MAX).contains(&self.0.len()) && self.0.bytes().all(plain) {
            return Ok(self.0);
        }
        Err(Problem::new(Kind::NotFound, format!("There is no {what} with this name.")))
    }
}

impl FromRequestParts<App> for PathParam {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let unreadable = |_| Problem::new(Kind::NotFound, "The path is not readable.");
        let params = RawPathParams::from_request_parts(parts, app).await.map_err(unreadable)?;
        let (_, value) =
            params.iter().next().ok_or_else(|| Problem::internal("a route without its parameter"))?;
        Ok(Self(value.to_owned()))
    }
}

/// The two parameters of a path: an id, and one that the handler checks.
pub(crate) struct PathPair(String, pub(crate) String);

impl PathPair {
    /// The id and the second parameter.
    pub(crate) fn id<I: Id>(self, what: &str) -> Result<(I, String), Problem> {
        let id = self.0.parse().map_err(|_| Problem::not_found(what))?;
        Ok((id, self.1))
    }
}

impl FromRequestParts<App> for PathPair {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let unreadable = |_| Problem::new(Kind::NotFound, "The path is not readable.");
        let params = RawPathParams::from_request_parts(parts, app).await.map_err(unreadable)?;
        let mut values = params.iter().map(|(_, value)| value.to_owned());
        match (values.next(), values.next()) {
            (Some(first), Some(second)) => Ok(Self(first, second)),
            _ => Err(Problem::internal("a route without its parameters")),
        }
    }
}

/// The id that a caller names. A text that cannot be one becomes the least of its kind, which is nobody's: nothing is
/// found by it.
pub(crate) fn named<I: Id>(text: &str) -> I {
    text.parse().unwrap_or_else(|_| I::first_at(0))
}

/// Parameters of the query. Their type denies unknown fields, so that a misspelt filter does not silently list
/// everything.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(Problem::new(Kind::QueryMalformed, "Take the NUL character out."));
        }
        axum::extract::Query::try_from_uri(&parts.uri).map(|query| Self(query.0)).map_err(|rejection| {
            let text = rejection.body_text();
            let why = text.rsplit_once("query string: ").map_or(text.as_str(), |(_, why)| why);
            Problem::new(Kind::QueryMalformed, format!("{}.", why.chars().take(200).collect::<String>()))
        })
    }
}

/// Checks a text for people: not empty, at most `chars_max` characters, on one line, and without control characters
/// that make a text look like another.
pub(crate) fn check_text(field: &str, text: &str, chars_max: usize) -> Result<(), Problem> {
    let refused =
        |why: String| Err(Problem::new(Kind::FieldMalformed, format!("{field}: {why}.")).field(field));
    if text.trim().is_empty() {
        return refused("it is empty".to_owned());
    }
    if text.chars().count() > chars_max {
        return refused(format!("it has more than {chars_max} characters"));
    }
    // Right-to-left text is welcome; overrides that turn other text around are not (U+202A…, U+2066…).
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if text.chars().any(|c| c.is_control() || turns(c)) {
        return refused("it has control characters".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_for_people() {
        for good in ["Coffee", "קפה", "👩‍👩‍👧", &"ä".repeat(10)] {
            assert!(check_text("title", good, 10).is_ok(), "{good}");
        }
        for bad in ["", " \t", "a\nb", "a\u{202e}b", "\u{7f}", &"ä".repeat(11)] {
            let problem = check_text("title", bad, 10).unwrap_err();
            assert_eq!(problem.field.as_deref(), Some("title"), "{bad}");
        }
    }
}
