//! Doing a POST once: `Idempotency-Key`.
//!
//! A key belongs to a merchant and mode (or to the operator). The first request with it has the effect, and its
//! answer is kept for three days (`retention.idempotency_keys_days`); whoever repeats it gets that answer, marked
//! `Idempotent-Replayed: true`. The same key with another method, path or body is refused. A refusal that would come
//! again (4xx) is kept too; 429, 5xx and one that says when to ask again never are, so that a repetition can succeed.
//!
//! An answer that shows a secret once (a new API key) is kept sealed.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header, request::Parts};
use sha2::{Digest as _, Sha256};

use super::problem::{Kind, PROBLEM_JSON, Problem};
use crate::{
    app::App,
    db::{
        Conn, Work,
        idempotency::{self, Claim, ClaimOutcome, NewAnswer, StoredAnswer},
    },
    vault,
};

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const KEY_LEN_MAX: usize = 255;

/// A request's idempotency key, if it has one.
#[derive(Debug, Clone)]
pub(crate) struct Once {
    pub(crate) key: Option<Key>,
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    /// SHA-256 of the method, the path and the raw body.
    pub(crate) fingerprint: Vec<u8>,
}

impl Once {
    pub(crate) fn new(parts: &Parts, body: &[u8]) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(Self { key: None }) };
        let text = read_key(value).filter(|_| values.next().is_none()).ok_or_else(|| {
            Problem::new(
                Kind::IdempotencyKeyMalformed,
                format!(
                    "Send one Idempotency-Key of 1 to {KEY_LEN_MAX} visible ASCII characters, quoted or bare."
                ),
            )
        })?;
        let mut hash = Sha256::new();
        for part in [parts.method.as_str(), parts.uri.path(), parts.uri.query().unwrap_or("")] {
            hash.update(part);
            hash.update([0]);
        }
        hash.update(body);
        Ok(Self { key: Some(Key { text, fingerprint: hash.finalize().to_vec() }) })
    }
}

/// Reads the key, quoted (as in the draft of the standard) or bare.
fn read_key(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?;
    let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let plain = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
    ((1..=KEY_LEN_MAX).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_owned())
}

/// An answer as it is sent and stored.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: StatusCode,
    body: Vec<u8>,
    replayed: bool,
    secret: bool,
}

impl Reply {
    pub(crate) fn new(status: StatusCode, view: &impl serde::Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(view).map_err(Problem::internal)?;
        Ok(Self { status, body, replayed: false, secret: false })
    }

    pub(crate) fn ok(view: &impl serde::Serialize) -> Result<Self, Problem> {
        Self::new(StatusCode::OK, view)
    }

    pub(crate) fn created(view: &impl serde::Serialize) -> Result<Self, Problem> {
        Self::new(StatusCode::CREATED, view)
    }

    /// Marks the answer as secret: its body is stored encrypted.
    #[must_use]
    pub(crate) fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    fn refusal(problem: &Problem) -> Self {
        Self { status: problem.status(), body: problem.body(), replayed: false, secret: false }
    }

    /// Converts the answer for storage under a key.
    fn keep(&self, app: &App, owner: &str, key: &str) -> Result<NewAnswer, Problem> {
        let body = if self.secret {
            app.vault.seal(&idempotency::sealed_for(owner, key), &self.body).map_err(Problem::internal)?
        } else {
            self.body.clone()
        };
        let status = i64::from(self.status.as_u16());
        Ok(NewAnswer { owner: owner.to_owned(), key: key.to_owned(), status, body })
    }

