//! Invoices: what a merchant asks to be paid.

mod corrections;
mod personal_data;

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    db::invoices::Of,
    domain::{
        id::InvoiceId,
        invoice::{Invoice, Matching, Status},
        money::{Amount, AmountError},
        network::{Asset, Manifest},
        verbatim::Verbatim,
        view::InvoiceView,
    },
    flow::{
        hooks::rates::{self, NoPrice, PricingError},
        invoicing::{self, Claimant, InvoicingError, Made},
        resolve, resources,
    },
    http::{
        auth::Merchant,
        corrections::scope,
        idempotent::{Once, Reply, idempotent, kept},
        input::{PathParam, Query, check_text},
        json::{Answer, Decimal, Json, NoBody},
        openapi::routes::{Routes, routes},
        page::{Listed, Page},
        problem::{Kind, PLUGIN, Problem, sentence},
    },
};

const TITLE_CHARS_MAX: usize = 200;
const NAME_CHARS_MAX: usize = 100;
const META_BYTES_MAX: usize = 4096;
const EXPIRES_IN_S: i64 = 3600;
const EXPIRES_IN_S_MIN: i64 = 60;
const EXPIRES_IN_S_MAX: i64 = 30 * 24 * 3600;
/// The currency of prices. An asset pegged to it is worth one unit.
const USD: &str = "USD";
/// Maximum number of decimals of a price.
const USD_DECIMALS: u8 = 6;
/// Number of decimals of amounts that are worth such a price, unless the network states one.
const PLACES: u8 = 8;

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(create, list))
        .routes(routes!(get))
        .routes(routes!(cancel))
        .merge(corrections::routes())
        .merge(personal_data::routes())
}

/// What is to be paid. Give either `amount` or `base_amount_usd`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewInvoice {
    /// Shown to the payer.
    #[schema(example = "Order 1042", max_length = 200)]
    title: String,
    #[schema(example = "sandbox")]
    payable_network: String,
    /// Symbol of an asset of that network; the only one pegged to the dollar if it is left out.
    #[schema(example = "USDT")]
    payable_asset: Option<String>,
    /// In whole units of the asset.
    #[schema(value_type = Option<String>, example = "25.00")]
    amount: Option<Decimal>,
    /// In dollars; for assets that are pegged to the dollar, and those that a hook of yours knows the price of.
    base_amount_usd: Option<Decimal>,
    /// Your own number for it. A second invoice with the same one is refused while the first is open or paid.
    #[schema(max_length = 100)]
    order_id: Option<String>,
    /// For your own sorting.
    #[schema(max_length = 100)]
    tag: Option<String>,
    /// Given back as the text that it is, to the last digit and space; at most 4096 bytes.
    #[schema(value_type = Option<serde_json::Value>)]
    meta: Option<Verbatim>,
    /// How its payment is recognised; what suits the network and your addresses if it is left out.
    matching: Option<Matching>,
    /// Seconds until the deadline, from 60 to 2592000 (30 days); 3600 if it is left out.
    #[schema(minimum = 60, maximum = 2_592_000)]
    expires_in_s: Option<i64>,
}

/// Create an invoice
///
/// The payer has to send exactly `payable_amount` to `destination_address`. Send an `Idempotency-Key`, so that a
/// repeated request does not make a second invoice.
#[utoipa::path(post, path = "/v1/invoices", tag = "invoices",
    request_body = NewInvoice, responses((status = 201, body = InvoiceView)),
    extensions(("x-problems" = json!([
        NETWORK, AMOUNT, PLUGIN, [Kind::AssetUnknown, Kind::DeadlineRefused, Kind::CurrencyUnsupported,
        Kind::PriceUnavailable, Kind::AddressMissing, Kind::OrderIdTaken, Kind::AmountSpaceExhausted,
        Kind::NetworkNotStarted]
    ]))))]
