//! For hooks: the host behind a trait, the invoice of an event, settings, and the ends that runs have in common.
//!
//! A matcher's logic is a function of its arguments. That of a fulfiller is one function of `&impl Host`, so that tests
//! run it on a [`testing::Scripted`] host. It returns `Result<String, Outcome>`: the note of what was done, or the
//! reason that it was not. Every failure of a service becomes an [`Outcome`] by `?`: what can pass is tried again after
//! [`SOON_S`], what the merchant has to mend after [`LATER_S`] (so that a mended hook fulfils what was paid meanwhile),
//! and what will never succeed is rejected.

mod decimal;
mod invoice;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use decimal::Decimal;
pub use invoice::Invoice;

use crate::form::FormError;
use crate::fulfiller::Outcome;
use crate::http::{self, HttpError, Request, Response};
use crate::log;
use crate::matcher::Decision;
use crate::random::{self, RandomError};
use crate::secrets::{self, SecretError};
use crate::storage::{self, StorageError};
use crate::upstream::clean;
use crate::webhooks::{self, WebhooksError};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;

/// Time until another try of what may pass by itself, seconds.
pub const SOON_S: u32 = 30;
/// Time until another try of what the merchant has to mend, seconds.
pub const LATER_S: u32 = 300;

/// Length of the part of an answer in which a reason is looked for, bytes.
const REASON_BYTES: usize = 640;

/// The services of the host. See `wit/services.wit` for their rules.
pub trait Host {
    /// Reads the value under a key. `None` if there is none.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError>;
    /// Reads the values under up to 100 keys, in their order.
    fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>, StorageError>;
    /// Stores a value under a key.
    fn set(&self, key: &str, value: &[u8]) -> Result<(), StorageError>;
    /// Deletes a key.
    fn delete(&self, key: &str) -> Result<(), StorageError>;
    /// Keys with the prefix that sort after `after`, ascending.
    fn keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, StorageError>;
    /// Sends a request and waits for its answer.
    fn send(&self, request: &Request) -> Result<Response, HttpError>;
    /// Queues a webhook; `data` is a JSON object.
    fn queue(&self, endpoint: Option<&str>, event: &str, data: &Value) -> Result<String, WebhooksError>;
    /// Signs a message with a secret that is for signing. The algorithm is given by name: `HMAC-SHA256`.
    fn sign(&self, secret: &str, algorithm: &str, message: &[u8]) -> Result<Vec<u8>, SecretError>;
    /// Returns `count` bytes that nobody can guess. A replay gets the same.
    fn random(&self, count: u32) -> Result<Vec<u8>, RandomError>;

    /// Reads the value under a key as text. Errors if it is not text, with a retry for the merchant to mend it.
    fn text(&self, key: &str) -> Result<Option<String>, Outcome> {
        text(key, self.get(key)?)
    }
}

/// Reads a value of storage as text. Errors if it is not text, with a retry for the merchant to mend it.
pub fn text(key: &str, value: Option<Vec<u8>>) -> Result<Option<String>, Outcome> {
    value
        .map(String::from_utf8)
        .transpose()
        .map_err(|_| Outcome::retry(LATER_S, format!("what is stored under {key} is not text: replace it")))
}

/// The host of a hook that runs in Kassa.
pub struct Real;

impl Host for Real {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        storage::get(key)
    }

    fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        storage::get_many(&keys)
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StorageError> {
        storage::set(key, value)
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        storage::delete(key)
    }

    fn keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, StorageError> {
        storage::keys(prefix, after, limit)
    }

    fn send(&self, request: &Request) -> Result<Response, HttpError> {
        http::send(request)
    }

    fn queue(&self, endpoint: Option<&str>, event: &str, data: &Value) -> Result<String, WebhooksError> {
        webhooks::queue(endpoint, event, &data.to_string())
    }

    fn sign(&self, secret: &str, algorithm: &str, message: &[u8]) -> Result<Vec<u8>, SecretError> {
        secrets::sign(secret, algorithm, message)
    }

    fn random(&self, count: u32) -> Result<Vec<u8>, RandomError> {
        random::get_bytes(count)
    }
}

impl Outcome {
    /// An outcome that tries again after `seconds`.
    pub fn retry(seconds: u32, why: impl Into<String>) -> Self {
        Self::Retry((seconds, why.into()))
    }

    /// An outcome that never tries again: a person has to look.
    pub fn reject(why: impl Into<String>) -> Self {
        Self::Reject(why.into())
    }
}

/// The end of a run: a note of what was done, or the reason that it was not.
impl From<Result<String, Self>> for Outcome {
    fn from(end: Result<String, Self>) -> Self {
        end.map_or_else(|outcome| outcome, Self::Done)
    }
}

