//! The one error that meets HTTP: RFC 9457 `application/problem+json`.
//!
//! Every kind of problem stands in one table, with its slug, status and title, so that the documentation and the
//! tests can walk them. A slug never changes its meaning: clients branch on `type`, people read `detail`, which
//! says what to do next.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::{
    db::DbError,
    flow::resources::LookupError,
    host::{CallError, CallFailed},
};

macro_rules! problems {
    ($($(#[$meta:meta])* $case:ident = $status:literal $slug:literal $title:literal,)*) => {
        /// A kind of problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Kind { $($(#[$meta])* $case,)* }

        impl Kind {
            /// All kinds, for documentation and tests.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$case,)*];

            /// Stable name, the last part of `type`.
            pub(crate) fn slug(self) -> &'static str {
                match self { $(Self::$case => $slug,)* }
            }

            pub(crate) fn title(self) -> &'static str {
                match self { $(Self::$case => $title,)* }
            }

            pub(crate) fn status(self) -> StatusCode {
                StatusCode::from_u16(match self { $(Self::$case => $status,)* })
                    .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    };
}

problems! {
    // ---- the request as such
    NotFound = 404 "not_found" "There is no such resource",
    MethodNotAllowed = 405 "method_not_allowed" "This resource does not support that method",
    Timeout = 503 "timeout" "The request was not read and answered in time",
    BodyTooLarge = 413 "body_too_large" "The body is too large",
    BodyUnreadable = 400 "body_unreadable" "The body could not be read to its end",
    ContentType = 415 "content_type_unsupported" "This resource does not support that content type",
    ContentEncoding = 415 "content_encoding_unsupported" "Compressed bodies are not supported",
    JsonMalformed = 400 "json_malformed" "The body is not well-formed JSON",
    JsonDuplicateKey = 400 "json_duplicate_key" "An object has the same key twice",
    JsonTooDeep = 400 "json_too_deep" "The JSON is nested too deeply",
    JsonText = 400 "json_text_refused" "A text contains a character that cannot be stored",
    FieldUnknown = 400 "field_unknown" "There is no such field",
    FieldMissing = 400 "field_missing" "A field is missing",
    FieldMalformed = 400 "field_malformed" "A field has a value that is not allowed",
    QueryMalformed = 400 "query_malformed" "A query parameter cannot be read",
    CursorMalformed = 400 "cursor_malformed" "The cursor was not issued by this list",

    // ---- who is asking
    KeyMissing = 401 "key_missing" "An API key is needed",
    KeyMalformed = 401 "key_malformed" "That is not an API key",
    KeyAmbiguous = 400 "key_ambiguous" "Two different API keys came with one request",
    KeyUnknown = 401 "key_unknown" "The API key is not known",
    KeyExpired = 401 "key_expired" "The API key has expired",
    KeyRevoked = 401 "key_revoked" "The API key was revoked",
    MerchantDisabled = 403 "merchant_disabled" "The merchant is disabled",
    OperatorOnly = 403 "operator_only" "Only an operator's key may do this",
    MerchantOnly = 403 "merchant_only" "Only a merchant's key may do this",
    RateLimited = 429 "rate_limited" "Too many requests with this key",

    // ---- doing things once
    IdempotencyKeyMalformed = 400 "idempotency_key_malformed" "The Idempotency-Key cannot be used",
    IdempotencyKeyReused = 422 "idempotency_key_reused" "The Idempotency-Key belongs to another request",
    Conflict = 409 "conflict" "The request conflicts with the current state",

    // ---- money, networks, addresses
    AmountMalformed = 400 "amount_malformed" "The amount cannot be read",
    AmountTooSmall = 400 "amount_too_small" "The amount is too small",
    AmountTooLarge = 400 "amount_too_large" "The amount is too large",
    AmountTooManyDecimals = 400 "amount_too_many_decimals" "The amount has more decimals than the asset",
    AmountSpaceExhausted = 503 "amount_space_exhausted" "No unique amount is free at this price",
    PriceUnavailable = 503 "price_unavailable" "No price is available right now",
    CurrencyUnsupported = 422 "currency_unsupported" "The asset has no price in that currency",
    NetworkUnknown = 422 "network_unknown" "There is no such network for this key",
    NetworkNotStarted = 503 "network_not_started" "The network was not read yet",
    NetworkDisabled = 409 "network_disabled" "The network is disabled",
    ProviderFailed = 503 "provider_failed" "No provider of the network has given an answer",
    RescanRefused = 422 "rescan_refused" "These blocks cannot be read again",
    RescanRunning = 409 "rescan_running" "The network is already being read again",
    NetworkFrozen = 503 "network_frozen" "The network is frozen until the operator decides",
    NetworkModeMismatch = 422 "network_mode_mismatch" "A test key uses test networks, a live key live ones",
    AssetUnknown = 422 "asset_unknown" "The network has no such asset",
    ManifestRefused = 422 "manifest_refused" "The network's manifest cannot be used",
    AddressMalformed = 422 "address_malformed" "That is not an address of this network",
    AddressChecksum = 422 "address_checksum" "The address has a wrong checksum",
    AddressWrongNetwork = 422 "address_wrong_network" "The address belongs to another network",
    AddressTaken = 409 "address_taken" "The address is in use already",
    AddressMissing = 422 "address_missing" "There is no receive address on this network",
    ExtendedKeyMalformed = 422 "extended_key_malformed" "That is not an extended public key of this network",
    OwnershipRefused = 422 "ownership_refused" "The proof does not show who owns the address",
    OwnershipUnproven = 422 "ownership_unproven" "A proof of ownership is needed",
    OwnershipUnsupported = 422 "ownership_unsupported" "Ownership cannot be proven on this network",
    DerivationUnsupported = 422 "derivation_unsupported" "This kind of chain derives no addresses",

    // ---- invoices, transfers
    OrderIdTaken = 409 "order_id_taken" "Another invoice has this order_id",
    DeadlineRefused = 400 "deadline_refused" "The deadline is out of range",
    InvoiceClosed = 409 "invoice_closed" "The invoice is no longer open",
    InvoiceOpen = 409 "invoice_open" "The invoice is still open",
    TransferResolved = 409 "transfer_resolved" "The transfer has been dealt with already",
    TransferRetracted = 409 "transfer_retracted" "The transfer is no longer on chain",
    TransferNotAssigned = 409 "transfer_not_assigned" "The transfer was not assigned by hand",
    TransferNotDismissed = 409 "transfer_not_dismissed" "The transfer was not dismissed",
    TransactionSeen = 409 "transaction_seen" "The transaction is listed as a transfer",
    MarkedAlready = 409 "marked_already" "The invoice was marked as paid already",
    NotMarked = 409 "not_marked" "The invoice is not marked as paid",
    PaymentOnItsWay = 409 "payment_on_its_way" "A payment of the invoice is on its way",
    AddressState = 409 "address_state" "The state of the address does not allow this",
    HeldNoMore = 409 "held_no_more" "The invoice's unique amount or memo has been released",
    AssignmentRefused = 422 "assignment_refused" "The transfer cannot pay that invoice",
    SimulationRefused = 422 "simulation_refused" "The simulated chain refused this",
    SimulationsLimited = 429 "simulations_limited" "Too many actions on the simulated chain",

    TransactionMalformed = 422 "transaction_malformed" "That is not a transaction of this network",
    FindUnsupported = 422 "find_unsupported" "Transactions of this network cannot be looked for",
    FindsLimited = 429 "finds_limited" "Too many transactions were looked for",

    // ---- master keys
    RotationRefused = 409 "rotation_refused" "The master key cannot be rotated like this",
    RotationUnderWay = 409 "rotation_under_way" "The rotation of the master key is still in progress",

    // ---- webhooks
    UrlRefused = 422 "url_refused" "That URL cannot be used",
    FormRefused = 422 "form_refused" "The endpoint cannot have that form",
    EndpointDisabled = 409 "endpoint_disabled" "The endpoint is disabled",
    EndpointDeleted = 409 "endpoint_deleted" "The endpoint was deleted",
    EndpointLimit = 409 "endpoint_limit" "There are too many endpoints",
    DeliveryPending = 409 "delivery_pending" "The delivery is still pending",

    // ---- plugins
    ComponentRefused = 422 "component_refused" "The component cannot be used",
    GrantRefused = 422 "grant_refused" "The plugin asks for more than it is granted",
    PluginFailed = 502 "plugin_failed" "The plugin did not answer",
    PluginMissing = 503 "plugin_missing" "The plugin that this needs is not loaded",

    // ---- hooks
    HookLimit = 409 "hook_limit" "There are too many hooks, or too many versions of this one",
    HookInUse = 409 "hook_in_use" "The hook is the form of an endpoint",
    HookNotReady = 422 "hook_not_ready" "The hook lacks something it needs",
    SettingsRefused = 422 "settings_refused" "The hook does not take these settings",
    BindingRefused = 422 "binding_refused" "The hook cannot be bound like this",
    UploadsLimited = 429 "uploads_limited" "Too many components were uploaded",
    RunPending = 409 "run_pending" "The run is still pending",
    StorageFull = 409 "storage_full" "The hook's storage is full",
    DiskLimit = 409 "disk_limit" "Your hooks have used up their storage",

    // ---- us
    Busy = 503 "busy" "Too many requests are in progress",
    ReadTooLong = 503 "read_too_long" "The lookup took too long",
    CannotWrite = 503 "cannot_write" "The database takes no writes",
    NotReady = 503 "not_ready" "Kassa is not ready",
    Internal = 500 "internal" "Something broke on our side",
}

/// An error answer to a request (RFC 9457).
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    /// Text for people: what is wrong here, and what to do. Never an inner error's text.
    pub(crate) detail: String,
    /// The field in question, as a path: `assets[0].symbol`.
    pub(crate) field: Option<String>,
    pub(crate) retry_after_s: Option<u64>,
    extra: Map<String, Value>,
}

pub(crate) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An error's text as a sentence.
pub(crate) fn sentence(error: &impl std::fmt::Display) -> String {
    let mut text = error.to_string();
    if !text.ends_with(['.', '?', '!']) {
        text.push('.');
    }
    text
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), field: None, retry_after_s: None, extra: Map::new() }
    }

    #[must_use]
    pub(crate) fn field(mut self, path: impl Into<String>) -> Self {
        self.field = Some(path.into());
        self
    }

    #[must_use]
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Adds a member to the answer.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }

    /// The same answer for objects that do not exist and for those of others, so that ids reveal nothing.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("There is no {what} with this id, or it is not yours."))
    }

    /// Answer for a defect of the server: `why` goes into the log, not to the caller.
    pub(crate) fn internal(why: impl std::fmt::Display) -> Self {
        tracing::error!(%why, "request failed");
        Self::new(
            Kind::Internal,
            "It is logged under this request's id. Repeat it later, with the same Idempotency-Key.",
        )
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// True if the same request would be refused in the same way again, so that the answer may be stored.
    pub(crate) fn is_deterministic(&self) -> bool {
        let passes = self.retry_after_s.is_some() || self.status() == StatusCode::TOO_MANY_REQUESTS;
        self.status().is_client_error() && !passes
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        self.value().to_string().into_bytes()
    }

    pub(crate) fn value(&self) -> Value {
        let mut body = self.extra.clone();
        body.insert("type".to_owned(), json!(format!("/problems/{}", self.kind.slug())));
        body.insert("title".to_owned(), json!(self.kind.title()));
        body.insert("status".to_owned(), json!(self.status().as_u16()));
        body.insert("detail".to_owned(), json!(self.detail));
        if let Some(field) = &self.field {
            body.insert("field".to_owned(), json!(field));
        }
        if let Some(seconds) = self.retry_after_s {
            body.insert("retry_after_s".to_owned(), json!(seconds));
        }
        Value::Object(body)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.body()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind.slug(), self.detail)
    }
}

