//! A form that renders what its settings tell it to, mostly what cannot be sent.
#![allow(missing_docs, clippy::panic, reason = "it is there to break")]

use kassa_sdk::form::{Context, Delivery, Form, FormError, Request, Taken};
use kassa_sdk::hook;
use kassa_sdk::types::Method;
use serde::Deserialize;

kassa_sdk::manifest!("plugin.toml");
kassa_sdk::export_form!(Hook);

struct Hook;

#[derive(Deserialize)]
struct Settings {
    says: String,
}

impl Form for Hook {
    fn render(delivery: Delivery, context: Context) -> Result<Request, FormError> {
        let settings: Settings = hook::settings(&context.settings)?;
        let attempt = delivery.attempt.to_string();
        let plain =
            Request::post(delivery.payload).header("x-attempt", attempt).header("x-kind", delivery.kind);
        let taken = |statuses: &[u16], body: &str| Taken {
            statuses: statuses.to_vec(),
            body: Some(body.to_owned()),
            more: Vec::new(),
        };
        Ok(match settings.says.as_str() {
            "panic" => panic!("it was told to"),
            "loop" => loop {
                std::hint::black_box(&context.now_ms);
            },
            "no" => return Err(FormError::Other("it\ris told to".to_owned())),
            "unsupported" => return Err(FormError::Unsupported("it is told to".to_owned())),
            "many" => (0..40).fold(plain, |request, _| request.header("x-more", "1")),
            "host" => plain.header("Host", "bank.example"),
            "line" => plain.header("x-line", "a\r\nhost: bank.example"),
            "secret" => plain.header("authorization", "Bearer {secret:nobodys}"),
            "large" => Request::post(vec![b' '; (256 << 10) + 1]),
            "huge" => Request::post(vec![b' '; 8 << 20]),
            "tunnel" => Request { method: Method::Other("CONNECT".to_owned()), ..plain },
            "never" => Request { taken: taken(&[600], ""), ..plain },
            "found" => Request { method: Method::Put, taken: taken(&[302], ""), ..plain },
            "text" => Request { taken: taken(&[], "*ok*"), ..plain },
            _ => plain,
        })
    }
}
