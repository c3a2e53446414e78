//! What events tell: one type of data for each kind of event.
//!
//! A kind, its data, the line that describes it in the OpenAPI document and the example there stand together, so that
//! none is without the others. The example is a golden file, `golden/invoice.paid.json` and so on, which a test
//! compares with what the code writes: what a merchant's handler reads does not change unnoticed.

use serde::{Serialize, Serializer};
use utoipa::{
    PartialSchema as _, ToSchema,
    openapi::{RefOr, Schema},
};

use super::Type;
use crate::domain::{
    alarm::{
        DatabaseUnwritable, NetworkFrozen, NetworkResumed, NetworkStalled, SecondProviderMissing,
        TransferDisputed, WorkSetAside,
    },
    correction::CorrectionSummary,
    id::{
        AddressId, EndpointId, EventId, ExtendedKeyId, HookId, HookMatchId, HookRunId, InvoiceId, PaymentId,
        TransferId,
    },
    invoice::Invoice,
    matching::Reason,
    near::NearMiss,
    payment::{self, Payment},
    transfer::{Destination, Transfer},
    verbatim::Verbatim,
    view::{InvoiceView, PaymentView, TransferView, time},
    word::words,
};

/// Maximum number of payments that an invoice's events name: the newest.
pub const PAYMENTS_MAX: usize = 20;

