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
    ground::{Ground, START_PATIENCE, Wait},
    receiver::Receiver,
    screen::Screen,
};

/// Maximum number of confirmations with a line each; more share one line.
const CONFIRMATIONS_SHOWN: u64 = 3;
const AMOUNT: &str = "25.00";
const POLL_EVERY: Duration = Duration::from_millis(10);

/// The story's results, for the reader to go on with.
pub(super) struct Shop {
    /// API key of the merchant.
    pub(super) key: String,
    /// Address of its payers' payments.
    pub(super) address: String,
    pub(super) receiver: Receiver,
}

/// Tells the story. Errors at the first step that is not seen.
pub(super) async fn tell(
    screen: &Screen,
    ground: &mut Ground,
    url: &str,
    operator: &Client,
    started: Instant,
) -> anyhow::Result<Shop> {
    let teller = Teller { screen };
    teller.step_since("server", "starts", started, server(url, operator)).await?;
    if ground.is_local() {
        let begun = Instant::now();
        teller.within(START_PATIENCE, "chain", "starts the local chain", ground.start()).await?;
        teller.step_since("chain", "puts it under the network", begun, chain(ground, operator)).await?;
    }
    let key =
        teller.step("merchant", "makes a merchant and a key", merchant(operator, ground.mode())).await?;
    let shop = Client::at(url, Some(key.clone()))?;
    let begun = Instant::now();
    let registered = address(ground, &shop);
    let (address, said) =
        teller.within(START_PATIENCE, "address", "registers where payers pay", registered).await?;
    screen.seen("address", &said, begun.elapsed());
    let mut receiver = teller.step("receiver", "registers a webhook endpoint", endpoint(&shop)).await?;
    let invoice = teller.step("invoice", "asks for an invoice", invoice(ground, &shop)).await?;
    terms(screen, ground, &invoice);

    let id = text(&invoice, "id");
    let height = teller.step("payer", "sends the transfer", pay(ground, &shop, &invoice)).await?;
    let paid_at = Instant::now();
    let wait = ground.wait().await?;
    if wait != Wait::Nothing {
        let seen = detected(ground, &shop, &id);
        teller.step_since("seen", "waits for the plugin to report it", paid_at, seen).await?;
        teller.webhook(&mut receiver, "invoice.detected", &id, paid_at).await?;
    }
    let sure_at = teller.sure(ground, operator, &shop, wait, height, paid_at).await?;
    teller.step_since("credited", "waits for the credit", sure_at, credited(ground, &shop, &id)).await?;
    teller.webhook(&mut receiver, "invoice.paid", &id, sure_at).await?;
    teller.step_since("delivered", "looks the deliveries up", sure_at, deliveries(&shop, &id)).await?;
    Ok(Shop { key, address, receiver })
}

/// Shows the payer's part.
fn terms(screen: &Screen, ground: &Ground, invoice: &Value) {
    let (amount, payable) = (text(invoice, "amount"), text(invoice, "payable_amount"));
    let symbol = &ground.asset.symbol;
    match invoice.get("payment_comment").and_then(Value::as_str) {
        Some(comment) => {
            screen.more(&format!("asks for {amount} {symbol}; pay with the comment {comment},"));
            screen.more("which no other invoice has");
        }
        None => {
            screen.more(&format!("asks for {amount} {symbol}; pay exactly {payable}, which no"));
            screen.more("other open invoice on that address asks for");
        }
    }
}

struct Teller<'s> {
    screen: &'s Screen,
}