impl From<StorageError> for Outcome {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::BadKey => Self::reject("storage: a key is empty, over 256 bytes, or has a NUL"),
            StorageError::TooLarge(max) => Self::reject(format!("storage: a value is over {max} bytes")),
            StorageError::Quota(why) => Self::retry(LATER_S, format!("storage: {why}")),
            StorageError::Unavailable => Self::retry(SOON_S, "storage: the host's database did not answer"),
            StorageError::Other(why) => Self::retry(SOON_S, format!("storage: {why}")),
        }
    }
}

impl From<HttpError> for Outcome {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Denied(why) => Self::retry(LATER_S, format!("the host denies the request: {why}")),
            HttpError::Malformed(why) => Self::reject(format!("the host cannot send the request: {why}")),
            HttpError::Budget(why) => Self::retry(SOON_S, format!("budget: {why}")),
            HttpError::RateLimited(ms) => Self::retry(ms.div_ceil(1_000).max(1), "too many requests"),
            HttpError::Timeout => Self::retry(SOON_S, "timeout"),
            HttpError::Connection(why) => Self::retry(SOON_S, format!("connection: {why}")),
            HttpError::NoUpstream => Self::retry(SOON_S, "no usable upstream"),
            HttpError::Other(why) => Self::retry(SOON_S, why),
        }
    }
}

impl From<WebhooksError> for Outcome {
    fn from(error: WebhooksError) -> Self {
        match error {
            WebhooksError::UnknownEndpoint(id) => Self::retry(LATER_S, format!("there is no endpoint {id}")),
            WebhooksError::Malformed(why) => Self::reject(format!("the webhook is unusable: {why}")),
            WebhooksError::Quota(why) => Self::retry(LATER_S, format!("webhooks: {why}")),
            WebhooksError::Unavailable => Self::retry(SOON_S, "webhooks: the host's database did not answer"),
            WebhooksError::Other(why) => Self::retry(SOON_S, format!("webhooks: {why}")),
        }
    }
}

impl From<SecretError> for Outcome {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Unknown(name) => {
                Self::retry(LATER_S, format!("the secret {name} is not set: set it"))
            }
            SecretError::NotForSigning(name) => Self::reject(format!(
                "the secret {name} is bound to a host and cannot sign: mend the manifest"
            )),
            SecretError::UnknownAlgorithm(why) => Self::reject(format!("the host cannot sign with {why}")),
            SecretError::BadKey(why) => Self::retry(LATER_S, why),
            SecretError::Other(why) => Self::retry(SOON_S, why),
        }
    }
}

impl From<RandomError> for Outcome {
    fn from(error: RandomError) -> Self {
        match error {
            RandomError::Quota(why) => Self::reject(format!("randomness: {why}")),
            RandomError::Other(why) => Self::retry(SOON_S, format!("randomness: {why}")),
        }
    }
}

/// Error of settings that are not what the hook's manifest asks for.
#[derive(Debug, PartialEq)]
pub struct SettingsError(pub String);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "settings: {}", self.0)
    }
}

impl From<SettingsError> for Outcome {
    fn from(error: SettingsError) -> Self {
        Self::retry(LATER_S, error.to_string())
    }
}

impl From<SettingsError> for FormError {
    fn from(SettingsError(why): SettingsError) -> Self {
        Self::Settings(why)
    }
}

impl From<SecretError> for FormError {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Unknown(name) => Self::Secret(format!("{name} is not set")),
            SecretError::NotForSigning(name) => {
                Self::Secret(format!("{name} is bound to a host and cannot sign"))
            }
            SecretError::UnknownAlgorithm(why) | SecretError::Other(why) => Self::Other(why),
            SecretError::BadKey(why) => Self::Secret(why),
        }
    }
}

/// Parses the settings of a context.
pub fn settings<T: DeserializeOwned>(text: &str) -> Result<T, SettingsError> {
    serde_json::from_str(text).map_err(|error| SettingsError(clean(&error.to_string())))
}

/// A matcher's decision. Settings that cannot be read hold up no money: the built-in policy decides, and the host's log
/// says why.
#[must_use]
pub fn decided(decision: Result<Decision, SettingsError>) -> Decision {
    decision.unwrap_or_else(|error| {
        log::write(log::Level::Warn, &error.to_string());
        Decision::Pass
    })
}

