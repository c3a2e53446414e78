//! Forms: what a delivery looks like on the wire. A form makes of an event and the endpoint that it is owed to the
//! method, the headers and the body of one request, with its signature, and says what answer counts as taken; it asks
//! nothing and remembers nothing, so that a repetition looks the same but for its time.
//!
//! Each form is a file below this one and a case here; one of them is a hook of the merchant's own. What an answer means
//! that is not taken is the same for all of them: `domain::retry`.

mod hook;
mod standard;

use tokio::time::Instant;
use url::Url;

pub(crate) use self::hook::Forms;
use crate::{
    db::{deliveries::report::FormCall, hooks::forms::NoForm},
    domain::{
        Millis,
        id::{DeliveryId, EndpointId, EventId, HookId, MerchantId},
        signature::Secret,
    },
    host::Rendered,
};

/// The form of an endpoint's deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// Standard Webhooks.
    Standard,
    /// What the hook with this id renders.
    Hook(HookId),
}

/// The event of a delivery.
pub(super) struct Event<'e> {
    pub(super) id: &'e EventId,
    pub(super) kind: &'e str,
    /// When it happened.
    pub(super) at: Millis,
    /// `{"type", "timestamp", "data"}`, as it is stored.
    pub(super) payload: &'e str,
    pub(super) delivery_id: &'e DeliveryId,
    /// Which attempt this is, over all rounds, from 1.
    pub(super) attempt: u32,
}

/// The endpoint of a delivery.
pub(super) struct Endpoint<'e> {
    pub(super) id: &'e EndpointId,
    pub(super) merchant_id: &'e MerchantId,
    pub(super) url: &'e Url,
    /// Secrets to sign with, newest first; two while one is being replaced.
    pub(super) secrets: &'e [Secret],
}

/// Result of a form.
pub(super) struct Rendering {
    pub(super) rendered: Result<Rendered, FormError>,
    /// The hook that was called for it.
    pub(super) call: Option<FormCall>,
}

/// Why there is nothing to send.
#[derive(Debug, thiserror::Error)]
pub(super) enum FormError {
    #[error("what is told does not fit into a header: {0}")]
    Header(#[from] http::header::InvalidHeaderValue),
    /// The form has no word for such events: the delivery ends here, and is no failure.
    #[error("{0}")]
    Unsupported(String),
    #[error("not sent: the endpoint's form cannot be asked: {0}")]
    NoForm(#[from] NoForm),
    #[error("not sent: the form {hook}: {why}")]
    Failed { hook: String, why: String },
}

impl Form {
    /// The form of an endpoint: a hook, or `standard`.
    pub(super) fn of(hook_id: Option<HookId>) -> Self {
        hook_id.map_or(Self::Standard, Self::Hook)
    }

    /// Renders the delivery of this event to this endpoint, sent at this time. `None` if a hook could not be called now.
    pub(super) async fn render(
        &self,
        forms: &Forms,
        event: &Event<'_>,
        endpoint: &Endpoint<'_>,
        at: Millis,
        until: Instant,
    ) -> Option<Rendering> {
        match self {
            Self::Standard => Some(Rendering { rendered: standard::render(event, endpoint, at), call: None }),
            Self::Hook(hook_id) => Box::pin(hook::render(forms, hook_id, event, endpoint, at, until)).await,
        }
    }
}
