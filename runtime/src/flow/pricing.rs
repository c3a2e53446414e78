//! Pricing: what an asset costs, as a hook of the merchant's says (role `rates`).
//!
//! A price is asked for while somebody waits for an invoice, so it is kept for a short while: a thousand invoices in
//! that time cost the source one request. A source that fails is left alone for a moment too.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tokio::sync::Mutex as Turn;

use super::fulfill::call::{NOTE_CHARS_MAX, Ready, STALE_TRIES, ready, send, used};
use crate::{
    app::App,
    db::{
        DbError,
        disk::{self, DiskLimit},
        hook_runs,
        hooks::{self, Callee, Owner},
    },
    domain::{
        Millis,
        price::{self, Price, PriceError},
    },
    host::{CallError, CallFailed, rates},
};

/// A price is not asked for again for so long.
const KEPT_MS: Millis = 30_000;
/// A source that failed is left alone for so long.
const LEFT_ALONE_MS: Millis = 3_000;
/// What is kept at most; then all is forgotten.
const KEPT_MAX: usize = 10_000;

/// Why there is no price.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NoPrice {
    #[error("no hook says what it costs")]
    NoHook,
    #[error("the hook {hook} does not know it")]
    Unknown { hook: String },
    #[error("the hook {hook} has no price: {why}")]
    Failed { hook: String, why: String },
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum PricingError {
    #[error(transparent)]
    NoPrice(#[from] NoPrice),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Which version with which settings said it about what; another of either is asked anew.
type About = (String, String, String, String);

/// What a source said last. Times are [`crate::clock::Clock::passed`]. Whoever asks while another does waits for that
/// one's answer.
type Last = Turn<Said>;

#[derive(Default)]
struct Said {
    /// The last answer, and until when it holds.
    last: Option<(Result<Price, NoPrice>, Millis)>,
    /// The last price that was good, and when.
    good: Option<(Price, Millis)>,
}

/// The prices of this process.
#[derive(Default)]
pub(crate) struct Prices {
    last: Mutex<HashMap<About, Arc<Last>>>,
}

impl Prices {
    fn of(&self, about: About) -> Arc<Last> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= KEPT_MAX {
            last.clear();
        }
        last.entry(about).or_default().clone()
    }
}

/// What one whole unit of an asset on a network costs.
pub(crate) async fn price(
    app: &App,
    owner: &Owner,
    network: &str,
    asset: &str,
    currency: &str,
) -> Result<Price, PricingError> {
    let sources = hooks::that_price(&mut app.db.read().await?, owner).await?;
    let source = sources.into_iter().find(|(_, binding)| binding.wants_transfer(network, asset));
    let (callee, _) = source.ok_or(NoPrice::NoHook)?;
    let about = (callee.version_id.clone(), callee.settings.clone(), asset.to_owned(), currency.to_owned());
    let last = app.prices.of(about);
    let mut last = last.lock().await;
    if let Some((said, until)) = &last.last
        && app.clock.passed() < *until
    {
        return Ok(said.clone()?);
    }
    let mut said = ask(app, &callee, asset, currency).await?;
    let now = app.clock.passed();
    let before = last.good.filter(|(_, at)| now - at < price::STEADY_MS);
    if let (Ok(price), Some((before, _))) = (&said, before)
        && let Err(jumped) = price.follows(&before)
    {
        let (hook, why) = (callee.hook_name.clone(), jumped.to_string());
        tracing::warn!(hook, asset, currency, "{why}");
        said = Err(NoPrice::Failed { hook, why });
    }
    if let Ok(price) = said {
        last.good = Some((price, now));
    }
    let kept = if said.is_ok() { KEPT_MS } else { LEFT_ALONE_MS };
    last.last = Some((said.clone(), now + kept));
    Ok(said?)
}

/// Asks the hook. What it stored and queued is committed with its answer.
async fn ask(
    app: &App,
    callee: &Callee,
    asset: &str,
    currency: &str,
) -> Result<Result<Price, NoPrice>, DbError> {
    let failed = |why: String| NoPrice::Failed {
        hook: callee.hook_name.clone(),
        why: crate::host::one_line(&why, NOTE_CHARS_MAX),
    };
    for _ in 0..STALE_TRIES {
        let Ready { version, of, told } = ready(app, callee, None).await?;
        let (at, started) = (app.clock.now(), Instant::now());
        let pair = rates::Pair { asset: asset.to_owned(), currency: currency.to_owned(), more: Vec::new() };
        let context = rates::Context {
            now_ms: u64::try_from(at).unwrap_or(0),
            settings: told.text().to_owned(),
            more: Vec::new(),
        };
        let called = match app.host.hooks().price_of(&version, of, &pair, &context).await {
            Ok(called) => called,
            Err(CallFailed { error: CallError::Stale, .. }) => continue,
            Err(CallFailed { error, trace, .. }) => {
                let (hook_id, used) = (callee.hook_id.clone(), used(&trace, started));
                let written = app.db.write(move |conn| {
                    Box::pin(async move { hook_runs::queue::use_up(conn, &hook_id, at, true, used).await })
                });
                written.await?;
                return Ok(Err(failed(error.to_string())));
            }
        };
        let said = match called.value {
            Ok(price) => {
                let price = Price {
                    mantissa: price.mantissa,
                    scale: price.scale,
                    at: Millis::try_from(price.at_ms).unwrap_or(Millis::MAX),
                };
                price.check(at).map(|()| price).map_err(|error: PriceError| failed(error.to_string()))
            }
            Err(rates::RatesError::UnknownPair) => Err(NoPrice::Unknown { hook: callee.hook_name.clone() }),
            Err(rates::RatesError::Source(why) | rates::RatesError::Other(why)) => Err(failed(why)),
        };
        let (callee, used, well) = (callee.clone(), used(&called.trace, started), said.is_ok());
        let limit = DiskLimit::of_mib(app.config.hooks.disk_mib_per_merchant);
        let written = app.db.write::<_, DbError, _>(move |conn| {
            Box::pin(async move {
                hook_runs::queue::use_up(conn, &callee.hook_id, at, !well, used).await?;
                disk::store(conn, &callee.merchant_id, &called.writes, limit).await?;
                for webhook in called.webhooks {
                    send(conn, &callee, webhook, at).await?;
                }
                Ok(())
            })
        });
        match written.await {
            Ok(()) => return Ok(said),
            Err(DbError::Stale(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Err(failed("its storage changes all the time".to_owned())))
}
