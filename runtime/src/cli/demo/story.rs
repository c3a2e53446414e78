//! The steps, in order. Each counts as seen only when the API or a webhook has said so.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{
    super::{client::Client, print::text},
    PATIENCE,
    receiver::{Hook, Receiver},
    screen::Screen,
};

pub(super) const NETWORK: &str = "sandbox";
/// The contract of the asset `USDT` there.
pub(super) const CONTRACT: &str = "usdt";
const ASSET: &str = "USDT";
const AMOUNT: &str = "25.00";
const POLL_EVERY: Duration = Duration::from_millis(10);

/// What the story leaves behind, for the reader to go on with.
pub(super) struct Shop {
    /// A test key of the merchant.
    pub(super) key: String,
    /// Where its payers pay.
    pub(super) address: String,
    pub(super) receiver: Receiver,
}

/// Tells the story, and stops at the first step that is not seen.
pub(super) async fn tell(
    screen: &Screen,
    url: &str,
    operator: &Client,
    started: Instant,
) -> anyhow::Result<Shop> {
    let teller = Teller { screen };
    teller.step_since("server", started, server(url, operator)).await?;
    let key = teller.step("merchant", "makes a merchant and a key", merchant(operator)).await?;
    let shop = Client::at(url, Some(key.clone()))?;
    let address = teller.step("address", "registers where payers pay", address(&shop)).await?;
    let mut receiver = teller.step("receiver", "registers a webhook endpoint", endpoint(&shop)).await?;
    let invoice = teller.step("invoice", "asks for 25 dollars", invoice(&shop)).await?;
    screen.more(&format!(
        "asks for {} {ASSET}; pay exactly {}, which no",
        text(&invoice, "amount"),
        text(&invoice, "payable_amount")
    ));
    screen.more("other open invoice on that address asks for");

    let id = text(&invoice, "id");
    let paid_in = teller.step("payer", "sends the transfer", pay(&shop, &invoice)).await?;
    teller.step("seen", "waits for the plugin to report it", status(&shop, &id, "detected")).await?;
    teller
        .step("webhook", "waits for invoice.detected", webhook(&mut receiver, "invoice.detected", &id))
        .await?;
    let needed = confirmations(operator).await?;
    for number in 1..=needed {
        let label = if number == 1 { "confirmed" } else { "" };
        let block = paid_in + number - 1;
        let read = confirmed(operator, &shop, block, number, needed);
        teller.step(label, &format!("mines block {block}"), read).await?;
    }
    teller.step("credited", "waits for the credit", credited(&shop, &id)).await?;
    teller.step("webhook", "waits for invoice.paid", webhook(&mut receiver, "invoice.paid", &id)).await?;
    teller.step("delivery log", "waits for the attempts", deliveries(&shop, &id)).await?;
    Ok(Shop { key, address, receiver })
}

struct Teller<'s> {
    screen: &'s Screen,
}

impl Teller<'_> {
    async fn step<T>(
        &self,
        label: &str,
        doing: &str,
        work: impl Future<Output = anyhow::Result<(T, String)>>,
    ) -> anyhow::Result<T> {
        let since = self.screen.begin(label, doing);
        self.watch(label, doing, since, work).await
    }

    /// A step that began before.
    async fn step_since<T>(
        &self,
        label: &str,
        since: Instant,
        work: impl Future<Output = anyhow::Result<(T, String)>>,
    ) -> anyhow::Result<T> {
        self.watch(label, "starts", since, work).await
    }

    async fn watch<T>(
        &self,
        label: &str,
        doing: &str,
        since: Instant,
        work: impl Future<Output = anyhow::Result<(T, String)>>,
    ) -> anyhow::Result<T> {
        match timeout(PATIENCE, work).await {
            Ok(Ok((value, said))) => {
                self.screen.seen(label, &said, since);
                Ok(value)
            }
            Ok(Err(error)) => {
                self.screen.missing(label, doing);
                Err(error)
            }
            Err(_) => {
                self.screen.missing(label, doing);
                let patience = PATIENCE.as_secs();
                anyhow::bail!(
                    "the demo {doing}, and saw nothing in {patience} s; this is a defect of Kassa's"
                )
            }
        }
    }
}

async fn server(url: &str, operator: &Client) -> anyhow::Result<((), String)> {
    let ready = poll(async || Ok(operator.get("/ready").await.ok())).await?;
    Ok(((), format!("{url}, database {}", text(&ready, "database"))))
}

async fn merchant(operator: &Client) -> anyhow::Result<(String, String)> {
    let merchant = operator.post("/v1/operator/merchants", &json!({ "name": "Corner shop" })).await?;
    let wanted = json!({ "merchant_id": text(&merchant, "id"), "mode": "test", "name": "demo" });
    let key = operator.post("/v1/operator/api_keys", &wanted).await?;
    Ok((text(&key, "key"), format!("Corner shop, with the test key {}…", text(&key, "prefix"))))
}

async fn address(shop: &Client) -> anyhow::Result<(String, String)> {
    let me = shop.get("/v1/me").await?;
    // The sandbox makes addresses of words; one of its own for each merchant, since two could not share it.
    let seed = json!({ "do": "address", "seed": text(&me, "merchant_id") });
    let address = text(&shop.post(&format!("/v1/sandbox/{NETWORK}"), &seed).await?, "address");
    let registered =
        shop.post("/v1/receive_addresses", &json!({ "network": NETWORK, "address": address })).await?;
    ensure!(text(&registered, "address") == address, "another address was registered than was asked for");
    Ok((address.clone(), address))
}

