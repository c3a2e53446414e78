//! One attempt: what the endpoint's form renders is sent, and something follows from the answer.

use std::{str::Utf8Error, sync::Arc, time::Duration};

use bytes::Bytes;
use http::header;
use tokio::time::Instant;
use url::Url;

use super::form::{Endpoint, Event, Form, FormError, Forms, Rendering};
use crate::{
    clock::Clock,
    db::{
        crash,
        deliveries::{
            queue::{Claim, DueDelivery},
            report::{Ended, FormCall},
        },
    },
    domain::{
        Millis,
        alarm::{Of, WorkSetAside},
        event::Data,
        id::{EndpointId, MerchantId},
        retry::{self, AttemptFacts, Outcome, UNHEARD_MAX},
        signature::{Secret, SignatureError},
        taken::NotTaken,
    },
    host::Rendered,
    outbound::{HttpAnswer, Outbound, OutboundError, Over, Reach, Request, parse_url},
    vault::{Vault, VaultError},
};

/// Maximum number of bytes read of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Maximum number of bytes kept of an answer.
const RESPONSE_BYTES_KEPT: usize = 1024;

const WEBHOOK_DELIVERY: &str = "webhook-delivery";

/// Destination and signing of an endpoint's deliveries. The secrets live as long as the deliveries claimed with them.
pub(super) struct Target {
    pub(super) endpoint_id: EndpointId,
    pub(super) merchant_id: MerchantId,
    ready: Result<Ready, NotReady>,
}

