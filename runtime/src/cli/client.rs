//! A thin client of the operator's API, for commands that only call it.

use std::{net::IpAddr, time::Duration};

use anyhow::Context as _;
use clap::Args;
use reqwest::{Method, RequestBuilder, header};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::{Global, folder, progress::Upload, secret};

/// Longer than the server takes for anything except compiling an uploaded plugin.
const TIMEOUT: Duration = Duration::from_secs(40);
/// Longer than an upload, which is compiled before it is answered.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(300);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of items on a page.
const PAGE: usize = 100;

/// The server, and the key to use it with.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct ServerArgs {
    /// URL of the server [default: the one that runs in the data folder, else the configured address]
    #[arg(long, global = true, env = "KASSA_URL", value_name = "URL", hide_env_values = true)]
    url: Option<String>,
    /// API key: the operator's, or a merchant's for `kassa hook`; @env:NAME and @file:PATH say where to read it
    #[arg(long, global = true, env = "KASSA_KEY", value_name = "KEY", hide_env_values = true)]
    key: Option<String>,
    /// Print the server's answer as JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// A problem that the server answered with (RFC 9457).
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) title: String,
    /// Explanation of the problem, and usually the next step.
    pub(super) detail: Option<String>,
    /// Advice that only the command line knows.
    pub(super) hint: Option<String>,
    /// Its kind, status and field, for looking it up.
    pub(super) about: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} ({})", self.title, self.detail.as_deref().unwrap_or("no detail"), self.about)
    }
}

impl std::error::Error for Refused {}

impl Refused {
    fn new(status: u16, problem: &Value) -> Self {
        let text = |field: &str| problem.get(field).and_then(Value::as_str).map(str::to_owned);
        let kind = text("type").unwrap_or_default();
        let kind = kind.rsplit('/').next().unwrap_or_default();
        let hint = match kind {
            "key_missing" => Some("The operator's key comes from KASSA_KEY or --key."),
            "key_unknown" | "key_malformed" | "key_revoked" | "key_expired" => {
                Some("With access to the data folder, `kassa key operator` makes a new operator's key.")
            }
            "grant_refused" => Some("`kassa plugin grant` sets what a version may use."),
            _ => None,
        };
        // `reason` says why a component was refused.
        let more = ["reason", "field"].map(|name| text(name).map(|value| format!(", {name} {value}")));
        let field: String = more.into_iter().flatten().collect();
        Self {
            title: text("title").unwrap_or_else(|| format!("the server answered {status}")),
            detail: text("detail"),
            hint: hint.map(str::to_owned),
            about: if kind.is_empty() {
                format!("status {status}")
            } else {
                format!("{kind}, status {status}{field}")
            },
        }
    }
}

/// A server and a key.
pub(super) struct Client {
    base: Url,
    key: Option<String>,
    http: reqwest::Client,
}

impl Client {
    /// A client of the server that the arguments, the data folder or the configuration name.
    pub(super) fn new(global: &Global, args: &ServerArgs) -> anyhow::Result<Self> {
        let base = match &args.url {
            Some(url) => url.clone(),
            None => {
                let running = folder::announced(&global.data());
                let address = running.map_or_else(|| Ok(global.config()?.listen), anyhow::Ok)?;
                local(address)
            }
        };
        // An empty variable is no key.
        let key = args.key.as_deref().filter(|key| !key.is_empty()).map(secret::read).transpose()?;
        Self::at(&base, key)
    }

    /// A client of the server at this URL.
    pub(super) fn at(base: &str, key: Option<String>) -> anyhow::Result<Self> {
        let base: Url = base.trim_end_matches('/').parse().with_context(|| format!("{base} is no URL"))?;
        anyhow::ensure!(matches!(base.scheme(), "http" | "https"), "{base} is no http:// or https:// URL");
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            // The key must not follow a redirect.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("kassa/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self { base, key, http })
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(self.request(Method::GET, path)?).await
    }

    /// Posts a body; `null` stands for none.
    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.request(Method::POST, path)?;
        self.send(if body.is_null() { request } else { request.json(body) }).await
    }

    pub(super) async fn put(&self, path: &str, body: &impl Serialize) -> anyhow::Result<Value> {
        self.send(self.request(Method::PUT, path)?.json(body)).await
    }

    pub(super) async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(self.request(Method::PATCH, path)?.json(body)).await
    }

    pub(super) async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.send(self.request(Method::DELETE, path)?).await
    }

    /// Uploads a component as it is.
    pub(super) async fn upload(&self, path: &str, wasm: Vec<u8>) -> anyhow::Result<Value> {
        let request = self.request(Method::POST, path)?.timeout(UPLOAD_TIMEOUT);
        let request = request
            .header(header::CONTENT_TYPE, "application/wasm")
            .header(header::CONTENT_LENGTH, wasm.len());
        let upload = Upload::new(wasm.len());
        self.send(request.body(upload.body(wasm))).await
    }

    /// All items of a list, over all its pages. `query` is `""` or begins with `&`.
    pub(super) async fn list(&self, path: &str, query: &str) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("{path}?limit={PAGE}{query}{cursor}")).await?;
            let data = page.get("data").and_then(Value::as_array).context("the answer is no list")?;
            items.extend(data.iter().cloned());
            match page.get("next_cursor").and_then(Value::as_str) {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(items),
            }
        }
    }

    fn request(&self, method: Method, path: &str) -> anyhow::Result<RequestBuilder> {
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let url: Url = url.parse().with_context(|| format!("{url} is no URL"))?;
        let request = self.http.request(method, url);
        Ok(match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        })
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        let body = answer.bytes().await.context("the answer broke off")?;
        let value: Value =
            if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap_or(Value::Null) };
        if status.is_success() { Ok(value) } else { Err(Refused::new(status.as_u16(), &value).into()) }
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let base = self.base.as_str().trim_end_matches('/');
        if error.is_connect() {
            anyhow::anyhow!("no server at {base}: start it with `kassa serve`, or say where it is with --url")
        } else if error.is_timeout() {
            anyhow::anyhow!("{base} did not answer in time")
        } else {
            anyhow::anyhow!("{base}: {error}")
        }
    }
}

/// URL of a server that listens on this address, for the same machine.
pub(super) fn local(address: std::net::SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", std::net::SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_addresses_is_reached_on_loopback() {
        for (listens, url) in [
            ("0.0.0.0:7070", "http://127.0.0.1:7070"),
            ("[::]:7070", "http://[::1]:7070"),
            ("10.1.2.3:80", "http://10.1.2.3:80"),
        ] {
            assert_eq!(local(listens.parse().unwrap()), url);
        }
    }

    #[test]
    fn a_problem_says_what_to_do() {
        let problem = serde_json::json!({
            "type": "/problems/key_unknown", "title": "The API key is not known", "status": 401,
            "detail": "It was never made here.",
        });
        let refused = Refused::new(401, &problem);
        assert_eq!(refused.about, "key_unknown, status 401");
        assert!(refused.hint.unwrap().contains("kassa key operator"));
        assert_eq!(Refused::new(502, &Value::Null).title, "the server answered 502");
    }
}
