//! The OpenAPI 3.1 document, made from the handlers, and the page that shows it.

mod examples;
mod forms;
mod headers;
pub(super) mod operation;
pub(super) mod routes;
pub(super) mod webhooks;

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use axum::{Router, response::IntoResponse as _, routing::get};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use utoipa::openapi::{
    Components, InfoBuilder, License, OpenApi, OpenApiBuilder, RefOr, Response, Schema, Server,
    extensions::ExtensionsBuilder,
    path::{Operation, PathItem},
    schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type},
    security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    tag::TagBuilder,
};

use crate::{
    app::App,
    http::{openapi::routes::Described, problem},
};

/// The security schemes of a merchant's key and of an operator's.
const MERCHANT_KEYS: &[&str; 2] = &["bearer", "api_key"];
const OPERATOR_KEYS: &[&str; 2] = &["operator_bearer", "operator_api_key"];

/// Prefix of the names of lists.
const LISTED: &str = "Listed_";

/// Tags, which group operations.
const TAGS: &[(&str, &str)] = &[
    ("invoices", "Requests for an amount by a deadline."),
    ("payments", "Transfers that pay something."),
    ("transfers", "Movements on chain towards watched addresses, and their payments."),
    ("receive addresses", "Addresses where payers pay, and the proof that they are yours."),
    ("corrections", "Decisions of people about invoices and transfers."),
    ("webhooks", "Endpoints, events, and their deliveries."),
    ("hooks", "A merchant's own code, called when something happens."),
    ("networks", "The chains that a key can use."),
    ("sandbox", "A simulated chain for test keys."),
    ("account", "The key that asks."),
    ("status", "The server's health."),
    ("operator", "The operator's routes."),
    ("operator: API keys", "Keys of merchants and of operators."),
    ("operator: merchants", "The tenants of this installation."),
    ("operator: networks", "The chains that are read, and by which providers."),
    ("operator: plugins", "The components that read them."),
];

const PAGE: &str = include_str!("../../../web/api.html");

/// Head of the document, before its paths.
fn head() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Kassa")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(INTRODUCTION))
        .license(Some(License::builder().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    let tags =
        TAGS.iter().map(|(name, about)| TagBuilder::new().name(*name).description(Some(*about)).build());
    OpenApiBuilder::new().info(info).servers(Some([Server::new("/")])).tags(Some(tags)).build()
}

const INTRODUCTION: &str = "\
Crypto payments of your own: invoices, receive addresses and signed webhooks.\n\n\
**Keys.** Send an API key as `Authorization: Bearer …` or as `X-API-Key`. `live_` keys use real networks, `test_` \
keys test networks; what belongs to one mode is not seen by the other. `op_` keys are the operator's.\n\n\
**Amounts** are decimal strings, never JSON numbers. **Times** are RFC 3339 in UTC.\n\n\
**Once.** Send an `Idempotency-Key` with whatever changes something: a repetition within 72 hours has no second \
effect and gets the first answer, marked `Idempotent-Replayed: true`. The same key with another body is refused.\n\n\
**Problems** are `application/problem+json` (RFC 9457). Branch on `type`, which never changes its meaning; show \
`detail` to people. After `retry_after_s` the same request may succeed.\n\n\
**Lists** come in pages, the newest first: give `next_cursor` back as `cursor`.";

/// The whole document, made of these parts.
pub(super) fn document(parts: &[Described]) -> Value {
    let mut document = head();
    let mut components = Components::new();
    for part in parts {
        document.paths.merge(part.paths.clone());
        components.schemas.extend(part.schemas.iter().cloned());
    }
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            operation.operation_id =
                operation.operation_id.take().map(|function| operation_id(path, &function));
            for (status, answer) in &mut operation.responses.responses {
                if let RefOr::T(answer) = answer {
                    describe(status, answer, &components);
                }
            }
        }
    }
    components.schemas.extend(webhooks::schemas());
    components.schemas.insert("Problem".to_owned(), problem_schema());
    components.responses.extend(operation::shared());
    components.headers.extend(headers::all());
    let key = headers::idempotency_key();
    components.parameters.insert(key.name.clone(), RefOr::T(key));
    components.security_schemes.extend(security_schemes());
    document.components = Some(components);
    let problems: Vec<_> = problem::Kind::ALL
        .iter()
        .map(|kind| json!({"slug": kind.slug(), "status": kind.status().as_u16(), "title": kind.title()}))
        .collect();
    document.extensions = Some(ExtensionsBuilder::new().add("x-problems", problems).build());
    // What was put in above has no part that JSON cannot say.
    let mut document = serde_json::to_value(document).unwrap_or_default();
    document["webhooks"] = webhooks::section();
    forms::apply(&mut document);
    refer(&mut document["components"]["schemas"]);
    let components = document["components"].clone();
    examples::apply(&mut document["paths"], &components);
    document
}

