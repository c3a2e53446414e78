//! Webhooks that a hook queues to its merchant's endpoints. They are handed back with the call's result and
//! committed with it.

use super::{
    Behalf,
    tape::{HostAnswer, HostCall, taped},
    text::one_line,
};
use crate::{
    db::endpoints,
    domain::{
        event::{NoType, Type},
        id::{EndpointId, EventId},
        nesting,
        verbatim::Verbatim,
    },
    host::{
        bindings::services::kassa::plugin::webhooks::{self, WebhooksError},
        limits::Limits,
        services::CallState,
    },
};

const DATA_BYTES_MAX: usize = 64 << 10;

/// A webhook to be committed with the call's result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QueuedWebhook {
    pub(crate) event_id: EventId,
    /// `None` for all endpoints that listen to it.
    pub(crate) endpoint_id: Option<EndpointId>,
    pub(crate) kind: Type,
    /// An object, as the hook wrote it.
    pub(crate) data: Verbatim,
}

pub(in crate::host) struct Webhooks {
    left: u32,
    pub(in crate::host) queued: Vec<QueuedWebhook>,
}

impl Webhooks {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { left: limits.webhooks, queued: Vec::new() }
    }
}

/// The event's type and data. Errors if they are unusable.
fn read(event: &str, data: &str) -> Result<(Type, Verbatim), WebhooksError> {
    let malformed = |why: String| WebhooksError::Malformed(why);
    let kind: Type = event.parse().map_err(|error: NoType| malformed(error.to_string()))?;
    if !event.starts_with("hook.") {
        return Err(malformed("event: it must begin with `hook.`".to_owned()));
    }
    if data.len() > DATA_BYTES_MAX {
        return Err(malformed(format!("data: more than {DATA_BYTES_MAX} bytes")));
    }
    if nesting::of_json(data) > nesting::DEPTH_MAX {
        return Err(malformed(format!(
            "data: more than {} levels of arrays and objects",
            nesting::DEPTH_MAX
        )));
    }
    // PostgreSQL's text holds no NUL.
    let value = serde_json::from_str(data).ok().filter(|value: &Verbatim| value.value().is_object());
    match value {
        Some(value) if !data.contains("\\u0000") => Ok((kind, value)),
        _ => Err(malformed("data: a JSON object without NULs".to_owned())),
    }
}

impl webhooks::Host for CallState {
    async fn queue(
        &mut self,
        endpoint: Option<String>,
        event: String,
        data: String,
    ) -> wasmtime::Result<Result<String, WebhooksError>> {
        self.count()?;
        let asked = (endpoint.clone(), event.clone(), data.clone());
        Ok(taped!(self, Queue(asked.0, asked.1, asked.2), self.queued(endpoint, event, data).await))
    }
}

impl CallState {
    async fn queued(
        &mut self,
        endpoint: Option<String>,
        event: String,
        data: String,
    ) -> Result<String, WebhooksError> {
        let services = &mut self.services;
        let Behalf::Merchant(of) = &services.subject.behalf else {
            return Err(WebhooksError::Quota("chain plugins send no webhooks".to_owned()));
        };
        let (kind, data) = read(&event, &data)?;
        let Some(left) = services.webhooks.left.checked_sub(1) else {
            return Err(WebhooksError::Quota("webhooks of this call".to_owned()));
        };
        let mut endpoint_id = None;
        if let Some(text) = &endpoint {
            let unknown = || WebhooksError::UnknownEndpoint(one_line(text, 60));
            let id = text.parse().map_err(|_| unknown())?;
            let known = async {
                let mut conn = services.shared.db.read().await?;
                endpoints::get(&mut conn, &of.tenant, &id).await
            };
            match known.await {
                Ok(Some(_)) => endpoint_id = Some(id),
                Ok(None) => return Err(unknown()),
                Err(error) => {
                    tracing::warn!(%error, "a hook's endpoint cannot be looked up");
                    return Err(WebhooksError::Unavailable);
                }
            }
        }
        let event_id = EventId::new(services.shared.clock.now());
        services.webhooks.left = left;
        services.webhooks.queued.push(QueuedWebhook { event_id: event_id.clone(), endpoint_id, kind, data });
        Ok(event_id.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_queued_is_an_object_under_a_type_of_hooks() {
        let (_, data) = read("hook.license.issued", r#" {"z":1.10, "key":18446744073709551616} "#).unwrap();
        assert_eq!(data.text(), r#"{"z":1.10, "key":18446744073709551616}"#);
        for (event, data) in [
            ("invoice.paid", "{}"),
            ("hook.", "{}"),
            ("hook.A", "{}"),
            ("hook.a", "[]"),
            ("hook.a", "{"),
            ("hook.a", r#"{"a":"\u0000"}"#),
            ("hook.a", &format!("{{\"a\":\"{}\"}}", "x".repeat(DATA_BYTES_MAX))),
        ] {
            assert!(matches!(read(event, data), Err(WebhooksError::Malformed(_))), "{event}");
        }
    }
}
