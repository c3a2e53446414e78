//! A hook's requests to the hosts that it is granted.
//!
//! A host is granted by its name as the URL writes it; where the name leads is checked again when it is resolved
//! (`outbound::guard`), so no grant reaches a private address. What the operator allows is asked at every request, since a
//! setting may name a host long after the upload. A secret goes to the one host that it is bound to,
//! over a connection that is secured, and the hook never holds it.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue as Value, Method};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{
    OfMerchant,
    http::{check_header, count_headers},
    template::{Piece, pieces},
    text::one_line,
};
use crate::{
    domain::hook::Purpose,
    host::bindings::services::kassa::plugin::http::{HttpError, Response},
    outbound::{Outbound, OutboundError, Over, Reach, Request, is_as_written, parse_url},
};

/// What a hook may send in one request.
pub(super) const BODY_BYTES_MAX: usize = 256 << 10;
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Where hooks send their requests.
pub(crate) struct Hosts {
    /// It keeps no connection, so that none is lent from one hook to another.
    pub(crate) outbound: Outbound,
    pub(crate) reach: Reach,
    /// What the operator allows (`hooks.hosts`).
    pub(crate) allowed: Vec<String>,
}

/// The requests of a call, by what they are: how many were the same.
#[derive(Default)]
pub(super) struct Repeats(HashMap<[u8; 32], u32>);

impl Repeats {
    /// The key of a request of this run: the same whenever the run makes the same request again, and another one for each
    /// other request. What is sent twice in one call is meant twice.
    fn key(
        &mut self,
        run_id: &str,
        method: &Method,
        url: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> String {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        };
        add(method.as_str().as_bytes());
        add(url.as_bytes());
        for (name, value) in headers {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        add(body);
        let hash: [u8; 32] = hash.finalize().into();
        let seen = self.0.entry(hash).or_default();
        *seen += 1;
        format!("{run_id}-{}-{seen}", hex::encode(&hash[..8]))
    }
}

impl Hosts {
    /// Checks a request and puts the secrets in.
    pub(super) fn prepare(
        &self,
        of: &OfMerchant,
        method: Method,
        url: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
        repeats: &mut Repeats,
    ) -> Result<Request, HttpError> {
        if body.len() > BODY_BYTES_MAX {
            return Err(HttpError::Malformed(format!("the body has more than {BODY_BYTES_MAX} bytes")));
        }
        count_headers(headers)?;
        let key = of.run_id.as_ref().map(|run_id| repeats.key(run_id.as_str(), &method, url, headers, &body));
        let url = self.url(of, url)?;
        let host = authority(&url);
        let mut map = filled_headers(of, &host, headers)?;
        if let Some(key) = key
            && !map.contains_key(IDEMPOTENCY_KEY)
            && let Ok(value) = Value::from_str(&key)
        {
            map.insert(IDEMPOTENCY_KEY, value);
        }
        Ok(Request {
            method,
            url,
            headers: map,
            body: Bytes::from(body),
            reach: self.reach,
            deadline: std::time::Duration::ZERO,
            body_bytes_max: 0,
            over: Over::Refuse,
            gzip: false,
        })
    }

    /// The URL with its secrets, if its host is granted.
    fn url(&self, of: &OfMerchant, text: &str) -> Result<Url, HttpError> {
        // Braces are no part of a host's name, so this finds the host that the whole URL has. Nothing is sent to it.
        let bare = parse_url(&text.replace(['{', '}'], "_"), self.reach).map_err(refusal)?;
        let host = authority(&bare);
        if !of.hosts.contains(&host) {
            return Err(HttpError::Denied(format!(
                "the host {} is not granted; the manifest asks for hosts under [grants]",
                one_line(&host, 100)
            )));
        }
        if !is_allowed(&self.allowed, &host) {
            return Err(HttpError::Denied(format!(
                "the operator does not allow the host {} (hooks.hosts)",
                one_line(&host, 100)
            )));
        }
        let (filled, _) = filled(of, &host, text, |secret| encoded(secret).collect())?;
        let url = parse_url(&filled, self.reach).map_err(refusal)?;
        // A secret between the slashes before the host would have changed where the request goes.
        if authority(&url) != host || url.scheme() != bare.scheme() {
            return Err(HttpError::Denied(
                "a secret stands in the path or the query, nowhere else".to_owned(),
            ));
        }
        if !is_as_written(&filled, &url) {
            let why = "the URL would be sent as another one: no '\\', no segments '.' and '..', '//' before the host";
            return Err(HttpError::Malformed(why.to_owned()));
        }
        Ok(url)
    }