/// Takes an answer that says that the request was accepted: 2xx, or 409 from a service that has seen the run's
/// `Idempotency-Key` before. Errors with a rejection for another 4xx, except those that ask for patience, and with a
/// retry for everything else.
pub fn accepted(answer: Result<Response, HttpError>) -> Result<Response, Outcome> {
    let response = answer?;
    let reason = || {
        let start = &response.body[..response.body.len().min(REASON_BYTES)];
        format!("HTTP {}: {}", response.status, clean(&String::from_utf8_lossy(start)))
    };
    match response.status {
        200..=299 | 409 => Ok(response),
        408 | 425 | 429 => Err(Outcome::retry(SOON_S, reason())),
        400..=499 => Err(Outcome::reject(reason())),
        _ => Err(Outcome::retry(SOON_S, reason())),
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Scripted, answer};
    use super::*;
    use serde::Deserialize;

    #[test]
    fn answers_are_accepted_tried_again_or_rejected() {
        for status in [200, 201, 204, 299, 409] {
            assert_eq!(accepted(answer(status, "{}")).unwrap().status, status);
        }
        for status in [400, 401, 403, 404, 422, 499] {
            let expected = Outcome::reject(format!("HTTP {status}: no"));
            assert_eq!(accepted(answer(status, " no\n")), Err(expected));
        }
        for status in [0, 100, 301, 408, 425, 429, 500, 503, 599, 999] {
            assert_eq!(accepted(answer(status, "no")), Err(Outcome::retry(30, format!("HTTP {status}: no"))));
        }
        let Err(Outcome::Reject(why)) = accepted(answer(400, &"ü\u{1b}".repeat(100_000))) else { panic!() };
        assert!(why.len() < 200 && why.is_ascii(), "{why}");
    }

    #[test]
    fn what_can_be_mended_is_tried_again() {
        let retries: [(Outcome, u32); 17] = [
            (HttpError::Timeout.into(), 30),
            (HttpError::Connection("reset".into()).into(), 30),
            (HttpError::NoUpstream.into(), 30),
            (HttpError::Budget("bytes".into()).into(), 30),
            (HttpError::RateLimited(0).into(), 1),
            (HttpError::RateLimited(1_001).into(), 2),
            (HttpError::Denied("x.example".into()).into(), 300),
            (StorageError::Quota("full".into()).into(), 300),
            (StorageError::Unavailable.into(), 30),
            (WebhooksError::Quota("full".into()).into(), 300),
            (WebhooksError::UnknownEndpoint("ep_1".into()).into(), 300),
            (SecretError::Unknown("key".into()).into(), 300),
            (SecretError::BadKey("key".into()).into(), 300),
            (HttpError::Other("new".into()).into(), 30),
            (StorageError::Other("new".into()).into(), 30),
            (WebhooksError::Unavailable.into(), 30),
            (RandomError::Other("none".into()).into(), 30),
        ];
        for (outcome, seconds) in retries {
            assert!(matches!(&outcome, Outcome::Retry((after, _)) if *after == seconds), "{outcome:?}");
        }
        let rejects: [Outcome; 7] = [
            HttpError::Malformed("header".into()).into(),
            StorageError::BadKey.into(),
            StorageError::TooLarge(7).into(),
            WebhooksError::Malformed("data".into()).into(),
            SecretError::NotForSigning("key".into()).into(),
            SecretError::UnknownAlgorithm("ES1; there are ES256".into()).into(),
            RandomError::Quota("bytes".into()).into(),
        ];
        for outcome in rejects {
            assert!(matches!(outcome, Outcome::Reject(_)), "{outcome:?}");
        }
        assert_eq!(Outcome::from(Ok("note".to_owned())), Outcome::Done("note".into()));
        assert_eq!(Outcome::from(Err(Outcome::reject("why"))), Outcome::reject("why"));
    }

    #[test]
    fn settings_are_read_or_the_reason_is_told() {
        #[derive(Debug, Deserialize, PartialEq)]
        struct Settings {
            to: String,
        }
        assert_eq!(settings(r#"{"to":"x"}"#), Ok(Settings { to: "x".into() }));
        for text in ["", "{}", "[1, 2]", r#"{"to":7}"#] {
            let outcome = Outcome::from(settings::<Settings>(text).unwrap_err());
            assert!(matches!(outcome, Outcome::Retry((300, why)) if why.starts_with("settings: ")));
        }
    }

    #[test]
    fn stored_text_is_text() {
        let host = Scripted::default();
        host.set("a", b"text").unwrap();
        host.set("b", b"\xff").unwrap();
        assert_eq!(host.text("a"), Ok(Some("text".into())));
        assert!(matches!(host.text("b"), Err(Outcome::Retry((300, _)))));
        assert_eq!(host.text("c"), Ok(None));
        assert_eq!(host.get_many(&["c", "a"]), Ok(vec![None, Some(b"text".to_vec())]));
    }
}
