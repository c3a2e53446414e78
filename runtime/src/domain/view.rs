//! What merchants see, the same in REST answers and in webhooks.
//!
//! Amounts are decimal text of whole units, and `…_units` the same in base units. Times are RFC 3339 in UTC.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Millis,
    id::{InvoiceId, PaymentId, TransferId},
    invoice::{Exception, Invoice, Matching, Status},
    payment::{self, Payment},
    transfer::{self, Transfer},
    verbatim::Verbatim,
};

/// Writes a time as `2026-11-22T06:10:47.123Z`.
#[must_use]
pub fn time(ms: Millis) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| "unknown".to_owned(), |at| format!("{at:.3}"))
}

/// An invoice.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct InvoiceView {
    #[schema(example = "inv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    pub id: InvoiceId,
    pub order_id: Option<String>,
    pub title: String,
    pub tag: Option<String>,
    #[schema(value_type = Option<serde_json::Value>)]
    pub meta: Option<Verbatim>,
    /// Made with a test key, on a test network.
    pub test: bool,
    pub status: Status,
    /// What was not as asked for.
    pub exception: Exception,
    /// Grows with every event of this invoice. Webhooks of an invoice come to an endpoint in this order; only one that the
    /// endpoint has refused for a quarter of an hour is overtaken. So whoever keeps the largest that was seen, and passes
    /// over what is not larger, is never set back.
    pub sequence: i64,
    #[schema(example = "base")]
    pub payable_network: String,
    #[schema(example = "USDC")]
    pub payable_asset: String,
    /// `network:contract`, or `network:native`.
    #[schema(example = "base:0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913")]
    pub asset_id: String,
    /// What was asked for.
    #[schema(example = "100.00")]
    pub amount: String,
    /// What the payer has to send, to the last digit.
    #[schema(example = "100.000123")]
    pub payable_amount: String,
    #[schema(example = "100000123")]
    pub payable_amount_units: String,
    /// Seen on chain, not credited yet.
    pub pending_amount: String,
    /// Credited.
    pub credited_amount: String,
    pub credited_amount_units: String,
    /// Of what is credited, what a person marked as paid.
    pub marked_amount: String,
    /// The price, if it was asked in this currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_amount_usd: Option<String>,
    pub destination_address: String,
    /// The memo that the payment must carry, where payments are told apart by memo.
    pub payment_comment: Option<String>,
    /// How a payment is recognised.
    pub matching: Matching,
    /// A link that wallets open.
    pub payment_uri: Option<String>,
    pub created_at: String,
    /// The deadline, by the time of the chain's blocks.
    pub expires_at: String,
    /// The deadline has passed, but the chain was not read that far yet: a payment made in time may still be found.
    pub awaiting_chain: bool,
    pub paid_at: Option<String>,
    pub cancelled_at: Option<String>,
}

impl InvoiceView {
    /// The view of an invoice at a time.
    #[must_use]
    pub fn at(invoice: &Invoice, now: Millis) -> Self {
        let passed = invoice.status.is_open() && invoice.expired_at.is_none() && invoice.expires_at < now;
        Self { awaiting_chain: passed, ..Self::from(invoice) }
    }
}

impl From<&Invoice> for InvoiceView {
    fn from(i: &Invoice) -> Self {
        Self {
            id: i.id.clone(),
            order_id: i.order_id.clone(),
            title: i.title.clone(),
            tag: i.tag.clone(),
            meta: i.meta.clone(),
            test: i.tenant.mode.is_test(),
            status: i.status,
            exception: i.exception,
            sequence: i.sequence,
            payable_network: i.network.clone(),
            payable_asset: i.symbol.clone(),
            asset_id: i.asset_id.clone(),
            amount: i.amount.to_decimal(i.decimals),
            payable_amount: i.due.to_decimal(i.decimals),
            payable_amount_units: i.due.to_string(),
            pending_amount: i.pending.to_decimal(i.decimals),
            credited_amount: i.credited.to_decimal(i.decimals),
            credited_amount_units: i.credited.to_string(),
            marked_amount: i.marked.to_decimal(i.decimals),
            base_amount_usd: i.price.clone(),
            destination_address: i.address.clone(),
            payment_comment: i.memo.clone(),
            matching: i.matching,
            payment_uri: i.payment_uri.clone(),
            created_at: time(i.created_at),
            expires_at: time(i.expires_at),
            awaiting_chain: false,
            paid_at: i.paid_at.map(time),
            cancelled_at: i.cancelled_at.map(time),
        }
    }
}

/// Names to show in place of the ids of a transfer or a payment.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    pub address: &'a str,
    pub symbol: &'a str,
    pub decimals: u8,
}

/// A movement on chain towards one of the merchant's addresses.
///
/// A `rise` is what an address holds more at the end of a block than the transfers that were seen explain: native coin
/// that a contract sent. Its `height` is that of the block at which it was noticed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TransferView {
    pub id: TransferId,
    pub network: String,
    pub kind: transfer::Kind,
    /// None: of a `rise` no transaction is known.
    pub tx_hash: Option<String>,
    /// Which movement of the transaction.
    pub ordinal: i64,
    pub asset: String,
    pub asset_id: String,
    /// None: more than this system can count.
    pub amount: Option<String>,
    pub amount_units: Option<String>,
    pub sender: Option<String>,
    pub address: String,
    pub memo: Option<String>,
    pub memo_problem: Option<String>,
    pub height: i64,
    pub block_hash: String,
    pub block_time: String,
    pub status: transfer::Status,
    pub seen_at: String,
}

impl TransferView {
    #[must_use]
    pub fn new(t: &Transfer, names: Names<'_>) -> Self {
        Self {
            id: t.id.clone(),
            network: t.network.clone(),
            kind: t.kind,
            tx_hash: t.tx_hash().map(str::to_owned),
            ordinal: t.ordinal,
            asset: names.symbol.to_owned(),
            asset_id: t.asset_id.clone(),
            amount: t.amount.map(|amount| amount.to_decimal(names.decimals)),
            amount_units: t.amount.map(|amount| amount.to_string()),
            sender: t.sender.clone(),
            address: names.address.to_owned(),
            memo: t.memo.clone(),
            memo_problem: t.memo_problem.clone(),
            height: t.height,
            block_hash: t.block_hash.clone(),
            block_time: time(t.block_time),
            status: t.status,
            seen_at: time(t.seen_at),
        }
    }
}

/// A transfer, or a part of one, and what it pays.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PaymentView {
    pub id: PaymentId,
    pub transfer_id: TransferId,
    /// Which part of the transfer, from 0. One that pays a single thing has only part 0.
    pub part: i64,
    /// None: a deposit to a customer's address.
    pub invoice_id: Option<InvoiceId>,
    pub address: String,
    pub asset: String,
    pub asset_id: String,
    pub amount: String,
    pub amount_units: String,
    pub status: payment::Status,
    pub exception: payment::Exception,
    pub created_at: String,
    pub credited_at: Option<String>,
}

impl PaymentView {
    #[must_use]
    pub fn new(p: &Payment, names: Names<'_>) -> Self {
        Self {
            id: p.id.clone(),
            transfer_id: p.transfer_id.clone(),
            part: p.part,
            invoice_id: p.invoice_id.clone(),
            address: names.address.to_owned(),
            asset: names.symbol.to_owned(),
            asset_id: p.asset_id.clone(),
            amount: p.amount.to_decimal(names.decimals),
            amount_units: p.amount.to_string(),
            status: p.status,
            exception: p.exception,
            created_at: time(p.created_at),
            credited_at: p.credited_at.map(time),
        }
    }
}
