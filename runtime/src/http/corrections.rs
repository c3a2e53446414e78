//! Corrections: decisions made by hand, each with its author, time and reason. They are made on invoices, transfers and
//! receive addresses.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    db::corrections::{Listed as Corrected, Of},
    domain::{
        correction::{self, Evidence},
        id::{AddressId, ApiKeyId, CorrectionId, InvoiceId, PaymentId, TransferId},
        verbatim::Verbatim,
    },
    flow::{
        resolve::{ResolveError, Scope},
        resources,
    },
    http::{
        auth::Merchant,
        input::{Query, check_text, named},
        json::Answer,
        openapi::routes::{Routes, routes},
        page::{Listed, Page},
        problem::{Kind, Problem, sentence},
        time::Time,
    },
};

const WHY_CHARS_MAX: usize = 500;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(list))
}

/// Something that was decided by hand. It stays, whatever is decided after it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CorrectionView {
    #[schema(example = "cor_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    id: CorrectionId,
    kind: correction::Kind,
    invoice_id: Option<InvoiceId>,
    transfer_id: Option<TransferId>,
    payment_id: Option<PaymentId>,
    receive_address_id: Option<AddressId>,
    /// The correction that this one takes back.
    takes_back: Option<CorrectionId>,
    /// What was marked as paid.
    amount: Option<String>,
    why: Option<String>,
    evidence: Option<Evidence>,
    /// What it was before.
    #[schema(value_type = Option<Object>)]
    was: Option<Verbatim>,
    /// The API key that it was done with.
    api_key_id: ApiKeyId,
    at: Time,
}

impl From<Corrected> for CorrectionView {
    fn from(row: Corrected) -> Self {
        let Corrected { correction: one, decimals } = row;
        Self {
            id: one.id,
            kind: one.kind,
            invoice_id: one.invoice_id,
            transfer_id: one.transfer_id,
            payment_id: one.payment_id,
            receive_address_id: one.address_id,
            takes_back: one.of_id,
            amount: one.amount.map(|amount| amount.to_decimal(decimals)),
            why: one.why,
            evidence: one.evidence,
            was: one.was,
            api_key_id: one.key_id,
            at: Time(one.at),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CorrectionParams {
    /// How many to give, from 1 to 100; 25 if not said.
    #[param(minimum = 1, maximum = 100, default = 25)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only those about this invoice.
    invoice_id: Option<String>,
    /// Only those about this transfer. Not together with `invoice_id`.
    transfer_id: Option<String>,
}

/// List corrections
///
/// Who has decided what by hand, when and why: assignments, dismissals, what was marked as paid, extended, reopened or
/// retired, and what was taken back.
#[utoipa::path(get, path = "/v1/corrections", tag = "corrections", params(CorrectionParams),
    responses((status = 200, body = Listed<CorrectionView>)))]
async fn list(
    merchant: Merchant,
    State(app): State<App>,
    Query(params): Query<CorrectionParams>,
) -> Result<Answer<Listed<CorrectionView>>, Problem> {
    let page = Page::<CorrectionId>::new(params.limit, params.cursor.as_deref())?;
    let of = match (params.invoice_id.as_deref().map(named), params.transfer_id.as_deref().map(named)) {
        (None, None) => Of::All,
        (Some(id), None) => Of::Invoice(id),
        (None, Some(id)) => Of::Transfer(id),
        (Some(_), Some(_)) => {
            let detail = "Give either invoice_id or transfer_id.";
            return Err(Problem::new(Kind::QueryMalformed, detail).field("transfer_id"));
        }
    };
    let rows = resources::list::<Corrected>(&app, &merchant.tenant, of, page.span()).await?;
    Ok(Answer(page.cut(rows, |row| &row.correction.id, Into::into)))
}

/// Why a correction is made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CorrectionReason)]
pub(super) struct Reason {
    /// Kept with it, for those who wonder later.
    #[schema(max_length = 500)]
    why: Option<String>,
}

impl Reason {
    pub(super) fn checked(self) -> Result<Option<String>, Problem> {
        check_why(self.why.as_deref())?;
        Ok(self.why)
    }
}

pub(super) fn check_why(why: Option<&str>) -> Result<(), Problem> {
    why.map_or(Ok(()), |why| check_text("why", why, WHY_CHARS_MAX))
}

pub(super) fn scope(merchant: &Merchant) -> Scope {
    Scope { tenant: merchant.tenant.clone(), key_id: merchant.key_id.clone() }
}

impl From<ResolveError> for Problem {
    fn from(error: ResolveError) -> Self {
        let text = sentence(&error);
        match error {
            ResolveError::Db(error) => error.into(),
            ResolveError::NoInvoice => Self::not_found("invoice"),
            ResolveError::NoTransfer => Self::not_found("transfer"),
            ResolveError::StillOpen(_) => Self::new(Kind::InvoiceOpen, text),
            ResolveError::NotOpen => Self::new(Kind::TransferResolved, text),
            ResolveError::Retracted => Self::new(Kind::TransferRetracted, text),
            ResolveError::Uncountable | ResolveError::OtherAsset => Self::new(Kind::AssignmentRefused, text),
            ResolveError::NotAssigned => Self::new(Kind::TransferNotAssigned, text),
            ResolveError::NotDismissed => Self::new(Kind::TransferNotDismissed, text),
            ResolveError::NotOpenInvoice(_)
            | ResolveError::PaidAlready(_)
            | ResolveError::NotExtendable(_)
            | ResolveError::NotReopenable(_) => Self::new(Kind::InvoiceClosed, text),
            ResolveError::MarkedAlready { correction_id } => {
                Self::new(Kind::MarkedAlready, text).with("correction_id", correction_id.as_str())
            }
            ResolveError::OnItsWay => Self::new(Kind::PaymentOnItsWay, text),
            ResolveError::TxSeen { transfer_id } => Self::new(Kind::TransactionSeen, text)
                .field("evidence.tx")
                .with("transfer_id", transfer_id.as_str()),
            ResolveError::TooMuch => Self::new(Kind::AmountTooLarge, text).field("amount"),
            ResolveError::NotMarked => Self::new(Kind::NotMarked, text),
            ResolveError::NotLater => Self::new(Kind::DeadlineRefused, text).field("expires_at"),
            ResolveError::HeldNoMore => Self::new(Kind::HeldNoMore, text),
            ResolveError::OrderTaken { invoice_id } => {
                Self::new(Kind::OrderIdTaken, text).with("invoice_id", invoice_id.as_str())
            }
            ResolveError::OrderRace => Self::new(Kind::Busy, text).retry_after(1),
            ResolveError::NoAddress => Self::not_found("receive address"),
            ResolveError::OfAnInvoice | ResolveError::StandsSo(_) => Self::new(Kind::AddressState, text),
            ResolveError::PlaceTaken => Self::new(Kind::AddressTaken, text),
        }
    }
}