macro_rules! events {
    ($($(#[doc = $about:literal])+ $case:ident($data:ty) = $word:tt,)*) => {
        words! {
            /// The type of an event of Kassa's own.
            Kind { $($(#[doc = $about])+ $case = $word,)* }
        }

        /// The content of an event.
        #[derive(Debug, Clone)]
        pub enum Data {
            $($(#[doc = $about])+ $case(Box<$data>),)*
            /// An event that a hook sent, under a type that it made up (`hook.license.issued`).
            OfHook(Type, Verbatim),
        }

        impl Data {
            /// The event's type.
            #[must_use]
            pub fn kind(&self) -> Type {
                match self {
                    $(Self::$case(_) => Kind::$case.into(),)*
                    Self::OfHook(kind, _) => kind.clone(),
                }
            }
        }

        impl Serialize for Data {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$case(data) => data.serialize(serializer),)*
                    Self::OfHook(_, data) => data.serialize(serializer),
                }
            }
        }

        /// All kinds of events, for the OpenAPI document.
        #[must_use]
        pub fn shapes() -> Vec<Shape> {
            vec![$({
                let mut schemas = vec![(<$data>::name().into_owned(), <$data>::schema())];
                <$data as ToSchema>::schemas(&mut schemas);
                Shape {
                    kind: $word,
                    about: concat!($($about),+).trim(),
                    data: <$data>::name().into_owned(),
                    schemas,
                    example: include_str!(concat!("golden/", $word, ".json")),
                }
            },)*]
        }
    };
}

/// A kind of event, as the OpenAPI document describes it.
pub struct Shape {
    pub kind: &'static str,
    pub about: &'static str,
    /// Name of the schema of its data.
    pub data: String,
    /// That schema, and the schemas that it refers to.
    pub schemas: Vec<(String, RefOr<Schema>)>,
    /// The JSON of a delivery.
    pub example: &'static str,
}

events! {
    /// A payment was seen on chain and is not yet credited.
    InvoiceDetected(InvoiceEvent) = "invoice.detected",
    /// The invoice is paid.
    InvoicePaid(InvoiceEvent) = "invoice.paid",
    /// Less was credited than was asked for.
    InvoiceUnderpaid(InvoiceEvent) = "invoice.underpaid",
    /// More was credited than was asked for.
    InvoiceOverpaid(InvoiceEvent) = "invoice.overpaid",
    /// The deadline has passed, by the chain's time.
    InvoiceExpired(InvoiceEvent) = "invoice.expired",
    /// You cancelled it.
    InvoiceCancelled(InvoiceEvent) = "invoice.cancelled",
    /// A transfer that may be meant for it waits for a person.
    InvoiceManualReview(InvoiceEvent) = "invoice.manual_review",
    /// A payment that had been seen or credited is no longer on chain, or a person took it back.
    InvoiceReverted(InvoiceEvent) = "invoice.reverted",
    /// A person gave it another deadline.
    InvoiceExtended(InvoiceEvent) = "invoice.extended",
    /// It had expired or was cancelled, and can be paid again.
    InvoiceReopened(InvoiceEvent) = "invoice.reopened",
    /// A transfer to a customer's address was credited.
    DepositCredited(DepositEvent) = "deposit.credited",
    /// A credited deposit is no longer on chain.
    DepositReverted(DepositEvent) = "deposit.reverted",
    /// A transfer that pays nothing by itself.
    TransferUnmatched(UnmatchedEvent) = "transfer.unmatched",
    /// Another merchant wanted an address or an extended key that is yours, and was refused.
    ReceiveAddressClaimedByAnother(ClaimedEvent) = "receive_address.claimed_by_another",
    /// Sent at your wish, to try an endpoint.
    EndpointTest(TestEvent) = "endpoint.test",
    /// A hook said that a person has to look at its run.
    HookRunRejected(HookRunEvent) = "hook_run.rejected",
    /// A hook's run was tried as often as it may be.
    HookRunExhausted(HookRunEvent) = "hook_run.exhausted",
    /// A hook fails always: its runs wait, and are tried now and then.
    HookRunFailing(HookRunEvent) = "hook_run.failing",
    /// A matcher gave no answer that could be used: the built-in policy decided about a transfer.
    HookMatchFailed(HookMatchEvent) = "hook_match.failed",
    // Only merchants that the operator chose for them get the following events.
    /// No provider of a network gives a good answer. For merchants with `operator_events`.
    NetworkStalled(NetworkStalled) = "network.stalled",
    /// A provider of the network gives good answers again. For merchants with `operator_events`.
    NetworkResumed(NetworkResumed) = "network.resumed",
    /// A network no longer holds what was final; nothing is read until the operator decides. For merchants with
    /// `operator_events`.
    NetworkFrozen(NetworkFrozen) = "network.frozen",
    /// Providers contradict each other about a transfer that two of them have to have seen. It is not credited until
    /// two agree. For merchants with `operator_events`.
    TransferDisputed(TransferDisputed) = "transfer.disputed",
    /// A transfer has to have been seen by two providers, and there is only one. For merchants with `operator_events`.
    SecondProviderMissing(SecondProviderMissing) = "network.second_provider_missing",
    /// Calls that ended the process are made no more. For merchants with `operator_events`.
    WorkSetAside(WorkSetAside) = "work.set_aside",
    /// The database took no writes for a while. For merchants with `operator_events`.
    DatabaseUnwritable(DatabaseUnwritable) = "database.unwritable",
}

/// An invoice's status and its payments.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct InvoiceEvent {
    pub invoice: InvoiceView,
    /// Its payments, the oldest first: the newest 20, also those that are no longer on chain.
    pub payments: Vec<PaidPart>,
    /// The transaction of its newest payment that counts.
    pub tx_hash: Option<String>,
    /// The correction by a person that caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correction: Option<CorrectionSummary>,
}

/// A transfer, or a part of one, that pays an invoice.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PaidPart {
    #[schema(example = "pay_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    pub id: PaymentId,
    pub transfer_id: TransferId,
    /// Number of the part of the transfer, from 0. A transfer that pays a single thing has only part 0.
    pub part: i64,
    pub network: String,
    /// None: of a `rise` no transaction is known.
    pub tx_hash: Option<String>,
    pub sender: Option<String>,
    pub asset: String,
    pub asset_id: String,
    pub amount: String,
    pub amount_units: String,
    pub status: payment::Status,
    pub exception: payment::Exception,
    pub height: i64,
    pub block_time: String,
    /// Blocks from its own to the last one that was read, both counted; 0 while it is on no block.
    #[schema(minimum = 0)]
    pub confirmations: i64,
}

impl PaidPart {
    /// The view of a payment of this invoice, when the network was read up to `read_to`.
    #[must_use]
    pub fn new(payment: &Payment, transfer: &Transfer, invoice: &Invoice, read_to: i64) -> Self {
        Self {
            id: payment.id.clone(),
            transfer_id: payment.transfer_id.clone(),
            part: payment.part,
            network: transfer.network.clone(),
            tx_hash: transfer.tx_hash().map(str::to_owned),
            sender: transfer.sender.clone(),
            asset: invoice.symbol.clone(),
            asset_id: payment.asset_id.clone(),
            amount: payment.amount.to_decimal(invoice.decimals),
            amount_units: payment.amount.to_string(),
            status: payment.status,
            exception: payment.exception,
            height: transfer.height,
            block_time: time(transfer.block_time),
            confirmations: transfer.confirmations(read_to),
        }
    }
}

/// An amount that arrived at a customer's address.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DepositEvent {
    pub payment: PaymentView,
    pub transfer: TransferView,
    /// Blocks from its own to the last one that was read, both counted; 0 while it is on no block.
    #[schema(minimum = 0)]
    pub confirmations: i64,
    pub receive_address: CustomerAddress,
}

/// The address that a customer pays to.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CustomerAddress {
    #[schema(example = "adr_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    pub id: AddressId,
    pub network: String,
    pub address: String,
    /// Your own name for the customer.
    #[schema(example = "customer-17")]
    pub unique_id: Option<String>,
    /// As it was given, to the last digit and space.
    #[schema(value_type = Option<serde_json::Value>)]
    pub meta: Option<Verbatim>,
}

