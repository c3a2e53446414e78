//! Forms: what a delivery looks like on the wire. A form makes of an event and the endpoint that it is owed to the
//! headers, the body and the signature of one POST; it asks nothing and remembers nothing, so that a repetition looks
//! the same but for its time.
//!
//! Each form is a file below this one and a case here. What an answer means is the same for all of them:
//! `domain::retry`.

mod standard;

use bytes::Bytes;
use http::HeaderMap;

use crate::domain::{Millis, signature::Secret};

/// The form of an endpoint's deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Standard Webhooks.
    Standard,
}

/// The event of a delivery.
pub(super) struct Event<'e> {
    pub(super) id: &'e str,
    /// `{"type", "timestamp", "data"}`, as it is stored.
    pub(super) payload: &'e str,
}

/// The endpoint of a delivery.
pub(super) struct Endpoint<'e> {
    /// Secrets to sign with, newest first; two while one is being replaced.
    pub(super) secrets: &'e [Secret],
}

/// A POST without its URL.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum FormError {
    #[error("what is told does not fit into a header: {0}")]
    Header(#[from] http::header::InvalidHeaderValue),
}

impl Form {
    /// Renders the delivery of this event to this endpoint, sent at this time.
    pub(super) fn render(
        self,
        event: &Event<'_>,
        endpoint: &Endpoint<'_>,
        at: Millis,
    ) -> Result<Rendered, FormError> {
        match self {
            Self::Standard => standard::render(event, endpoint, at),
        }
    }
}