async fn create(
    merchant: Merchant,
    State(app): State<App>,
    body: Json<NewInvoice>,
) -> Result<Reply, Problem> {
    let Json { value, once } = body;
    match make(&app, &merchant, value, &once).await {
        // What was done once under this key is the answer, whatever has changed since then.
        Err(problem) if once.key.is_some() => match kept(&app, &merchant.owner(), &once).await? {
            Some(reply) => Ok(reply),
            None => Err(problem),
        },
        other => other,
    }
}

async fn make(app: &App, merchant: &Merchant, new: NewInvoice, once: &Once) -> Result<Reply, Problem> {
    let new = read(app, merchant, new).await?;
    let claimant = once.key.as_ref().map(|key| Claimant {
        owner: merchant.owner(),
        key: key.text.clone(),
        fingerprint: key.fingerprint.clone(),
        now: app.clock.now(),
    });
    match invoicing::make(app, new, claimant).await? {
        Made::New(invoice) => Reply::created(&InvoiceView::from(&*invoice)),
        Made::Replay(stored) => {
            let key = once.key.as_ref().ok_or_else(|| Problem::internal("a replay without a key"))?;
            Reply::replay(app, &merchant.owner(), key, stored)
        }
    }
}

/// Checks a request against the networks that exist.
async fn read(app: &App, merchant: &Merchant, new: NewInvoice) -> Result<invoicing::NewInvoice, Problem> {
    check_text("title", &new.title, TITLE_CHARS_MAX)?;
    for (field, text) in [("order_id", &new.order_id), ("tag", &new.tag)] {
        if let Some(text) = text {
            check_text(field, text, NAME_CHARS_MAX)?;
        }
    }
    if new.meta.as_ref().is_some_and(|meta| meta.text().len() > META_BYTES_MAX) {
        let detail =
            format!("meta has more than {META_BYTES_MAX} bytes. Keep it with yourself, under order_id.");
        return Err(Problem::new(Kind::FieldMalformed, detail).field("meta"));
    }
    let expires_in_s = new.expires_in_s.unwrap_or(EXPIRES_IN_S);
    if !(EXPIRES_IN_S_MIN..=EXPIRES_IN_S_MAX).contains(&expires_in_s) {
        let detail = format!("expires_in_s is from {EXPIRES_IN_S_MIN} to {EXPIRES_IN_S_MAX}.");
        return Err(Problem::new(Kind::DeadlineRefused, detail).field("expires_in_s"));
    }
    let network = network(app, merchant, &new.payable_network)?;
    let asset = asset(&network, new.payable_asset.as_deref())?;
    let listed = network.assets.get(asset).ok_or_else(|| Problem::internal("an asset without its place"))?;
    let (amount, price) = match (new.amount, new.base_amount_usd) {
        (Some(amount), None) => (amount_of("amount", &amount, listed.decimals)?, None),
        (None, Some(price)) if listed.peg.as_deref() == Some(USD) => {
            (amount_of("base_amount_usd", &price, listed.decimals)?, Some(price.0))
        }
        (None, Some(price)) => (worth(app, merchant, &network.name, listed, &price).await?, Some(price.0)),
        (None, None) => {
            let detail = "Give `amount`, or `base_amount_usd`.";
            return Err(Problem::new(Kind::FieldMissing, detail).field("amount"));
        }
        (Some(_), Some(_)) => {
            let detail = "Give either `amount` or `base_amount_usd`, not both.";
            return Err(Problem::new(Kind::FieldMalformed, detail).field("base_amount_usd"));
        }
    };
    let asset_id = listed.id(&network.name);
    Ok(invoicing::NewInvoice {
        tenant: merchant.tenant.clone(),
        network,
        asset,
        asset_id,
        amount,
        currency: price.is_some().then(|| USD.to_owned()),
        price,
        title: new.title,
        order_id: new.order_id,
        tag: new.tag,
        meta: new.meta,
        matching: new.matching,
        policy: merchant.policy,
        expires_in_s,
    })
}