/// Makes lists refer to the type of their items, which utoipa writes out.
fn refer(schemas: &mut Value) {
    let Value::Object(schemas) = schemas else { return };
    let known: BTreeSet<String> = schemas.keys().cloned().collect();
    for (list, schema) in schemas {
        if let Some(name) = list.strip_prefix(LISTED).filter(|name| known.contains(*name)) {
            schema["properties"]["data"]["items"] = json!({"$ref": format!("#/components/schemas/{name}")});
        }
    }
}

/// Describes an answer without a description by the first line of its schema's.
fn describe(status: &str, answer: &mut Response, components: &Components) {
    if !answer.description.is_empty() {
        return;
    }
    let schema = answer.content.values().find_map(|content| match content {
        RefOr::T(content) => content.schema.as_ref(),
        RefOr::Ref(_) => None,
    });
    let named = match schema {
        Some(RefOr::Ref(to)) => {
            to.ref_location.rsplit('/').next().and_then(|name| components.schemas.get(name))
        }
        other => other,
    };
    let said = match named {
        Some(RefOr::T(Schema::Object(object))) => object.description.as_deref(),
        _ => None,
    };
    let created = if status == "201" { "Created" } else { "Done" };
    answer.description = said.and_then(|text| text.lines().next()).unwrap_or(created).to_owned();
}

/// The security schemes. The first letters of a key show whose it is; there is a scheme for each kind so that readers
/// of the document see which operations take which.
fn security_schemes() -> impl Iterator<Item = (String, RefOr<SecurityScheme>)> {
    let of = [
        (MERCHANT_KEYS, "A merchant's key (`live_…` or `test_…`)."),
        (OPERATOR_KEYS, "An operator's key (`op_…`)."),
    ];
    of.into_iter().flat_map(|([bearer, header], whose)| {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(whose)).build();
        let value = ApiKeyValue::with_description("X-API-Key", whose);
        [
            ((*bearer).to_owned(), SecurityScheme::Http(scheme).into()),
            ((*header).to_owned(), SecurityScheme::ApiKey(ApiKey::Header(value)).into()),
        ]
    })
}

/// Joins the words of the path and the handler's name: `invoices_create`, `operator_networks_enable`.
fn operation_id(path: &str, function: &str) -> String {
    let words = path.split('/').filter(|word| !word.is_empty() && *word != "v1" && !word.starts_with('{'));
    let mut words: Vec<&str> = words.collect();
    if words.last() != Some(&function) {
        words.push(function);
    }
    words.join("_")
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten()
}

fn problem_schema() -> RefOr<utoipa::openapi::Schema> {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let slugs = problem::Kind::ALL.iter().map(|kind| format!("/problems/{}", kind.slug()));
    ObjectBuilder::new()
        .description(Some("Why a request was refused (RFC 9457)."))
        .property("type", text().enum_values(Some(slugs)).description(Some("Stable: branch on this.")))
        .property("title", text())
        .property(
            "status",
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32))),
        )
        .property("detail", text().description(Some("The fault in this case, and the next step.")))
        .property("field", text().description(Some("The field that it is about.")))
        .property(
            "retry_after_s",
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .description(Some("Seconds after which the same request may succeed.")),
        )
        .required("type")
        .required("title")
        .required("status")
        .required("detail")
        .into()
}

/// Serves the document and the page.
///
/// The document is made when it is first requested, so that a start does not wait for it.
pub(super) fn pages(parts: [Described; 2]) -> Router<App> {
    let made: Box<dyn FnOnce() -> Bytes + Send> = Box::new(move || document(&parts).to_string().into());
    let json = Arc::new(LazyLock::new(made));
    let policy = page_policy();
    let document = move || {
        let json = Arc::clone(&json);
        async move {
            let kind = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, kind)], Bytes::clone(&json)).into_response()
        }
    };
    let page = move || {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (header::CONTENT_SECURITY_POLICY, policy.clone()),
        ];
        async move { (headers, PAGE) }
    };
    Router::new().route("/openapi.json", get(document)).route("/docs", get(page))
}

/// Allows the page's own script and style, by their hashes, and the page's one request.
fn page_policy() -> HeaderValue {
    let hash = |open: &str, close: &str| {
        let inside = PAGE
            .split_once(open)
            .and_then(|(_, rest)| rest.split_once(close))
            .map_or("", |(inside, _)| inside);
        STANDARD.encode(Sha256::digest(inside))
    };
    let text = format!(
        "default-src 'none'; connect-src 'self'; script-src 'sha256-{}'; style-src 'sha256-{}'; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        hash("<script>", "</script>"),
        hash("<style>", "</style>"),
    );
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}
