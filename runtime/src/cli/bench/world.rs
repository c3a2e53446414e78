//! A Kassa to be measured: the one that `serve` would run, except that it listens on any port, has no rate limit for
//! the load generator, and delivers to this machine.

use std::net::SocketAddr;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub(super) use crate::cli::scratch::{open, shop};
use crate::{
    app::App,
    domain::{network::Manifest, tenant::Tenant},
    keys, networks,
};

/// Network of the invoices made through HTTP: a chain of Kassa's own, on which nothing happens.
const SANDBOX: &str = "sandbox";
/// The sandbox's dollar.
const ASSET: &str = "USDT";
/// Number of prices, enough that the unique amounts of none are used up.
const PRICES: u64 = 500;
const CENTS_MIN: u64 = 1_000;
/// Id of a custom section of a component, and the name of the one that makes another artefact of the same code.
const CUSTOM_SECTION: u8 = 0;
const SECTION: &[u8] = b"\x05bench";

/// Manifest of a network in the binary, enabled or not.
pub(super) fn network(name: &str) -> anyhow::Result<Manifest> {
    let found = networks::shipped()?.into_iter().find(|manifest| manifest.name == name);
    found.with_context(|| format!("this binary brings no network {name} along"))
}

/// The same component with another hash for each number.
pub(super) fn another(wasm: &[u8], number: u64) -> Vec<u8> {
    let section = [SECTION, &number.to_be_bytes()].concat();
    let mut wasm = wasm.to_vec();
    wasm.push(CUSTOM_SECTION);
    // Its length, in one byte of LEB128, since it is below 128.
    wasm.extend(u8::try_from(section.len()));
    wasm.extend(section);
    wasm
}

/// Workers and API of an app, until stopped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Server {
    pub(super) async fn start(app: App) -> anyhow::Result<Self> {
        let (tell, told) = oneshot::channel();
        let stop = CancellationToken::new();
        let task = tokio::spawn(app.serve(stop.clone(), |address| {
            let _ = tell.send(address);
        }));
        match told.await {
            Ok(address) => Ok(Self { address, stop, task }),
            Err(_) => {
                task.await??;
                anyhow::bail!("the server ended at once")
            }
        }
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.task.await?
    }
}

/// A customer that orders invoices through HTTP.
#[derive(Debug, Clone)]
pub(super) struct Customer {
    key: String,
    /// Tells this one's orders from all others.
    name: String,
}

impl Customer {
    pub(super) async fn new(app: &App, name: &str) -> anyhow::Result<Self> {
        let sandbox = network(SANDBOX)?;
        let address = app.host.derive_address(&sandbox, "sbxpub", 1).await?;
        let address =
            address.map_err(|error| anyhow::anyhow!("the sandbox derives no address: {error:?}"))?;
        let shop = shop(app, &sandbox, &address.text).await?;
        let new = keys::NewKey {
            tenant: Some(Tenant::test(shop.merchant_id)),
            name: "bench".to_owned(),
            expires_at: None,
        };
        let (vault, now) = (app.vault.clone(), app.clock.now());
        let issued = app
            .db
            .write::<_, keys::IssueError, _>(move |conn| {
                Box::pin(async move { keys::issue(conn, &vault, new, now).await })
            })
            .await?;
        Ok(Self { key: issued.1, name: name.to_owned() })
    }

    /// The request that orders an invoice. Another number is another order.
    pub(super) fn order(&self, number: u64) -> anyhow::Result<Request<Full<Bytes>>> {
        let name = &self.name;
        let cents = CENTS_MIN + number % PRICES;
        let body = format!(
            r#"{{"title":"Order {number}","order_id":"{name}-{number}","payable_network":"{SANDBOX}","payable_asset":"{ASSET}","base_amount_usd":"{}.{:02}"}}"#,
            cents / 100,
            cents % 100,
        );
        let request = self.request(Method::POST, "/v1/invoices");
        Ok(request
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", format!("{name}-{number}"))
            .body(Full::from(body))?)
    }

    /// The request that uploads a hook and activates it.
    pub(super) fn upload(&self, wasm: Vec<u8>) -> anyhow::Result<Request<Full<Bytes>>> {
        let request = self.request(Method::POST, "/v1/hooks?activate=true");
        Ok(request.header(header::CONTENT_TYPE, "application/wasm").body(Full::from(wasm))?)
    }

    pub(super) fn look(&self, invoice_id: &str) -> anyhow::Result<Request<Full<Bytes>>> {
        Ok(self.request(Method::GET, &format!("/v1/invoices/{invoice_id}")).body(Full::default())?)
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "kassa")
            .header("x-api-key", &self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_says_its_own_lengths() {
        let name_len = usize::from(SECTION[0]);
        assert_eq!(&SECTION[1..=name_len], b"bench");
        let wasm = another(b"", 7);
        assert_eq!(usize::from(wasm[1]), wasm.len() - 2);
        assert_ne!(wasm, another(b"", 8));
    }
}
