//! Pricing: what an asset costs, as a hook of the merchant's says (role `rates`).
//!
//! A price is asked for while somebody waits for an invoice, so it is kept for a short while: a thousand invoices in
//! that time cost the source one request. A source that fails is left alone for a moment too.

use std::time::Instant;

pub(crate) use super::prices::NoPrice;
use crate::{
    app::App,
    db::{
        DbError,
        disk::DiskLimit,
        hooks::{self, Callee, run_queue},
    },
    domain::{
        Millis,
        price::{self, Price, PriceError},
        tenant::Tenant,
    },
    flow::hooks::call::{self, Effects, NOTE_CHARS_MAX, Ready, ready, used},
    host::{CallError, CallFailed, one_line, rates},
};

/// Time for which a price is reused, milliseconds.
const KEPT_MS: Millis = 30_000;
/// Time before a source that failed is asked again, milliseconds.
const LEFT_ALONE_MS: Millis = 3_000;

#[derive(Debug, thiserror::Error)]
pub(crate) enum PricingError {
    #[error(transparent)]
    NoPrice(#[from] NoPrice),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Price of one whole unit of an asset on a network.
pub(crate) async fn price(
    app: &App,
    tenant: &Tenant,
    network: &str,
    asset: &str,
    currency: &str,
) -> Result<Price, PricingError> {
    let sources = hooks::that_price(&mut app.db.read().await?, tenant).await?;
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

/// Asks the hook. Its effects are committed with its answer.
async fn ask(
    app: &App,
    callee: &Callee,
    asset: &str,
    currency: &str,
) -> Result<Result<Price, NoPrice>, DbError> {
    let pair = rates::Pair { asset: asset.to_owned(), currency: currency.to_owned(), more: Vec::new() };
    call::until_fresh(&Asking { app, callee, pair }).await.map(|(said, _)| said)
}

/// A price that is being asked for.
struct Asking<'a> {
    app: &'a App,
    callee: &'a Callee,
    pair: rates::Pair,
}

impl call::Attempt for Asking<'_> {
    type Committed = Result<Price, NoPrice>;

    async fn attempt(&self, last: bool) -> Result<Self::Committed, DbError> {
        let Self { app, callee, pair } = self;
        let failed = |why: String| NoPrice::Failed {
            hook: callee.hook_name.clone(),
            why: one_line(&why, NOTE_CHARS_MAX),
        };
        let Ready { version, of, told } = ready(&app.db, &app.vault, callee, None).await?;
        let (at, started) = (app.clock.now(), Instant::now());
        let context = rates::Context {
            now_ms: u64::try_from(at).unwrap_or(0),
            settings: told.text().to_owned(),
            more: Vec::new(),
        };
        let (said, effects, trace) = match app.host.hooks().price_of(&version, of, pair, &context).await {
            Ok(called) => {
                let (answer, effects, trace) = Effects::of(called);
                let said = match answer {
                    Ok(price) => {
                        let price = Price {
                            mantissa: price.mantissa,
                            scale: price.scale,
                            at: Millis::try_from(price.at_ms).unwrap_or(Millis::MAX),
                        };
                        price.check(at).map(|()| price).map_err(|error: PriceError| failed(error.to_string()))
                    }
                    Err(rates::RatesError::UnknownPair) => {
                        Err(NoPrice::Unknown { hook: callee.hook_name.clone() })
                    }
                    Err(rates::RatesError::Source(why) | rates::RatesError::Other(why)) => Err(failed(why)),
                };
                (said, Some(effects), trace)
            }
            Err(CallFailed { error: CallError::Stale, .. }) if !last => {
                return Err(DbError::Stale("a hook's storage"));
            }
            Err(CallFailed { error, trace, .. }) => (Err(failed(error.to_string())), None, *trace),
        };
        let (callee, used, well) = (Callee::clone(callee), used(&trace, started), said.is_ok());
        let limit = DiskLimit::of_mib(app.config.hooks.disk_mib_per_merchant);
        app.db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move {
                    run_queue::use_up(conn, &callee.hook_id, at, !well, used).await?;
                    match effects {
                        Some(effects) => effects.commit(conn, &callee, None, limit, at).await,
                        None => Ok(()),
                    }
                })
            })
            .await?;
        Ok(said)
    }
}
