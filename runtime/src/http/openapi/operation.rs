//! The part of an operation's description that follows from its handler's signature.
//!
//! Each part of a handler's signature is a [`Part`] that tells what it does: which problems an extractor refuses with,
//! whose key is wanted, whether an answer is kept under an `Idempotency-Key`. What the handler's own work refuses with
//! stands in its attribute, as `x-problems`; the tests compare every answer they get with the document.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{RawQuery, Request, State};
use axum::response::Response as HttpResponse;
use http::{HeaderMap, StatusCode};
use utoipa::openapi::{
    Content, Ref, RefOr, Response, ResponseBuilder,
    path::{HttpMethod, Operation, Parameter, PathItem, Paths},
    security::SecurityRequirement,
};

use super::{MERCHANT_KEYS, OPERATOR_KEYS, headers};
use crate::{
    app::App,
    http::{
        auth::{Caller, Merchant, Operator},
        idempotent::Reply,
        input::{PathPair, PathParam, Query},
        json::{Answer, Json, MaybeJson},
        problem::{Kind, Problem},
    },
};

/// Member of an operation that lists the refusals of its handler's own work, as sets of kinds.
const OWN: &str = "x-problems";

/// Contract of an operation, from the parts of its handler's signature.
#[derive(Debug, Default)]
pub(crate) struct Contract {
    problems: BTreeSet<Kind>,
    /// Security schemes, one of which is required. None for a public route.
    keys: Vec<&'static str>,
    /// True if a repetition with the same `Idempotency-Key` gets the first answer.
    once: bool,
}

impl Contract {
    fn refuses(&mut self, kinds: &[Kind]) {
        self.problems.extend(kinds);
    }

