//! Methods of HTTP that a plugin may send.

use http::Method;

use super::text::one_line;
use crate::host::bindings::services::kassa::plugin::{http::HttpError, types};

const BYTES_MAX: usize = 20;
/// Methods that are cases of their own in the contract, so that each has one spelling.
const NAMED: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/// `CONNECT` makes a tunnel of a connection, `TRACE` sends back headers that a proxy has added.
const REFUSED: [&str; 2] = ["CONNECT", "TRACE"];

/// The method of a request. Errors if it may not be sent.
pub(super) fn method(method: &types::Method) -> Result<Method, HttpError> {
    let name = match method {
        types::Method::Get => return Ok(Method::GET),
        types::Method::Head => return Ok(Method::HEAD),
        types::Method::Post => return Ok(Method::POST),
        types::Method::Put => return Ok(Method::PUT),
        types::Method::Patch => return Ok(Method::PATCH),
        types::Method::Delete => return Ok(Method::DELETE),
        types::Method::Other(name) => name.as_str(),
    };
    let shown = one_line(name, BYTES_MAX);
    if NAMED.contains(&name) {
        return Err(HttpError::Malformed(format!("the method {shown} has a case of its own; use that one")));
    }
    if REFUSED.contains(&name) {
        return Err(HttpError::Denied(format!("the method {shown}; plugins send no CONNECT and no TRACE")));
    }
    let sound = (1..=BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    Method::from_bytes(name.as_bytes()).ok().filter(|_| sound).ok_or_else(|| {
        HttpError::Malformed(format!(
            "the method {shown}; write 1 to {BYTES_MAX} capital letters and hyphens"
        ))
    })
}

/// The method's name, for people.
pub(super) fn name(method: &types::Method) -> &str {
    match method {
        types::Method::Get => "GET",
        types::Method::Head => "HEAD",
        types::Method::Post => "POST",
        types::Method::Put => "PUT",
        types::Method::Patch => "PATCH",
        types::Method::Delete => "DELETE",
        types::Method::Other(name) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_case_is_a_token_that_may_be_sent() {
        let other = |name: &str| method(&types::Method::Other(name.to_owned()));
        assert_eq!(method(&types::Method::Patch), Ok(Method::PATCH));
        assert_eq!(other("PROPFIND").map(|method| method.to_string()), Ok("PROPFIND".to_owned()));
        assert_eq!(other("M-SEARCH").map(|method| method.to_string()), Ok("M-SEARCH".to_owned()));
        for name in ["CONNECT", "TRACE"] {
            assert!(matches!(other(name), Err(HttpError::Denied(_))), "{name}");
        }
        for name in ["", "GET", "get", "connect", "A B", "A\r\nHost: b", "A/1", "É", &"A".repeat(21)] {
            assert!(matches!(other(name), Err(HttpError::Malformed(_))), "{name}");
        }
    }
}
