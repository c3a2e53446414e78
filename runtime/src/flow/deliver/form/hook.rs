//! The form that is a hook of the merchant's own (role `form`), asked at each attempt, in the version that is in use then.
//!
//! The attempt waits for it, so the endpoint's own lane pays for the time. Forms have half of the places of hooks, and a
//! merchant its share of them, so that no other work of hooks is held up by deliveries. A form that fails is a failed
//! attempt: what it said stands there, and the delivery is tried again on the schedule of all.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::{Endpoint, Event, FormError, Rendering};
use crate::{
    app::App,
    config,
    db::{
        Db, DbError,
        deliveries::report::FormCall,
        hooks::{self, Callee},
    },
    domain::{Millis, id::HookId},
    flow::hooks::call::{NOTE_CHARS_MAX, Ready, ready, used},
    host::{CallError, Host, NotRendered, Rendered, Trace, form, one_line},
    shares::Shares,
    vault::Vault,
};

/// What asking forms takes.
#[derive(Clone)]
pub(crate) struct Forms {
    db: Db,
    vault: Arc<Vault>,
    host: Host,
    places: Arc<Shares>,
}

impl Forms {
    pub(crate) fn new(app: &App) -> Self {
        Self::with(app.db.clone(), app.vault.clone(), app.host.clone(), &app.config.hooks)
    }

    /// The same from its parts.
    pub(crate) fn with(db: Db, vault: Arc<Vault>, host: Host, config: &config::Hooks) -> Self {
        let places = usize::try_from(config.calls_max).unwrap_or(1).div_ceil(2).max(1);
        let places = Arc::new(Shares::new(places, config.concurrency_per_merchant.max(1)));
        Self { db, vault, host, places }
    }
}

/// Asks the hook, until this time at the latest. None: it could not be called now.
pub(super) async fn render(
    forms: &Forms,
    hook_id: &HookId,
    event: &Event<'_>,
    endpoint: &Endpoint<'_>,
    at: Millis,
    until: Instant,
) -> Option<Rendering> {
    let _place = timeout_at(until, forms.places.enter(endpoint.merchant_id.as_str())).await.ok()??;
    let (callee, ready) = match prepare(forms, hook_id).await {
        Ok(Ok(prepared)) => prepared,
        Ok(Err(error)) => return Some(Rendering { rendered: Err(error), call: None }),
        Err(error) if error.trouble().is_some() || error.is_passing() => return None,
        Err(error) => {
            tracing::error!(hook = hook_id.as_str(), %error, "a form cannot be made ready");
            let why = "it could not be made ready; the operator's log says why".to_owned();
            let rendered = Err(FormError::Failed { hook: hook_id.to_string(), why });
            return Some(Rendering { rendered, call: None });
        }
    };
    ask(forms, callee, ready, event, endpoint, at, until).await
}

async fn prepare(forms: &Forms, hook_id: &HookId) -> Result<Result<(Callee, Ready), FormError>, DbError> {
    match hooks::forms::callee(&mut forms.db.read().await?, hook_id).await? {
        Ok(callee) => {
            let ready = ready(&forms.db, &forms.vault, &callee, None).await?;
            Ok(Ok((callee, ready)))
        }
        Err(none) => Ok(Err(none.into())),
    }
}

async fn ask(
    forms: &Forms,
    callee: Callee,
    ready: Ready,
    event: &Event<'_>,
    endpoint: &Endpoint<'_>,
    at: Millis,
    until: Instant,
) -> Option<Rendering> {
    let Ready { version, of, told } = ready;
    let ms = |at: Millis| u64::try_from(at).unwrap_or(0);
    let delivery = form::Delivery {
        id: event.delivery_id.to_string(),
        event: event.id.to_string(),
        kind: event.kind.to_owned(),
        created_ms: ms(event.at),
        attempt: event.attempt,
        payload: event.payload.to_owned(),
        endpoint: endpoint.id.to_string(),
        url: endpoint.url.as_str().to_owned(),
        more: Vec::new(),
    };
    let context = form::Context {
        now_ms: ms(at),
        settings: told.text().to_owned(),
        secrets: of.secrets.keys().cloned().collect(),
        more: Vec::new(),
    };
    let started = std::time::Instant::now();
    let call = forms.host.hooks().render(&version, of, endpoint.url, &delivery, &context);
    let called = timeout_at(until, call).await;
    let failed = |why: &str| {
        let why = one_line(why, NOTE_CHARS_MAX);
        Err(FormError::Failed { hook: callee.hook_name.clone(), why })
    };
    let (rendered, trace) = match called {
        Ok(Ok(called)) => (called.value.or_else(|error| not_rendered(error, failed)), called.trace),
        Ok(Err(error)) if matches!(error.error, CallError::Busy) => return None,
        Ok(Err(error)) => (failed(&error.error.to_string()), *error.trace),
        Err(_) => (failed("it did not answer in time (webhooks.timeout_s)"), Trace::default()),
    };
    let failed = !matches!(rendered, Ok(_) | Err(FormError::Unsupported(_)));
    let call = FormCall { hook_id: callee.hook_id, failed, used: used(&trace, started) };
    Some(Rendering { rendered, call: Some(call) })
}

/// What the form's own words mean for the delivery.
fn not_rendered(
    error: NotRendered,
    failed: impl Fn(&str) -> Result<Rendered, FormError>,
) -> Result<Rendered, FormError> {
    match error {
        NotRendered::Said(form::FormError::Unsupported(why)) => {
            let why =
                format!("not sent: the form has no word for such events: {}", one_line(&why, NOTE_CHARS_MAX));
            Err(FormError::Unsupported(why))
        }
        NotRendered::Said(form::FormError::Malformed(why)) => {
            failed(&format!("the event is unexpected: {why}"))
        }
        NotRendered::Said(form::FormError::Settings(why)) => failed(&format!("its settings: {why}")),
        NotRendered::Said(form::FormError::Secret(why)) => failed(&format!("its secret: {why}")),
        NotRendered::Said(form::FormError::Other(why)) => failed(&why),
        NotRendered::Unsendable(why) => failed(&format!("what it renders cannot be sent: {why}")),
    }
}