    fn wants(&mut self, keys: &[&'static str]) {
        self.keys.extend(keys);
        self.refuses(&[Kind::KeyAmbiguous, Kind::MerchantDisabled, Kind::RateLimited]);
        self.refuses(UNAUTHORIZED);
    }
}

/// Part of a handler's signature: an extractor or the answer.
pub(crate) trait Part {
    /// Adds the part's effects to the contract; by default there are none.
    fn tell(_: &mut Contract) {}
}

impl Part for State<App> {}
impl Part for RawQuery {}
impl Part for HttpResponse {}
impl<T> Part for Answer<T> {}

impl Part for Merchant {
    fn tell(contract: &mut Contract) {
        contract.wants(MERCHANT_KEYS);
        contract.refuses(&[Kind::MerchantOnly]);
    }
}

/// Headers: a public route that tells more to an operator's key.
impl Part for HeaderMap {
    fn tell(contract: &mut Contract) {
        contract.refuses(&[Kind::KeyAmbiguous, Kind::OperatorOnly]);
        contract.refuses(UNAUTHORIZED);
    }
}

impl Part for Operator {
    fn tell(contract: &mut Contract) {
        contract.wants(OPERATOR_KEYS);
        contract.refuses(&[Kind::OperatorOnly]);
    }
}

impl Part for Caller {
    fn tell(contract: &mut Contract) {
        contract.wants(MERCHANT_KEYS);
        contract.wants(OPERATOR_KEYS);
    }
}

impl Part for PathParam {
    fn tell(contract: &mut Contract) {
        contract.refuses(NOT_FOUND);
    }
}

impl Part for PathPair {
    fn tell(contract: &mut Contract) {
        contract.refuses(NOT_FOUND);
    }
}

impl<T> Part for Query<T> {
    fn tell(contract: &mut Contract) {
        contract.refuses(&[Kind::QueryMalformed]);
    }
}

impl<T> Part for Json<T> {
    fn tell(contract: &mut Contract) {
        contract.refuses(BODY);
        contract.refuses(JSON);
    }
}

impl<T> Part for MaybeJson<T> {
    fn tell(contract: &mut Contract) {
        contract.refuses(BODY);
        contract.refuses(JSON);
    }
}

/// Body of a request: an uploaded component.
impl Part for Request {
    fn tell(contract: &mut Contract) {
        contract.refuses(BODY);
    }
}

impl Part for Reply {
    fn tell(contract: &mut Contract) {
        contract.once = true;
        contract.refuses(REUSED);
    }
}

impl<T: Part> Part for Result<T, Problem> {
    fn tell(contract: &mut Contract) {
        T::tell(contract);
        contract.refuses(UNAVAILABLE);
    }
}

/// A handler: `Signature` is the tuple of its arguments.
pub(crate) trait Handler<Signature> {
    fn contract() -> Contract;
}

macro_rules! handlers {
    ($(($($argument:ident),*))+) => {$(
        impl<F, Work, $($argument: Part),*> Handler<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> Work,
            Work: Future<Output: Part>,
        {
            fn contract() -> Contract {
                let mut contract = Contract::default();
                $($argument::tell(&mut contract);)*
                Work::Output::tell(&mut contract);
                contract.refuses(&[Kind::Internal, Kind::Timeout]);
                contract
            }
        }
    )+};
}
handlers! { () (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) }

const UNAUTHORIZED: &[Kind] =
    &[Kind::KeyMissing, Kind::KeyMalformed, Kind::KeyUnknown, Kind::KeyExpired, Kind::KeyRevoked];
const NOT_FOUND: &[Kind] = &[Kind::NotFound];
/// Refusals of extractors that read a body. A malformed `Idempotency-Key` is refused wherever one is allowed.
const BODY: &[Kind] = &[
    Kind::BodyTooLarge,
    Kind::BodyUnreadable,
    Kind::ContentType,
    Kind::ContentEncoding,
    Kind::IdempotencyKeyMalformed,
];
const JSON: &[Kind] = &[
    Kind::JsonMalformed,
    Kind::JsonDuplicateKey,
    Kind::JsonTooDeep,
    Kind::JsonText,
    Kind::FieldUnknown,
    Kind::FieldMissing,
    Kind::FieldMalformed,
];
const REUSED: &[Kind] = &[Kind::IdempotencyKeyReused];
const UNAVAILABLE: &[Kind] = &[Kind::Timeout, Kind::Busy, Kind::ReadTooLong, Kind::CannotWrite];

/// Refusals that many operations share, by their names in the document.
const SHARED: &[(&str, &[&[Kind]])] = &[
    ("BadBody", &[&[Kind::KeyAmbiguous, Kind::IdempotencyKeyMalformed, Kind::BodyUnreadable], JSON]),
    ("BadQuery", &[&[Kind::KeyAmbiguous, Kind::QueryMalformed, Kind::CursorMalformed]]),
    ("BadRequest", &[&[Kind::KeyAmbiguous]]),
    ("Unauthorized", &[UNAUTHORIZED]),
    ("MerchantsOnly", &[&[Kind::MerchantOnly, Kind::MerchantDisabled]]),
    ("OperatorsOnly", &[&[Kind::OperatorOnly, Kind::MerchantDisabled]]),
    ("NotFound", &[NOT_FOUND]),
    ("BodyTooLarge", &[&[Kind::BodyTooLarge]]),
    ("UnsupportedBody", &[&[Kind::ContentType, Kind::ContentEncoding]]),
    ("IdempotencyKeyReused", &[REUSED]),
    ("RateLimited", &[&[Kind::RateLimited]]),
    ("Internal", &[&[Kind::Internal]]),
    ("Unavailable", &[UNAVAILABLE]),
];

/// The shared refusals, for the document's components.
pub(super) fn shared() -> impl Iterator<Item = (String, RefOr<Response>)> {
    SHARED.iter().map(|(name, kinds)| ((*name).to_owned(), refusal(&kinds.concat(), true).into()))
}

/// Completes an operation by its handler's signature.
pub(crate) fn complete<P: utoipa::Path, H: Handler<S>, S>(paths: &mut Paths, _: H) {
    let Some(item) = paths.paths.get_mut(&P::path()) else { return };
    for method in P::methods() {
        if let Some(operation) = operation(item, &method) {
            sign(operation, H::contract());
        }
    }
}

fn operation<'i>(item: &'i mut PathItem, method: &HttpMethod) -> Option<&'i mut Operation> {
    match method {
        HttpMethod::Get => item.get.as_mut(),
        HttpMethod::Put => item.put.as_mut(),
        HttpMethod::Post => item.post.as_mut(),
        HttpMethod::Patch => item.patch.as_mut(),
        HttpMethod::Delete => item.delete.as_mut(),
        _ => None,
    }
}