/// Reason that nothing can be sent to an endpoint.
#[derive(Debug, thiserror::Error)]
enum NotReady {
    #[error(transparent)]
    Sealed(#[from] VaultError),
    #[error(transparent)]
    Text(#[from] Utf8Error),
    #[error(transparent)]
    Secret(#[from] SignatureError),
    #[error(transparent)]
    Url(#[from] OutboundError),
}

struct Ready {
    url: Url,
    form: Form,
    secrets: Vec<Secret>,
}

impl Target {
    /// Decrypts the secrets of a claimed endpoint.
    pub(super) fn open(claim: &Claim, vault: &Vault, reach: Reach, now: Millis) -> Self {
        let old = claim.old_secret.as_ref().filter(|(_, until)| *until > now).map(|(sealed, _)| sealed);
        let secrets: Result<Vec<Secret>, NotReady> = std::iter::once(&claim.secret)
            .chain(old)
            .map(|sealed| {
                let opened = vault.open(claim.endpoint_id.as_str(), sealed)?;
                Ok(Secret::parse(std::str::from_utf8(&opened)?)?)
            })
            .collect();
        let ready = secrets.and_then(|secrets| {
            let url = parse_url(&claim.url, reach)?;
            Ok(Ready { url, form: Form::of(claim.form_hook_id.clone()), secrets })
        });
        Self { endpoint_id: claim.endpoint_id.clone(), merchant_id: claim.merchant_id.clone(), ready }
    }
}

/// A claimed delivery.
pub(super) struct Due {
    pub(super) target: Arc<Target>,
    pub(super) claimed: DueDelivery,
    pub(super) lease_until: Millis,
}

/// State that all attempts share.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) outbound: Outbound,
    pub(super) forms: Forms,
    pub(super) clock: Clock,
    pub(super) reach: Reach,
    pub(super) timeout: Duration,
}

impl Sender {
    /// Makes the attempt. Every outcome, a failure included, gives an [`Ended`]; `None` if the form could not be asked now,
    /// so that there was no attempt.
    pub(super) async fn attempt(&self, due: &Due) -> Option<Ended> {
        let at = self.clock.now();
        let started = std::time::Instant::now();
        let set_aside = (due.claimed.unheard >= UNHEARD_MAX).then(|| set_aside(due));
        let Sent { answer, form_call } = if set_aside.is_none() {
            crash::in_call("deliver");
            self.send(due, at).await?
        } else {
            let why = format!("not sent: the server ended {UNHEARD_MAX} times while it was being sent");
            Sent { answer: Err(Unsent::Failed(why)), form_call: None }
        };
        let duration_ms = u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX);
        metrics::histogram!("kassa_delivery_attempt_seconds").record(started.elapsed());
        let claimed = &due.claimed;
        let facts = AttemptFacts {
            of: claimed.delivery_id.as_str(),
            number: u32::try_from(claimed.attempts - claimed.attempts_before + 1).unwrap_or(u32::MAX),
            ended_at: self.clock.now(),
            outcome: outcome(&answer),
        };
        let (status, error, response, skipped) = match &answer {
            Ok((answer, taken)) => {
                let error = taken.as_ref().err().map(NotTaken::to_string);
                (Some(answer.status), error, kept(&answer.body), None)
            }
            Err(Unsent::Failed(why)) => (None, Some(why.clone()), None, None),
            Err(Unsent::Unsupported(why)) => (None, Some(why.clone()), None, Some(why.clone())),
        };
        Some(Ended {
            delivery_id: claimed.delivery_id.clone(),
            endpoint_id: due.target.endpoint_id.clone(),
            fence: claimed.fence,
            number: claimed.attempts + 1,
            in_round: facts.number,
            at,
            duration_ms: i64::from(duration_ms),
            status,
            error,
            response,
            next: retry::judge(&facts),
            skipped,
            set_aside,
            form_call,
        })
    }

    /// Renders and sends, both together within the timeout.
    async fn send(&self, due: &Due, at: Millis) -> Option<Sent> {
        let ready = match &due.target.ready {
            Ok(ready) => ready,
            Err(why) => return Some(Sent { answer: Err(Unsent::Failed(why.to_string())), form_call: None }),
        };
        let DueDelivery { delivery_id, event_id, event_kind, event_at, payload, attempts, .. } = &due.claimed;
        let event = Event {
            id: event_id,
            kind: event_kind,
            at: *event_at,
            payload,
            delivery_id,
            attempt: u32::try_from(attempts + 1).unwrap_or(u32::MAX),
        };
        let Target { endpoint_id, merchant_id, .. } = due.target.as_ref();
        let endpoint = Endpoint { id: endpoint_id, merchant_id, url: &ready.url, secrets: &ready.secrets };
        let until = Instant::now() + self.timeout;
        let Rendering { rendered, call } =
            ready.form.render(&self.forms, &event, &endpoint, at, until).await?;
        let answer = match rendered {
            Ok(rendered) => self.post(ready.url.clone(), rendered, until).await,
            Err(FormError::Unsupported(why)) => Err(Unsent::Unsupported(why)),
            Err(error) => Err(Unsent::Failed(error.to_string())),
        };
        Some(Sent { answer, form_call: call })
    }

    async fn post(&self, url: Url, rendered: Rendered, until: Instant) -> Answered {
        let Rendered { method, headers, body, taken } = rendered;
        let request = Request {
            method,
            url,
            headers,
            body,
            reach: self.reach,
            deadline: until.saturating_duration_since(Instant::now()),
            body_bytes_max: ANSWER_BYTES_MAX,
            over: Over::Cut,
            gzip: false,
        };
        let answer = self.outbound.send(request).await.map_err(|error| Unsent::Failed(error.to_string()))?;
        let taken = taken.judge(answer.status, &answer.body);
        Ok((answer, taken))
    }
}

/// An attempt, as far as it went.
struct Sent {
    answer: Answered,
    form_call: Option<FormCall>,
}

/// An answer, with an error if it is not what the form wants, or the reason that there is none.
type Answered = Result<(HttpAnswer, Result<(), NotTaken>), Unsent>;

enum Unsent {
    Failed(String),
    /// The form has no word for such events.
    Unsupported(String),
}

/// Puts a delivery that ended the process too often off to its next attempt. Returns the event for the operator.
fn set_aside(due: &Due) -> Data {
    let (queue, work) = ("deliveries", due.claimed.delivery_id.clone());
    let endpoint_id = due.target.endpoint_id.clone();
    metrics::counter!("kassa_set_aside_total", "queue" => queue).increment(1);
    let why = format!(
        "the process ended {UNHEARD_MAX} times while this was sent: it is put off to its next attempt"
    );
    tracing::error!(delivery = work.as_str(), endpoint = endpoint_id.as_str(), "{why}");
    Data::WorkSetAside(
        WorkSetAside { queue, work: work.to_string(), of: Of::Endpoint { endpoint_id }, why }.into(),
    )
}

fn outcome(answer: &Answered) -> Outcome<'_> {
    let (answer, taken) = match answer {
        Ok((answer, taken)) => (answer, taken.is_ok()),
        Err(Unsent::Failed(_)) => return Outcome::Failed,
        Err(Unsent::Unsupported(_)) => return Outcome::Unsupported,
    };
    let text = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
    Outcome::Answered {
        status: answer.status,
        taken,
        retry_after: text(header::RETRY_AFTER.as_str()),
        control: text(WEBHOOK_DELIVERY),
    }
}

/// The first bytes of an answer, as text that every database and terminal accepts.
fn kept(body: &Bytes) -> Option<String> {
    let start = body.get(..RESPONSE_BYTES_KEPT).unwrap_or(body);
    let text: String = String::from_utf8_lossy(start)
        .chars()
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
pub(super) fn due_for_test(endpoint_id: &EndpointId, merchant_id: &MerchantId) -> Due {
    let (endpoint_id, merchant_id) = (endpoint_id.clone(), merchant_id.clone());
    let target = Target { endpoint_id, merchant_id, ready: Err(SignatureError::Secret.into()) };
    let claimed = DueDelivery {
        delivery_id: "dlv_1".into(),
        event_id: "evt_1".into(),
        event_kind: "invoice.paid".to_owned(),
        event_at: 1,
        payload: "{}".to_owned(),
        fence: 1,
        attempts: 0,
        attempts_before: 0,
        unheard: 0,
    };
    Due { target: Arc::new(target), claimed, lease_until: Millis::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_an_answer_is_short_and_tame() {
        assert_eq!(kept(&Bytes::new()), None);
        assert_eq!(kept(&Bytes::from_static(b"ok\n")).unwrap(), "ok\n");
        assert_eq!(kept(&Bytes::from_static(b"a\0\x1b[31m\xff")).unwrap(), "a\u{FFFD}\u{FFFD}[31m\u{FFFD}");
        assert_eq!(kept(&Bytes::from(vec![b'x'; 5000])).unwrap().len(), RESPONSE_BYTES_KEPT);
    }
}
