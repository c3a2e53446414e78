//! The OpenAPI 3.1 document, made from the handlers, and the page that shows it.

use axum::{Router, response::IntoResponse as _, routing::get};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, header};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use utoipa::openapi::{
    Content, InfoBuilder, License, OpenApi, OpenApiBuilder, Ref, RefOr, Required, ResponseBuilder,
    extensions::ExtensionsBuilder,
    path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem},
    schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type},
    security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};

use super::problem;
use crate::app::App;

const PAGE: &str = include_str!("../../web/api.html");

/// What the document says before its paths.
pub(super) fn head() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Kassa")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(INTRODUCTION))
        .license(Some(License::builder().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    OpenApiBuilder::new().info(info).build()
}

const INTRODUCTION: &str = "\
Crypto payments of your own: invoices, receive addresses and signed webhooks.\n\n\
**Keys.** Send an API key as `Authorization: Bearer …` or as `X-API-Key`. `live_` keys use real networks, `test_` \
keys test networks; what belongs to one mode is not seen by the other. `op_` keys are the operator's.\n\n\
**Amounts** are decimal strings, never JSON numbers. **Times** are RFC 3339 in UTC.\n\n\
**Once.** Send an `Idempotency-Key` with every POST: a repetition within 72 hours has no second effect and gets the \
first answer, marked `Idempotent-Replayed: true`. The same key with another body is refused.\n\n\
**Problems** are `application/problem+json` (RFC 9457). Branch on `type`, which never changes its meaning; show \
`detail` to people. After `retry_after_s` the same request may succeed.\n\n\
**Lists** come in pages, the newest first: give `next_cursor` back as `cursor`.";

/// Adds what every operation has in common: keys, the problem answer, Idempotency-Key on POST.
pub(super) fn finish(mut document: OpenApi) -> OpenApi {
    let components = document.components.get_or_insert_default();
    components.schemas.insert("Problem".to_owned(), problem_schema());
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.security_schemes.insert("bearer".to_owned(), SecurityScheme::Http(bearer).into());
    let header = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
    components.security_schemes.insert("api_key".to_owned(), header.into());
    let problems: Vec<_> = problem::Kind::ALL
        .iter()
        .map(|kind| json!({"slug": kind.slug(), "status": kind.status().as_u16(), "title": kind.title()}))
        .collect();
    document.extensions = Some(ExtensionsBuilder::new().add("x-problems", problems).build());
    for (path, item) in &mut document.paths.paths {
        if let Some(post) = &mut item.post {
            post.parameters.get_or_insert_default().push(RefOr::T(idempotency_key()));
        }
        for operation in operations(item) {
            operation.operation_id =
                operation.operation_id.take().map(|function| operation_id(path, &function));
            // A public operation says `security(())`.
            if operation.security.is_none() {
                let keys =
                    ["bearer", "api_key"].map(|name| SecurityRequirement::new(name, Vec::<String>::new()));
                operation.security = Some(keys.into());
            }
            let content = Content::new(Some(Ref::from_schema_name("Problem")));
            let refused =
                ResponseBuilder::new().description("Refused").content("application/problem+json", content);
            operation.responses.responses.insert("default".to_owned(), RefOr::T(refused.build()));
        }
    }
    document
}

/// The words of the path and the handler's: `invoices_create`, `operator_networks_enable`.
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

fn idempotency_key() -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("Repeat the request with the same key, and it happens once."))
        .schema(Some(
            ObjectBuilder::new().schema_type(Type::String).max_length(Some(255)).min_length(Some(1)),
        ))
        .build()
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
        .property("detail", text().description(Some("What is wrong here, and what to do.")))
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

/// The document and the page.
pub(super) fn pages(document: &OpenApi) -> Router<App> {
    let json = document.to_json().unwrap_or_default();
    let policy = page_policy();
    let document = move || {
        let json = json.clone();
        async move {
            ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response()
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

/// Allows the page's own script and style, by their hashes, and the one request that the page makes.
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
