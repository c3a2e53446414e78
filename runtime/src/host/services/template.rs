//! `{secret:NAME}` in the text of a request: a placeholder for a secret that the hook never holds.

use super::text::one_line;
use crate::host::{bindings::services::kassa::plugin::http::HttpError, manifest::is_secret_name};

/// Opening of a placeholder.
const OPEN: &str = "{secret:";

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    Text(&'t str),
    /// The name of a secret.
    Secret(&'t str),
}

/// Splits a text from left to right. `{secret:}`, which names none, is the text `{secret:` itself.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, HttpError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        let (name, after) = after.split_once('}').ok_or_else(|| {
            HttpError::Malformed(format!("a {OPEN} without its closing brace; {OPEN}}} is that text itself"))
        })?;
        pieces.push(match name {
            "" => Piece::Text(OPEN),
            name if is_secret_name(name) => Piece::Secret(name),
            name => {
                let name = one_line(name, 60);
                return Err(HttpError::Malformed(format!(
                    "no secret can be called {name}; {OPEN}}} is the text {OPEN} itself"
                )));
            }
        });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Piece::{Secret, Text};

    #[test]
    fn placeholders_are_found_and_all_other_braces_are_text() {
        for (text, expected) in [
            ("", vec![]),
            ("plain {x} {{ }}", vec![Text("plain {x} {{ }}")]),
            ("{secret:a}", vec![Secret("a")]),
            ("Bearer {secret:a_1}", vec![Text("Bearer "), Secret("a_1")]),
            ("{{secret:a}}:{secret:b}", vec![Text("{"), Secret("a"), Text("}:"), Secret("b")]),
            // Any number of them, with nothing between.
            ("{secret:a}{secret:b}", vec![Secret("a"), Secret("b")]),
            // The escape: whatever comes after it is text.
            ("{secret:}a}", vec![Text(OPEN), Text("a}")]),
            ("{secret:}{secret:a}", vec![Text(OPEN), Secret("a")]),
            ("{Secret:a}{ secret:a}", vec![Text("{Secret:a}{ secret:a}")]),
        ] {
            assert_eq!(pieces(text), Ok(expected), "{text}");
        }
        for text in
            ["{secret:", "{secret:a", "{secret:A}", "{secret:a b}", "{secret:{secret:a}}", "{secret:\n}"]
        {
            assert!(matches!(pieces(text), Err(HttpError::Malformed(_))), "{text}");
        }
    }
}