async fn endpoint(shop: &Client) -> anyhow::Result<(Receiver, String)> {
    let receiver = Receiver::start().await?;
    let endpoint = shop.post("/v1/endpoints", &json!({ "url": receiver.url })).await?;
    receiver.trust(&text(&endpoint, "secret"))?;
    let said = format!("{} verifies what comes", receiver.url);
    Ok((receiver, said))
}

async fn invoice(shop: &Client) -> anyhow::Result<(Value, String)> {
    let wanted = json!({
        "title": "Two tickets", "order_id": "A-1001",
        "payable_network": NETWORK, "payable_asset": ASSET, "amount": AMOUNT,
    });
    let invoice = shop.post("/v1/invoices", &wanted).await?;
    ensure!(text(&invoice, "status") == "new", "a new invoice is {}", text(&invoice, "status"));
    let id = text(&invoice, "id");
    Ok((invoice, id))
}

/// Sends what the invoice asks for; answers the height of its block.
async fn pay(shop: &Client, invoice: &Value) -> anyhow::Result<(u64, String)> {
    let transfer = json!({
        "do": "transfer", "to": text(invoice, "destination_address"),
        "asset": CONTRACT, "amount": text(invoice, "payable_amount_units"),
    });
    let sent = shop.post(&format!("/v1/sandbox/{NETWORK}"), &transfer).await?;
    let height = sent.get("height").and_then(Value::as_u64).context("the transfer is in no block")?;
    Ok((height, format!("{} {ASSET} are in block {height}", text(invoice, "payable_amount"))))
}

async fn status(shop: &Client, id: &str, wanted: &str) -> anyhow::Result<((), String)> {
    let path = format!("/v1/invoices/{id}");
    poll(async || {
        let invoice = shop.get(&path).await?;
        Ok((text(&invoice, "status") == wanted).then_some(()))
    })
    .await?;
    Ok(((), format!("the invoice is {wanted}")))
}

async fn webhook(receiver: &mut Receiver, kind: &str, id: &str) -> anyhow::Result<((), String)> {
    let Hook { verified, .. } = receiver.wait_for(kind, id).await;
    verified.with_context(|| format!("the signature of {kind} does not verify"))?;
    Ok(((), format!("{kind} came, its signature verifies")))
}

/// How many confirmations the network wants.
async fn confirmations(operator: &Client) -> anyhow::Result<u64> {
    let network = operator.get(&format!("/v1/operator/networks/{NETWORK}")).await?;
    let credit = network.pointer("/manifest/credit").and_then(Value::as_u64);
    credit.context("the sandbox network counts no confirmations")
}

/// Mines the block if it is not there, and waits until the watcher has read it.
async fn confirmed(
    operator: &Client,
    shop: &Client,
    block: u64,
    number: u64,
    needed: u64,
) -> anyhow::Result<((), String)> {
    if number > 1 {
        shop.post(&format!("/v1/sandbox/{NETWORK}"), &json!({ "do": "mine", "blocks": 1 })).await?;
    }
    let path = format!("/v1/operator/networks/{NETWORK}");
    poll(async || {
        let network = operator.get(&path).await?;
        let height = network.pointer("/state/height").and_then(Value::as_u64);
        Ok(height.filter(|height| *height >= block))
    })
    .await?;
    let dots: String = (1..=needed).map(|dot| if dot <= number { '●' } else { '○' }).collect();
    Ok(((), format!("{dots}  {number} of {needed}: block {block} is read")))
}

async fn credited(shop: &Client, id: &str) -> anyhow::Result<((), String)> {
    let path = format!("/v1/invoices/{id}");
    let invoice = poll(async || {
        let invoice = shop.get(&path).await?;
        Ok((text(&invoice, "status") == "paid").then_some(invoice))
    })
    .await?;
    let credited = text(&invoice, "credited_amount");
    ensure!(
        credited == text(&invoice, "payable_amount"),
        "{credited} were credited, which is not what was due"
    );
    Ok(((), format!("{credited} {ASSET}; the invoice is paid")))
}

/// Both deliveries stand in the log as taken.
async fn deliveries(shop: &Client, id: &str) -> anyhow::Result<((), String)> {
    let count = poll(async || {
        let events = shop.list("/v1/events", &format!("&invoice_id={id}")).await?;
        let deliveries = shop.list("/v1/deliveries", "").await?;
        let delivered = |event: &Value| {
            deliveries
                .iter()
                .any(|one| text(one, "event_id") == text(event, "id") && text(one, "state") == "delivered")
        };
        Ok((events.len() == 2 && events.iter().all(delivered)).then_some(events.len()))
    })
    .await?;
    Ok(((), format!("{count} events, each delivered")))
}

/// Asks again until there is an answer; the caller bounds how long.
async fn poll<T>(ask: impl AsyncFn() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    loop {
        if let Some(found) = ask().await? {
            return Ok(found);
        }
        sleep(POLL_EVERY).await;
    }
}