impl CustomerAddress {
    #[must_use]
    pub fn new(transfer: &Transfer, destination: &Destination) -> Self {
        Self {
            id: transfer.address_id.clone(),
            network: transfer.network.clone(),
            address: destination.address.clone(),
            unique_id: destination.unique_id.clone(),
            meta: destination.meta.clone(),
        }
    }
}

/// A transfer that pays nothing by itself, and why.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UnmatchedEvent {
    pub transfer: TransferView,
    pub reason: Reason,
    /// The invoice that it is about, where there is one.
    pub invoice_id: Option<InvoiceId>,
    /// Open invoices that it could be meant for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near_misses: Option<Vec<NearMiss>>,
    /// The correction by a person that caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correction: Option<CorrectionSummary>,
}

/// Another merchant's request, without that merchant's name.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClaimedEvent {
    pub network: String,
    /// Of an extended key, the first that it derives.
    pub address: String,
    pub receive_address_id: Option<AddressId>,
    pub extended_key_id: Option<ExtendedKeyId>,
}

/// The endpoint that is tried.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TestEvent {
    pub endpoint_id: EndpointId,
}

/// A hook, as events name it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HookNamed {
    #[schema(example = "hook_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    pub id: HookId,
    #[schema(example = "license-keys")]
    pub name: String,
    pub version: String,
}

/// A run of a hook that needs somebody.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HookRunEvent {
    pub hook: HookNamed,
    pub run: RunNamed,
    pub event: EventNamed,
}

/// A run of a hook.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RunNamed {
    #[schema(example = "run_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    pub id: HookRunId,
    /// Calls made so far.
    pub attempts: i64,
    /// The last one's words, or the reason of its failure.
    pub note: String,
}

/// An event that a run is about.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EventNamed {
    #[schema(example = "evt_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    pub id: EventId,
    #[schema(value_type = Type)]
    pub r#type: String,
}

/// A question to a matcher that got no answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HookMatchEvent {
    pub hook: HookNamed,
    pub r#match: MatchNamed,
    pub transfer_id: TransferId,
}

/// A question to a matcher.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MatchNamed {
    #[schema(example = "mat_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    pub id: HookMatchId,
    /// Why it failed.
    pub note: String,
    /// True while it is left alone after many failures.
    pub paused: bool,
}