    /// Restores a stored answer. Errors if the request is not the same.
    pub(crate) fn replay(app: &App, owner: &str, key: &Key, stored: StoredAnswer) -> Result<Self, Problem> {
        if stored.fingerprint != key.fingerprint {
            return Err(reused());
        }
        let body = if vault::is_sealed(&stored.body) {
            app.vault
                .open(&idempotency::sealed_for(owner, &key.text), &stored.body)
                .map_err(Problem::internal)?
                .to_vec()
        } else {
            stored.body
        };
        let status = u16::try_from(stored.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.ok_or_else(|| Problem::internal("a kept answer has no status"))?;
        Ok(Self { status, body, replayed: true, secret: false })
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body).into_response();
        let json = HeaderValue::from_static("application/json");
        let kind = if self.status.is_client_error() { PROBLEM_JSON } else { json };
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if self.replayed {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

fn reused() -> Problem {
    Problem::new(
        Kind::IdempotencyKeyReused,
        "This key was used for a request with another address or body. Take a new key for a new request.",
    )
}

/// Runs an operation in a transaction, once for each key of `owner`, and answers with what `show` makes of its result.
pub(crate) async fn idempotent<T, E, W, S>(
    app: &App,
    owner: String,
    once: Once,
    operation: W,
    show: S,
) -> Result<Reply, Problem>
where
    E: Into<Problem> + Send,
    W: for<'t> FnOnce(&'t mut Conn) -> Work<'t, Result<T, E>> + Send + 'static,
    S: FnOnce(T) -> Result<Reply, Problem> + Send + 'static,
{
    let effect: Effect =
        Box::new(move |conn| Box::pin(async move { show(operation(conn).await.map_err(Into::into)?) }));
    once_for_key(app, owner, once, effect).await
}

/// An operation and how its result is shown, without their types: what follows is compiled once for all routes.
type Effect = Box<dyn for<'t> FnOnce(&'t mut Conn) -> Work<'t, Result<Reply, Problem>> + Send>;

async fn once_for_key(app: &App, owner: String, once: Once, work: Effect) -> Result<Reply, Problem> {
    let Some(key) = once.key else { return app.db.write(work).await };
    let claim = Claim {
        owner: owner.clone(),
        key: key.text.clone(),
        fingerprint: key.fingerprint.clone(),
        now: app.clock.now(),
    };
    let outcome = under_key(app, owner.clone(), key.clone(), claim.clone(), work).await;
    match outcome {
        // The effect was undone, and the claim with it; what remains is that it was refused.
        Err(problem) if problem.is_deterministic() && problem.kind != Kind::IdempotencyKeyReused => {
            let refusal = Reply::refusal(&problem);
            let refused: Effect = Box::new(move |_| Box::pin(async move { Ok(refusal) }));
            under_key(app, owner, key, claim, refused).await
        }
        other => other,
    }
}

/// Like [`idempotent`], for work with transactions of its own. A crash between its effect and the storing of the answer
/// lets a repetition do it again, so the work must tolerate that. It must not run twice at once either: the caller sees
/// to that.
pub(crate) async fn remembered<F>(app: &App, owner: String, once: Once, work: F) -> Result<Reply, Problem>
where
    F: Future<Output = Result<Reply, Problem>> + Send,
{
    if once.key.is_none() {
        return work.await;
    }
    if let Some(kept) = kept(app, &owner, &once).await? {
        return Ok(kept);
    }
    let outcome = work.await;
    if outcome.as_ref().is_err_and(|problem| !problem.is_deterministic()) {
        return outcome;
    }
    // Keeps the answer, as if it were the effect.
    let kept = outcome.clone().or_else(|problem| Ok(Reply::refusal(&problem)));
    once_for_key(app, owner, once, Box::new(move |_| Box::pin(async move { kept }))).await?;
    outcome
}

/// The stored answer to this request, for work that a repetition could not do again.
pub(crate) async fn kept(app: &App, owner: &str, once: &Once) -> Result<Option<Reply>, Problem> {
    let Some(key) = &once.key else { return Ok(None) };
    let stored = idempotency::find(&mut app.db.read().await?, owner, &key.text).await?;
    stored.map(|stored| Reply::replay(app, owner, key, stored)).transpose()
}

async fn under_key(app: &App, owner: String, key: Key, claim: Claim, work: Effect) -> Result<Reply, Problem> {
    let inside = app.clone();
    app.db
        .write(move |conn| {
            Box::pin(async move {
                if let ClaimOutcome::Replay(stored) = idempotency::claim(conn, claim).await? {
                    return Reply::replay(&inside, &owner, &key, stored);
                }
                let reply = work(conn).await?;
                let answer = reply.keep(&inside, &owner, &key.text)?;
                idempotency::store_many(conn, vec![answer]).await?;
                Ok(reply)
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_visible_characters_quoted_or_bare() {
        let read = |text: &str| HeaderValue::from_str(text).ok().and_then(|value| read_key(&value));
        assert_eq!(read("abc-1").as_deref(), Some("abc-1"));
        assert_eq!(read("\"abc-1\"").as_deref(), Some("abc-1"));
        assert_eq!(read(&"k".repeat(255)).map(|key| key.len()), Some(255));
        for text in ["", "\"\"", "\"", "a b", "a\"b", "a\\b", "ключ"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&"k".repeat(256)), None);
    }
}
