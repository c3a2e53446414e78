//! Headers that many operations have: each stands once in the document, and is referred to.

use serde_json::{Value, json};
use utoipa::openapi::{
    Header, HeaderBuilder, ObjectBuilder, Ref, RefOr, Required, Type,
    path::{Parameter, ParameterBuilder, ParameterIn},
};

pub(super) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
pub(super) const REPLAYED: &str = "Idempotent-Replayed";
pub(super) const RETRY_AFTER: &str = "Retry-After";
pub(super) const AUTHENTICATE: &str = "WWW-Authenticate";
/// Headers of every answer to a request with a key.
pub(super) const RATES: [&str; 2] = ["RateLimit", "RateLimit-Policy"];

/// All headers of answers, for the document's components.
pub(super) fn all() -> impl Iterator<Item = (String, RefOr<Header>)> {
    let text =
        |example: &str| ObjectBuilder::new().schema_type(Type::String).examples([json!(example)]).build();
    let seconds =
        ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).examples([json!(3)]).build();
    let replayed = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["true"])).build();
    [
        (
            RATES[0],
            text("\"default\";r=99;t=10"),
            "Requests that this key has left (`r`), and seconds until it has all again (`t`).",
        ),
        (RATES[1], text("\"default\";q=100;w=10"), "Requests of a key (`q`) in a window of seconds (`w`)."),
        (RETRY_AFTER, seconds, "Seconds after which the same request may succeed."),
        (REPLAYED, replayed, "The answer to an earlier request with the same `Idempotency-Key`."),
        (AUTHENTICATE, text("Bearer"), "Header that carries the key."),
    ]
    .into_iter()
    .map(|(name, schema, description)| {
        let header = HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build();
        (name.to_owned(), header.into())
    })
}

/// References to these headers.
pub(super) fn refs(names: &[&'static str]) -> Vec<(String, RefOr<Header>)> {
    let reference = |name: &&str| RefOr::Ref(Ref::new(format!("#/components/headers/{name}")));
    names.iter().map(|name| ((*name).to_owned(), reference(name))).collect()
}

/// Headers of every delivery of a webhook.
pub(super) fn of_deliveries() -> Value {
    let header = |name: &str, example: &str, about: &str| {
        json!({"name": name, "in": "header", "required": true, "description": about,
            "schema": {"type": "string", "examples": [example]}})
    };
    json!([
        header(
            "webhook-id",
            "evt_01KAN2Q5T4W2J6G0Z8Y3V7X9BC",
            "The event's id: the same for each repetition."
        ),
        header("webhook-timestamp", "1772366400", "Time at which it was sent, in seconds since 1970."),
        header(
            "webhook-signature",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            "HMAC-SHA256 of `id.timestamp.body` by the endpoint's secret (Standard Webhooks); two, with a space \
             between, while a secret is replaced.",
        ),
    ])
}

/// The parameter for an idempotency key.
pub(super) fn idempotency_key() -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(255))
        .pattern(Some(r#"^("[!#-\[\]-~]+"|[!#-\[\]-~]+)$"#))
        .examples([json!("order-1042")]);
    ParameterBuilder::new()
        .name(IDEMPOTENCY_KEY)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("Repeat the request with the same key, and it happens once."))
        .schema(Some(schema))
        .build()
}