/// Converts a price in dollars to an amount of an asset, at the rate of one of the merchant's hooks.
async fn worth(
    app: &App,
    merchant: &Merchant,
    network: &str,
    asset: &Asset,
    cost: &Decimal,
) -> Result<Amount, Problem> {
    let units = amount_of("base_amount_usd", cost, USD_DECIMALS)?;
    let price = rates::price(app, &merchant.tenant, network, &asset.symbol, USD).await;
    let price = price.map_err(|error| match error {
        PricingError::Db(error) => error.into(),
        PricingError::NoPrice(why) => {
            let kind = match why {
                NoPrice::NoHook | NoPrice::Unknown { .. } => Kind::CurrencyUnsupported,
                NoPrice::Failed { .. } => Kind::PriceUnavailable,
            };
            let detail =
                format!("{} has no price in dollars here: {why}. Give `amount` instead.", asset.symbol);
            Problem::new(kind, detail).field("base_amount_usd")
        }
    })?;
    // As fine as payers are asked to pay.
    let places = asset.unique.map_or(PLACES, |unique| unique.decimals);
    let amount = price.amount(units.0, USD_DECIMALS, asset.decimals, places);
    amount.map_err(|error| Problem::new(Kind::AmountTooLarge, sentence(&error)).field("base_amount_usd"))
}

/// Kinds of [`network`]'s refusals.
pub(super) const NETWORK: &[Kind] = &[Kind::NetworkUnknown, Kind::NetworkModeMismatch];

/// A network that this key may use.
pub(super) fn network(app: &App, merchant: &Merchant, name: &str) -> Result<Arc<Manifest>, Problem> {
    let network = app.networks.get(name).ok_or_else(|| {
        let known: Vec<String> = app
            .networks
            .all()
            .iter()
            .filter(|n| n.mode() == merchant.tenant.mode)
            .map(|n| n.name.clone())
            .collect();
        let detail = format!("There is no such network. This key can use: {}.", known.join(", "));
        Problem::new(Kind::NetworkUnknown, detail).field("payable_network")
    })?;
    if network.mode() != merchant.tenant.mode {
        let (key, other) = (merchant.tenant.mode.as_str(), network.mode().as_str());
        let detail = format!("{name} is a {other} network, and this is a {key} key.");
        return Err(Problem::new(Kind::NetworkModeMismatch, detail).field("payable_network"));
    }
    Ok(network)
}

fn asset(network: &Manifest, symbol: Option<&str>) -> Result<usize, Problem> {
    let symbols = || network.assets.iter().map(|asset| asset.symbol.as_str()).collect::<Vec<_>>().join(", ");
    let place = match symbol {
        Some(symbol) => network
            .assets
            .iter()
            .position(|asset| asset.symbol.eq_ignore_ascii_case(symbol))
            .ok_or_else(|| format!("{} has no asset {symbol:.20}. It has: {}.", network.name, symbols())),
        None => {
            let mut pegged = network.assets.iter().enumerate().filter(|(_, a)| a.peg.as_deref() == Some(USD));
            match (pegged.next(), pegged.next()) {
                (Some((place, _)), None) => Ok(place),
                _ => Err(format!("Say which asset in payable_asset: {}.", symbols())),
            }
        }
    };
    place.map_err(|detail| Problem::new(Kind::AssetUnknown, detail).field("payable_asset"))
}

/// Kinds of [`amount_of`]'s refusals.
const AMOUNT: &[Kind] =
    &[Kind::AmountMalformed, Kind::AmountTooSmall, Kind::AmountTooLarge, Kind::AmountTooManyDecimals];

fn amount_of(field: &str, text: &Decimal, decimals: u8) -> Result<Amount, Problem> {
    let amount = Amount::from_decimal(&text.0, decimals).map_err(|error| {
        let kind = match error {
            AmountError::Malformed => Kind::AmountMalformed,
            AmountError::TooManyDecimals { .. } => Kind::AmountTooManyDecimals,
            AmountError::TooLarge => Kind::AmountTooLarge,
        };
        Problem::new(kind, format!("{field} {error}.")).field(field)
    })?;
    if amount.is_zero() {
        return Err(
            Problem::new(Kind::AmountTooSmall, format!("{field} must be more than zero.")).field(field)
        );
    }
    Ok(amount)
}

