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
    receiver::Receiver,
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
    teller.step_since("server", "starts", started, server(url, operator)).await?;
    let key = teller.step("merchant", "makes a merchant and a key", merchant(operator)).await?;
    let shop = Client::at(url, Some(key.clone()))?;
    let address = teller.step("address", "registers where payers pay", address(&shop)).await?;
    let mut receiver = teller.step("receiver", "registers a webhook endpoint", endpoint(&shop)).await?;
    let invoice = teller.step("invoice", "asks for an invoice", invoice(&shop)).await?;
    screen.more(&format!(
        "asks for {} {ASSET}; pay exactly {}, which no",
        text(&invoice, "amount"),
        text(&invoice, "payable_amount")
    ));
    screen.more("other open invoice on that address asks for");

    let id = text(&invoice, "id");
    let paid_in = teller.step("payer", "sends the transfer", pay(&shop, &invoice)).await?;
    let paid_at = Instant::now();
    teller.step_since("seen", "waits for the plugin to report it", paid_at, detected(&shop, &id)).await?;
    teller.webhook(&mut receiver, "invoice.detected", &id, paid_at).await?;
    let needed = confirmations(operator).await?;
    let mut mined_at = paid_at;
    for number in 1..=needed {
        let label = if number == 1 { "confirmed" } else { "" };
        let block = paid_in + number - 1;
        if number > 1 {
            shop.post(&format!("/v1/sandbox/{NETWORK}"), &json!({ "do": "mine", "blocks": 1 })).await?;
            mined_at = Instant::now();
        }
        let doing = format!("waits for block {block} to be read");
        teller.step_since(label, &doing, mined_at, confirmed(operator, block, number, needed)).await?;
    }
    teller.step_since("credited", "waits for the credit", mined_at, credited(&shop, &id)).await?;
    teller.webhook(&mut receiver, "invoice.paid", &id, mined_at).await?;
    teller.step_since("delivered", "looks the deliveries up", mined_at, deliveries(&shop, &id)).await?;
    Ok(Shop { key, address, receiver })
}

struct Teller<'s> {
    screen: &'s Screen,
}

impl Teller<'_> {
    /// A step that begins now.
    async fn step<T>(
        &self,
        label: &str,
        doing: &str,
        work: impl Future<Output = anyhow::Result<(T, String)>>,
    ) -> anyhow::Result<T> {
        self.step_since(label, doing, Instant::now(), work).await
    }

    /// A step that was caused before: its time runs from there.
    async fn step_since<T>(
        &self,
        label: &str,
        doing: &str,
        since: Instant,
        work: impl Future<Output = anyhow::Result<(T, String)>>,
    ) -> anyhow::Result<T> {
        let (value, said) = self.wait(label, doing, work).await?;
        self.screen.seen(label, &said, since.elapsed());
        Ok(value)
    }

    /// A webhook that must come and verify; its time ends when it came, which may be before it was asked for.
    async fn webhook(
        &self,
        receiver: &mut Receiver,
        kind: &str,
        invoice_id: &str,
        since: Instant,
    ) -> anyhow::Result<()> {
        let doing = format!("waits for {kind}");
        let hook = self.wait("webhook", &doing, async {
            let hook = receiver.wait_for(kind, invoice_id).await;
            hook.verified.with_context(|| format!("the signature of {kind} does not verify"))?;
            Ok(hook)
        });
        let came_at = hook.await?.at;
        let said = format!("{kind} came, its signature verifies");
        self.screen.seen("webhook", &said, came_at.saturating_duration_since(since));
        Ok(())
    }

    /// Waits with patience, and shows what is waited for.
    async fn wait<T>(
        &self,
        label: &str,
        doing: &str,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        self.screen.begin(label, doing);
        let waited = timeout(PATIENCE, work).await.unwrap_or_else(|_| {
            let patience = PATIENCE.as_secs();
            Err(anyhow::anyhow!(
                "the demo {doing}, and saw nothing in {patience} s; this is a defect of Kassa's"
            ))
        });
        waited.inspect_err(|_| self.screen.missing(label, doing))
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

async fn detected(shop: &Client, id: &str) -> anyhow::Result<((), String)> {
    let path = format!("/v1/invoices/{id}");
    let invoice = poll(async || {
        let invoice = shop.get(&path).await?;
        Ok((text(&invoice, "status") == "detected").then_some(invoice))
    })
    .await?;
    Ok(((), format!("the invoice is detected, {} {ASSET} pending", text(&invoice, "pending_amount"))))
}

/// How many confirmations the network wants.
async fn confirmations(operator: &Client) -> anyhow::Result<u64> {
    let network = operator.get(&format!("/v1/operator/networks/{NETWORK}")).await?;
    let credit = network.pointer("/manifest/credit").and_then(Value::as_u64);
    credit.context("the sandbox network counts no confirmations")
}

/// Waits until the watcher has read the block.
async fn confirmed(operator: &Client, block: u64, number: u64, needed: u64) -> anyhow::Result<((), String)> {
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
