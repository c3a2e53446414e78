//! Authentication: API keys, and the rate limit of each.
//!
//! Every route behind [`identify`] needs a key; a handler says by its argument whose: [`Operator`] or
//! [`Merchant`]. A key comes as `Authorization: Bearer …` or as `X-API-Key`. Basic is not taken: browsers and
//! proxies send it unasked.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderName, header, request::Parts};

use super::{
    problem::{Kind, Problem},
    rate::Rates,
};
use crate::{
    app::App,
    db::{REQUEST_READS_MAX, api_keys::Presented},
    domain::{id::ApiKeyId, policy::Policy, tenant::Tenant},
    keys,
    shares::Shares,
};

/// Maximum number of one merchant's requests that read at once.
const READERS_SHARE: usize = 2;

pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A caller with an operator's key.
#[derive(Debug, Clone)]
pub(crate) struct Operator;

impl Operator {
    /// Owner of the operators' idempotency keys.
    pub(crate) const OWNER: &'static str = "operator";
}

/// A caller with a merchant's key.
#[derive(Debug, Clone)]
pub(crate) struct Merchant {
    /// The merchant, in the key's mode: objects of the other mode are not visible.
    pub(crate) tenant: Tenant,
    pub(crate) key_id: ApiKeyId,
    /// The merchant's policy of at most two seconds ago.
    pub(crate) policy: Policy,
}

impl Merchant {
    /// Owner of this merchant's idempotency keys.
    pub(crate) fn owner(&self) -> String {
        self.tenant.to_string()
    }
}

/// An operator or a merchant.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    Operator(Operator),
    Merchant(Merchant),
}

impl Caller {
    /// Name under which the caller's share of readers is counted.
    fn name(&self) -> &str {
        match self {
            Self::Operator(_) => Operator::OWNER,
            Self::Merchant(merchant) => merchant.tenant.merchant.as_str(),
        }
    }
}

/// The id of the key that a request was made with, for the access log.
#[derive(Debug, Clone)]
pub(super) struct KeyId(pub(super) ApiKeyId);

/// State of [`identify`].
#[derive(Clone)]
pub(super) struct Gate {
    app: App,
    rates: Arc<Rates>,
    /// Places for concurrent readers.
    readers: Arc<Shares>,
}

impl Gate {
    pub(super) fn new(app: App) -> Self {
        Self { app, rates: Arc::default(), readers: Arc::new(Shares::new(REQUEST_READS_MAX, READERS_SHARE)) }
    }
}

/// Admits requests with a valid key, up to the key's rate limit.
pub(super) async fn identify(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let presented = match authenticate(&gate.app, request.headers()).await {
        Ok(presented) => presented,
        Err(problem) => return problem.into_response(),
    };
    let key_id = presented.key.id.clone();
    let rate = gate.rates.take(&key_id, gate.app.config.http.rate_per_10s, gate.app.clock.now());
    let mut response = if rate.refused {
        let detail = "Wait until the window is over, or ask the operator for more.";
        Problem::new(Kind::RateLimited, detail).retry_after(rate.reset_s).into_response()
    } else {
        match caller(&presented) {
            Ok(caller) => {
                // A request that changes something reads little; one that reads may read much.
                let reads = request.method().is_safe();
                let _place = if reads { gate.readers.enter(caller.name()).await } else { None };
                request.extensions_mut().insert(caller);
                next.run(request).await
            }
            Err(problem) => problem.into_response(),
        }
    };
    rate.tell(response.headers_mut());
    response.extensions_mut().insert(KeyId(key_id));
    response
}

/// The key in the headers, if it is valid now.
pub(super) async fn authenticate(app: &App, headers: &HeaderMap) -> Result<Arc<Presented>, Problem> {
    let text = shown(headers)?;
    if !keys::is_well_formed(text) {
        let detail =
            "A key begins with live_, test_ or op_ and has no spaces. Was it cut when it was copied?";
        return Err(Problem::new(Kind::KeyMalformed, detail));
    }
    let now = app.clock.now();
    let presented = app.keys.find(&app.db, &app.vault, text, now).await?.ok_or_else(|| {
        Problem::new(Kind::KeyUnknown, "It was never made here. Is it for another installation?")
    })?;
    if presented.key.revoked_at.is_some() {
        return Err(Problem::new(Kind::KeyRevoked, "Ask the operator for a new one."));
    }
    if presented.key.expires_at.is_some_and(|at| at <= now) {
        return Err(Problem::new(Kind::KeyExpired, "Ask the operator for a new one."));
    }
    Ok(presented)
}