/// Get an invoice
#[utoipa::path(get, path = "/v1/invoices/{id}", tag = "invoices",
    params(("id" = String, Path)), responses((status = 200, body = InvoiceView)))]
async fn get(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
) -> Result<Answer<InvoiceView>, Problem> {
    let id = id.id("invoice")?;
    let found = resources::get::<Invoice>(&app, &merchant.tenant, &id).await?;
    Ok(Answer(InvoiceView::at(&found, app.clock.now())))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct InvoiceParams {
    /// How many to give, from 1 to 100; 25 if not said.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only those that stand so.
    status: Option<Status>,
    /// Only those of this order of yours; not together with `status`.
    order_id: Option<String>,
}

/// List invoices
#[utoipa::path(get, path = "/v1/invoices", tag = "invoices",
    params(InvoiceParams), responses((status = 200, body = Listed<InvoiceView>)))]
async fn list(
    merchant: Merchant,
    State(app): State<App>,
    Query(params): Query<InvoiceParams>,
) -> Result<Answer<Listed<InvoiceView>>, Problem> {
    let page = Page::<InvoiceId>::new(params.limit, params.cursor.as_deref())?;
    let of = match (params.status, params.order_id) {
        (None, None) => Of::All,
        (Some(status), None) => Of::Status(status),
        (None, Some(order_id)) => Of::Order(order_id),
        (Some(_), Some(_)) => {
            let detail =
                "Give either status or order_id: an order has few invoices, and each says how it stands.";
            return Err(Problem::new(Kind::QueryMalformed, detail).field("status"));
        }
    };
    let rows = resources::list::<Invoice>(&app, &merchant.tenant, of, page.span()).await?;
    let now = app.clock.now();
    Ok(Answer(page.cut(rows, |row| &row.id, |row| InvoiceView::at(&row, now))))
}

/// Cancel an invoice
///
/// Only one that nothing has been paid to. A payment that arrives later is listed as a transfer with the reason
/// `cancelled`.
#[utoipa::path(post, path = "/v1/invoices/{id}/cancel", tag = "invoices",
    params(("id" = String, Path)), responses((status = 200, body = InvoiceView)),
    extensions(("x-problems" = json!([[Kind::InvoiceClosed]]))))]
async fn cancel(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: NoBody,
) -> Result<Reply, Problem> {
    let id = id.id("invoice")?;
    let (scope, now) = (scope(&merchant), app.clock.now());
    let cancel = idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| Box::pin(async move { resolve::cancel(conn, &scope, &id, now).await }),
        |invoice| Reply::ok(&InvoiceView::from(&invoice)),
    );
    let reply = cancel.await;
    app.wake.dispatch.notify_one();
    reply
}

impl From<InvoicingError> for Problem {
    fn from(error: InvoicingError) -> Self {
        let text = sentence(&error);
        match error {
            InvoicingError::Db(error) => error.into(),
            InvoicingError::Plugin(failed) => failed.into(),
            InvoicingError::AmountSpaceExhausted { .. } => {
                Self::new(Kind::AmountSpaceExhausted, text).retry_after(60)
            }
            InvoicingError::NotStarted { .. } => {
                Self::new(Kind::NetworkNotStarted, text).field("payable_network").retry_after(10)
            }
            InvoicingError::NoFreeChild => Self::new(Kind::Busy, text).retry_after(1),
            InvoicingError::NoAddress { .. } => {
                Self::new(Kind::AddressMissing, text).field("payable_network")
            }
            InvoicingError::CannotMatch { .. } => Self::new(Kind::FieldMalformed, text).field("matching"),
            InvoicingError::OrderIdTaken { invoice_id } => {
                Self::new(Kind::OrderIdTaken, text).field("order_id").with("invoice_id", invoice_id.as_str())
            }
            InvoicingError::AmountTooSmall => Self::new(Kind::AmountTooSmall, text).field("amount"),
            InvoicingError::AmountTooLarge => Self::new(Kind::AmountTooLarge, text).field("amount"),
        }
    }
}