impl std::error::Error for Problem {}

impl serde::Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.slug())
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        if error.is_too_long() {
            tracing::warn!(%error, "a request's statement was broken off");
            return Self::new(
                Kind::ReadTooLong,
                "Ask for less at once: a smaller limit, another filter, one thing by its id.",
            );
        }
        if let Some(trouble) = error.trouble() {
            // It is said once, by `flow::health`.
            tracing::debug!(%error, "database in trouble");
            let detail = format!(
                "The server cannot use its database: {trouble}. Its operator has to look at it. Repeat the request when \
                 /ready answers 200, with the same Idempotency-Key."
            );
            return Self::new(Kind::CannotWrite, detail).retry_after(10);
        }
        if error.is_passing() {
            tracing::warn!(%error, "database busy");
            let detail = "Repeat the request after a moment, with the same Idempotency-Key.";
            return Self::new(Kind::Busy, detail).retry_after(1);
        }
        Self::internal(error)
    }
}

impl From<LookupError> for Problem {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Db(error) => error.into(),
            LookupError::Missing(what) => Self::not_found(what),
        }
    }
}

/// Kinds of the refusals for a failed call of a plugin.
pub(crate) const PLUGIN: &[Kind] = &[Kind::PluginFailed, Kind::PluginMissing];

impl From<CallFailed> for Problem {
    fn from(failed: CallFailed) -> Self {
        match failed.error {
            CallError::NotLoaded { .. } | CallError::NoRole { .. } => {
                tracing::error!(error = %failed, "plugin missing");
                Self::new(Kind::PluginMissing, "The operator has to load the plugin of this network.")
                    .retry_after(30)
            }
            CallError::Busy | CallError::Stale => {
                Self::new(Kind::Busy, "Repeat the request after a moment, with the same Idempotency-Key.")
                    .retry_after(1)
            }
            _ => {
                tracing::error!(error = %failed, "plugin failed");
                Self::new(
                    Kind::PluginFailed,
                    "The plugin of this network broke; its operator finds out why in the log.",
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Arc};

    use super::*;
    use crate::{db::Trouble, domain::settlement::Disallowed, master_key::RotationError};

    #[test]
    fn a_refusal_is_stored_only_if_it_would_come_again() {
        let kept = |problem: Problem| problem.is_deterministic();
        assert!(kept(Problem::new(Kind::RotationRefused, "It is under way.")));
        assert!(!kept(Problem::new(Kind::NetworkNotStarted, "Not read yet.").retry_after(10)));
        assert!(!kept(RotationError::Left(3).into()) && !kept(RotationError::Behind.into()));
        assert!(!kept(Problem::new(Kind::RateLimited, "Wait.")) && !kept(DbError::Closed.into()));
    }

    #[test]
    fn what_passes_asks_for_a_repetition_and_a_defect_does_not() {
        let told = |error: DbError| {
            let kind = Problem::from(error).kind;
            (kind.slug(), kind.status().as_u16())
        };
        for passing in [
            DbError::Vanished("the hook"),
            DbError::Stale("the storage"),
            DbError::Closed,
            DbError::Shared(Arc::new(DbError::Closed)),
        ] {
            assert_eq!(told(passing), ("busy", 503));
        }
        let no_json = serde_json::from_str::<()>("?").unwrap_err();
        for defect in [
            DbError::NoArtefact("00".to_owned()),
            DbError::Unwritable(no_json),
            DbError::Refused(Disallowed::Nobody),
            DbError::Shared(Arc::new(DbError::Panicked)),
        ] {
            assert_eq!(told(defect), ("internal", 500));
        }
        let full = DbError::Shared(Arc::new(DbError::CannotWrite(Trouble::Full)));
        assert_eq!(told(full), ("cannot_write", 503));
    }

    #[test]
    fn slugs_are_unique_and_plain() {
        let slugs: HashSet<&str> = Kind::ALL.iter().map(|kind| kind.slug()).collect();
        assert_eq!(slugs.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert!(kind.slug().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", kind.slug());
            assert!(kind.status().is_client_error() || kind.status().is_server_error());
            assert!(!kind.title().ends_with('.'), "{}", kind.title());
        }
    }

    #[test]
    fn the_body_has_the_members_of_rfc_9457() {
        let problem = Problem::new(Kind::RateLimited, "Wait.").field("a.b").retry_after(3).with("limit", 5);
        let body: Value = serde_json::from_slice(&problem.body()).unwrap();
        assert_eq!(
            body,
            json!({"type": "/problems/rate_limited", "title": "Too many requests with this key", "status": 429,
                   "detail": "Wait.", "field": "a.b", "retry_after_s": 3, "limit": 5})
        );
        let response = problem.into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "3");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
}