fn sign(operation: &mut Operation, mut contract: Contract) {
    contract.problems.extend(own(operation));
    let parameters = operation.parameters.get_or_insert_default();
    let named = |parameter: &RefOr<Parameter>, name| matches!(parameter, RefOr::T(one) if one.name == name);
    if parameters.iter().any(|parameter| named(parameter, "cursor")) {
        contract.refuses(&[Kind::CursorMalformed]);
    }
    if contract.once {
        let key = format!("#/components/parameters/{}", headers::IDEMPOTENCY_KEY);
        parameters.push(RefOr::Ref(Ref::new(key)));
    }
    if operation.security.is_none() {
        let wanted = contract.keys.iter().map(|name| SecurityRequirement::new(*name, Vec::<String>::new()));
        operation.security = Some(wanted.collect());
    }
    let guarded = !contract.keys.is_empty();
    for answer in operation.responses.responses.values_mut() {
        if let RefOr::T(answer) = answer {
            let mut names = Vec::new();
            if guarded {
                names.extend(headers::RATES);
            }
            if contract.once {
                names.push(headers::REPLAYED);
            }
            answer.headers.extend(headers::refs(&names));
        }
    }
    let mut by_status: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
    for kind in contract.problems {
        by_status.entry(kind.status().as_u16()).or_default().push(kind);
    }
    for (status, kinds) in by_status {
        let of_all = SHARED.iter().find(|(_, shared)| {
            let mut shared = shared.concat();
            shared.sort();
            guarded && shared == kinds
        });
        let answer = match of_all {
            Some((name, _)) => Ref::from_response_name(*name).into(),
            None => refusal(&kinds, guarded).into(),
        };
        operation.responses.responses.insert(status.to_string(), answer);
    }
}

/// Takes the refusals of the handler's own work out of the operation.
fn own(operation: &mut Operation) -> Vec<Kind> {
    let listed = operation.extensions.as_mut().and_then(|extensions| extensions.remove(OWN));
    let sets: Vec<Vec<String>> =
        listed.and_then(|sets| serde_json::from_value(sets).ok()).unwrap_or_default();
    let kind = |slug: &String| Kind::ALL.iter().find(|kind| kind.slug() == slug).copied();
    sets.iter().flatten().filter_map(kind).collect()
}

/// The answer for refusals of these kinds, which have one status.
fn refusal(kinds: &[Kind], guarded: bool) -> Response {
    let status = kinds.first().map_or(StatusCode::INTERNAL_SERVER_ERROR, |kind| kind.status());
    let lines: Vec<String> =
        kinds.iter().map(|kind| format!("`{}`: {}.", kind.slug(), kind.title())).collect();
    let mut names = Vec::new();
    if guarded && status != StatusCode::UNAUTHORIZED {
        names.extend(headers::RATES);
    }
    match status {
        StatusCode::UNAUTHORIZED => names.push(headers::AUTHENTICATE),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => names.push(headers::RETRY_AFTER),
        _ => {}
    }
    let mut content = Content::new(Some(Ref::from_schema_name("Problem")));
    content.example =
        kinds.first().map(|kind| Problem::new(*kind, "The fault in this case, and the next step.").value());
    let mut answer = ResponseBuilder::new()
        .description(lines.join("\n"))
        .content("application/problem+json", content)
        .build();
    answer.headers.extend(headers::refs(&names));
    answer
}
