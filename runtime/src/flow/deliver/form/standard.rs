//! The form of Standard Webhooks: the event as it is, with an id, a time and a signature by each secret.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::{Endpoint, Event, FormError};
use crate::{
    domain::{Millis, signature, taken::AcceptanceRule},
    host::Rendered,
};

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

pub(super) fn render(event: &Event<'_>, endpoint: &Endpoint<'_>, at: Millis) -> Result<Rendered, FormError> {
    let timestamp_s = at / 1000;
    let body = Bytes::copy_from_slice(event.payload.as_bytes());
    let signature = signature::sign(endpoint.secrets, event.id.as_str(), timestamp_s, &body);
    let headers = HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (ID, HeaderValue::from_str(event.id.as_str())?),
        (TIMESTAMP, HeaderValue::from(timestamp_s)),
        (SIGNATURE, HeaderValue::from_str(&signature)?),
    ]);
    Ok(Rendered { method: Method::POST, headers, body, taken: AcceptanceRule::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::signature::Secret;

    // The specification's own example.
    #[test]
    fn what_is_sent_is_what_the_specification_shows() {
        let secrets = [Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()];
        let event = Event {
            id: &"msg_p5jXN8AQM9LWM0D4loKWxJek".into(),
            kind: "test",
            at: 0,
            payload: r#"{"test": 2432232314}"#,
            delivery_id: &"dlv_1".into(),
            attempt: 1,
        };
        let url = "https://shop.example/hooks".parse().unwrap();
        let endpoint =
            Endpoint { id: &"ep_1".into(), merchant_id: &"mer_1".into(), url: &url, secrets: &secrets };
        let sent = render(&event, &endpoint, 1_614_265_330_000).unwrap();
        assert_eq!(sent.body, r#"{"test": 2432232314}"#);
        let header = |name: &str| sent.headers[name].to_str().unwrap();
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(header("webhook-id"), "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(header("webhook-timestamp"), "1614265330");
        assert_eq!(header("webhook-signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