impl Teller<'_> {
    /// Does a step, timed from now.
    async fn step<T>(
        &self,
        label: &str,
        doing: &str,
        work: impl Future<Output = anyhow::Result<(T, String)>>,
    ) -> anyhow::Result<T> {
        self.step_since(label, doing, Instant::now(), work).await
    }

    /// Waits for a step with an earlier cause, from which its time counts.
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

    /// Waits for a webhook, which must verify. Its time ends at its arrival, which may be before it was asked for.
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

    /// Advances the chain until the payment is as deep as the network wants. Returns the time of that.
    async fn sure(
        &self,
        ground: &Ground,
        operator: &Client,
        shop: &Client,
        wait: Wait,
        height: u64,
        paid_at: Instant,
    ) -> anyhow::Result<Instant> {
        let mut at = paid_at;
        match wait {
            Wait::Confirmations(needed) if needed <= CONFIRMATIONS_SHOWN => {
                for number in 1..=needed {
                    let label = if number == 1 { "confirmed" } else { "" };
                    let block = height + number - 1;
                    if number > 1 {
                        ground.mine(shop, 1).await?;
                        at = Instant::now();
                    }
                    let doing = format!("waits for block {block} to be read");
                    let read = confirmed(ground, operator, block, number, needed);
                    self.step_since(label, &doing, at, read).await?;
                }
            }
            Wait::Confirmations(needed) => {
                ground.mine(shop, needed - 1).await?;
                at = Instant::now();
                let block = height + needed - 1;
                let doing = format!("waits for block {block} to be read");
                let read = confirmed(ground, operator, block, needed, needed);
                self.step_since("confirmed", &doing, at, read).await?;
            }
            Wait::Final => {
                let blocks = ground.mine_until_final(shop, height).await?;
                at = Instant::now();
                let doing = format!("waits for block {height} to be final");
                let why = format!("{blocks} blocks later it is final");
                let read = made_final(ground, operator, height, &why);
                self.step_since("final", &doing, at, read).await?;
            }
            Wait::Nothing => {
                let doing = format!("waits for block {height} to be read");
                let read = made_final(ground, operator, height, "what is in it is final");
                self.step_since("final", &doing, at, read).await?;
            }
        }
        Ok(at)
    }

    /// Waits with a time limit, and shows what it waits for.
    async fn wait<T>(
        &self,
        label: &str,
        doing: &str,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        self.within(PATIENCE, label, doing, work).await
    }

    async fn within<T>(
        &self,
        patience: Duration,
        label: &str,
        doing: &str,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        self.screen.begin(label, doing);
        let waited = timeout(patience, work).await.unwrap_or_else(|_| {
            let patience = patience.as_secs();
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

async fn chain(ground: &Ground, operator: &Client) -> anyhow::Result<((), String)> {
    Ok(((), ground.connect(operator).await?))
}

async fn merchant(operator: &Client, mode: &str) -> anyhow::Result<(String, String)> {
    let merchant = operator.post("/v1/operator/merchants", &json!({ "name": "Corner shop" })).await?;
    let wanted = json!({ "merchant_id": text(&merchant, "id"), "mode": mode, "name": "demo" });
    let key = operator.post("/v1/operator/api_keys", &wanted).await?;
    Ok((text(&key, "key"), format!("Corner shop, with the {mode} key {}…", text(&key, "prefix"))))
}

async fn address(ground: &Ground, shop: &Client) -> anyhow::Result<(String, String)> {
    let address = ground.address(shop).await?;
    let wanted = json!({ "network": ground.network.name, "address": address });
    let registered = shop.post("/v1/receive_addresses", &wanted).await?;
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

async fn invoice(ground: &Ground, shop: &Client) -> anyhow::Result<(Value, String)> {
    let wanted = json!({
        "title": "Two tickets", "order_id": "A-1001", "amount": AMOUNT,
        "payable_network": ground.network.name, "payable_asset": ground.asset.symbol,
    });
    let invoice = shop.post("/v1/invoices", &wanted).await?;
    ensure!(text(&invoice, "status") == "new", "a new invoice is {}", text(&invoice, "status"));
    let id = text(&invoice, "id");
    Ok((invoice, id))
}

/// Pays the invoice.
async fn pay(ground: &Ground, shop: &Client, invoice: &Value) -> anyhow::Result<(u64, String)> {
    let height = ground.pay(shop, invoice).await?;
    let amount = text(invoice, "payable_amount");
    Ok((height, format!("{amount} {} are in block {height}", ground.asset.symbol)))
}

async fn detected(ground: &Ground, shop: &Client, id: &str) -> anyhow::Result<((), String)> {
    let path = format!("/v1/invoices/{id}");
    let invoice = poll(async || {
        let invoice = shop.get(&path).await?;
        Ok((text(&invoice, "status") == "detected").then_some(invoice))
    })
    .await?;
    let pending = text(&invoice, "pending_amount");
    Ok(((), format!("the invoice is detected, {pending} {} pending", ground.asset.symbol)))
}

/// Waits until the watcher has read the block.
async fn confirmed(
    ground: &Ground,
    operator: &Client,
    block: u64,
    number: u64,
    needed: u64,
) -> anyhow::Result<((), String)> {
    reached(ground, operator, "/state/height", block).await?;
    let dots: String = (1..=needed).map(|dot| if dot <= number { '●' } else { '○' }).collect();
    Ok(((), format!("{dots}  {number} of {needed}: block {block} is read")))
}

/// Waits until the watcher has heard that the block is final.
async fn made_final(
    ground: &Ground,
    operator: &Client,
    block: u64,
    why: &str,
) -> anyhow::Result<((), String)> {
    reached(ground, operator, "/state/final", block).await?;
    Ok(((), format!("block {block} is read; {why}")))
}

/// Waits until a field of the network's state has reached the block.
async fn reached(ground: &Ground, operator: &Client, field: &str, block: u64) -> anyhow::Result<()> {
    let path = format!("/v1/operator/networks/{}", ground.network.name);
    poll(async || {
        let network = operator.get(&path).await?;
        let height = network.pointer(field).and_then(Value::as_u64);
        Ok(height.filter(|height| *height >= block))
    })
    .await?;
    Ok(())
}

async fn credited(ground: &Ground, shop: &Client, id: &str) -> anyhow::Result<((), String)> {
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
    Ok(((), format!("{credited} {}; the invoice is paid", ground.asset.symbol)))
}

/// Waits until the log shows all deliveries as taken.
async fn deliveries(shop: &Client, id: &str) -> anyhow::Result<((), String)> {
    let count = poll(async || {
        let events = shop.list("/v1/events", &format!("&invoice_id={id}")).await?;
        let deliveries = shop.list("/v1/deliveries", "").await?;
        let delivered = |event: &Value| {
            deliveries
                .iter()
                .any(|one| text(one, "event_id") == text(event, "id") && text(one, "state") == "delivered")
        };
        Ok((!events.is_empty() && events.iter().all(delivered)).then_some(events.len()))
    })
    .await?;
    Ok(((), format!("{count} events, each delivered")))
}

/// Asks again until there is an answer; the caller bounds the time.
async fn poll<T>(ask: impl AsyncFn() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    loop {
        if let Some(found) = ask().await? {
            return Ok(found);
        }
        sleep(POLL_EVERY).await;
    }
}