/// Text of the key, from whichever header carries it.
fn shown(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut found: Option<&str> = None;
    for value in headers.get_all(header::AUTHORIZATION) {
        let text = value.to_str().unwrap_or("");
        let bearer = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((_, key)) = bearer else {
            return Err(Problem::new(Kind::KeyMalformed, "Send it as Authorization: Bearer <key>."));
        };
        one(&mut found, key.trim())?;
    }
    for value in headers.get_all(API_KEY) {
        one(&mut found, value.to_str().unwrap_or(""))?;
    }
    found.ok_or_else(|| {
        Problem::new(Kind::KeyMissing, "Send an API key as Authorization: Bearer <key> or as X-API-Key.")
    })
}

fn one<'h>(found: &mut Option<&'h str>, key: &'h str) -> Result<(), Problem> {
    if found.is_some_and(|other| other != key) {
        return Err(Problem::new(Kind::KeyAmbiguous, "Send one key, in one header."));
    }
    *found = Some(key);
    Ok(())
}

fn caller(presented: &Presented) -> Result<Caller, Problem> {
    let key = &presented.key;
    let (Some(tenant), Some(holder)) = (&key.tenant, presented.merchant) else {
        return Ok(Caller::Operator(Operator));
    };
    if holder.disabled_at.is_some() {
        return Err(Problem::new(Kind::MerchantDisabled, "Ask the operator of this installation."));
    }
    Ok(Caller::Merchant(Merchant { tenant: tenant.clone(), key_id: key.id.clone(), policy: holder.policy }))
}

fn caller_of(parts: &Parts) -> Result<&Caller, Problem> {
    parts
        .extensions
        .get()
        .ok_or_else(|| Problem::internal("a route that asks who is calling stands outside the gate"))
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        caller_of(parts).cloned()
    }
}

impl FromRequestParts<App> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        match caller_of(parts)? {
            Caller::Operator(operator) => Ok(operator.clone()),
            Caller::Merchant(_) => Err(Problem::new(Kind::OperatorOnly, "This key belongs to a merchant.")),
        }
    }
}

impl FromRequestParts<App> for Merchant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        match caller_of(parts)? {
            Caller::Merchant(merchant) => Ok(merchant.clone()),
            Caller::Operator(_) => Err(Problem::new(
                Kind::MerchantOnly,
                "This key is an operator's, which belongs to no merchant. Make a key for the merchant.",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_by(pairs: &[(HeaderName, &str)]) -> Result<String, Kind> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        shown(&headers).map(str::to_owned).map_err(|problem| problem.kind)
    }

    #[test]
    fn one_key_in_either_header() {
        let auth = header::AUTHORIZATION;
        assert_eq!(shown_by(&[(auth.clone(), "Bearer k")]).as_deref(), Ok("k"));
        assert_eq!(shown_by(&[(auth.clone(), "bearer k"), (API_KEY, "k")]).as_deref(), Ok("k"));
        assert_eq!(shown_by(&[(API_KEY, "k")]).as_deref(), Ok("k"));
        assert_eq!(shown_by(&[]), Err(Kind::KeyMissing));
        assert_eq!(shown_by(&[(auth.clone(), "Basic azo=")]), Err(Kind::KeyMalformed));
        assert_eq!(shown_by(&[(auth.clone(), "k")]), Err(Kind::KeyMalformed));
        assert_eq!(shown_by(&[(auth, "Bearer k"), (API_KEY, "l")]), Err(Kind::KeyAmbiguous));
        assert_eq!(shown_by(&[(API_KEY, "k"), (API_KEY, "l")]), Err(Kind::KeyAmbiguous));
    }
}