    pub(super) async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let answer = self.outbound.send(request).await.map_err(refusal)?;
        let headers = answer
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        Ok(Response { status: answer.status, headers, body: answer.body.into() })
    }
}

/// Whether these, which may be `*` for all, have a host.
pub(crate) fn is_allowed(allowed: &[String], host: &str) -> bool {
    allowed.iter().any(|one| one == "*" || one == host)
}

/// A URL's host as grants write it: with its port, if that is not the usual one.
#[must_use]
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Headers with their secrets, as they are sent to this host.
pub(super) fn filled_headers(
    of: &OfMerchant,
    host: &str,
    headers: &[(String, String)],
) -> Result<HeaderMap, HttpError> {
    let mut map = HeaderMap::with_capacity(headers.len() + 1);
    for (name, template) in headers {
        let (text, has_secret) = filled(of, host, template, str::to_owned)?;
        let malformed = || {
            let with = if has_secret { ", with its secrets filled in" } else { "" };
            HttpError::Malformed(format!("the header {}{with}", one_line(name, 60)))
        };
        let name = check_header(name, &text).map_err(|_| malformed())?;
        let mut value = Value::from_str(&text).map_err(|_| malformed())?;
        value.set_sensitive(has_secret);
        map.append(HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed())?, value);
    }
    Ok(map)
}

/// A text with the secrets of this host in it, and whether it has any.
fn filled(
    of: &OfMerchant,
    host: &str,
    template: &str,
    encode: impl Fn(&str) -> String,
) -> Result<(String, bool), HttpError> {
    let mut text = String::with_capacity(template.len());
    let mut has_secret = false;
    for piece in pieces(template)? {
        match piece {
            Piece::Text(piece) => text.push_str(piece),
            Piece::Secret(name) => {
                text.push_str(&encode(secret(of, name, host)?));
                has_secret = true;
            }
        }
    }
    Ok((text, has_secret))
}

/// A secret's text, if it is bound to this host.
fn secret<'s>(of: &'s OfMerchant, name: &str, host: &str) -> Result<&'s str, HttpError> {
    let shown = one_line(name, 60);
    let secret = of
        .secrets
        .get(name)
        .ok_or_else(|| HttpError::Denied(format!("the merchant has set no secret {shown}")))?;
    match &secret.purpose {
        Purpose::Host(bound) if bound == host => Ok(&secret.text),
        Purpose::Host(_) => Err(HttpError::Denied(format!("the secret {shown} is bound to another host"))),
        Purpose::Sign => Err(HttpError::Denied(format!("the secret {shown} signs, and is sent nowhere"))),
    }
}

/// What has a meaning of its own in a URL is escaped; the rest is as the service wants it.
fn encoded(secret: &str) -> impl Iterator<Item = char> {
    secret.bytes().flat_map(|byte| {
        let plain = byte.is_ascii_alphanumeric() || b"-._~:!$'()*,;=@+".contains(&byte);
        let text = if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        text.chars().collect::<Vec<_>>()
    })
}

fn refusal(error: OutboundError) -> HttpError {
    match error {
        OutboundError::Denied(why) => HttpError::Denied(why),
        OutboundError::Malformed(why) => HttpError::Malformed(why),
        OutboundError::Timeout => HttpError::Timeout,
        OutboundError::TooLarge(_) => HttpError::Budget("the answer is larger than what is left".to_owned()),
        OutboundError::Connect(why) | OutboundError::Tls(why) | OutboundError::Body(why) => {
            HttpError::Connection(why)
        }
    }
}

#[cfg(test)]
mod tests;
