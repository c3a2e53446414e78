//! Receive addresses: where payers pay. Kassa watches them; it can spend from none.

mod keys;
mod ownership;
mod retire;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::ownership::{OWNERSHIP, SignedStatement};
use crate::{
    app::App,
    db::addresses::{Kind as AddressKind, ReceiveAddress},
    domain::{id::AddressId, ownership::Subject, verbatim::Verbatim},
    flow::{
        addresses::{self, SetError, Wanted},
        ownership::tell,
        resources,
    },
    host::{AddressError, DeriveError},
    http::{
        auth::Merchant,
        idempotent::{Reply, idempotent, kept},
        input::{PathParam, Query, check_text},
        invoices::{NETWORK, network},
        json::{Answer, Json},
        openapi::routes::{Routes, routes},
        page::{Listed, PageParams},
        problem::{Kind, PLUGIN, Problem, sentence},
        time::Time,
    },
};

const ADDRESS_CHARS_MAX: usize = 200;
const UNIQUE_ID_CHARS_MAX: usize = 100;
const META_BYTES_MAX: usize = 4096;

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(create, list))
        .routes(routes!(get))
        .merge(keys::routes())
        .merge(ownership::routes())
        .merge(retire::routes())
}

/// An address that is watched for payments.
#[derive(Debug, Serialize, ToSchema)]
struct AddressView {
    #[schema(example = "adr_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    id: AddressId,
    #[schema(example = "base")]
    network: String,
    address: String,
    /// `shared`: invoices are told apart by amount or memo; `customer`: all that arrives is this customer's.
    kind: AddressKind,
    /// Your own name for the customer.
    unique_id: Option<String>,
    #[schema(value_type = Option<serde_json::Value>)]
    meta: Option<Verbatim>,
    /// Which child of your extended public key it is.
    derived_index: Option<i64>,
    created_at: Time,
    /// Since when it is no longer given out. It stays watched, and what was asked for on it stays.
    retired_at: Option<Time>,
    /// When you last proved that it is yours.
    ownership_proven_at: Option<Time>,
}

impl From<ReceiveAddress> for AddressView {
    fn from(row: ReceiveAddress) -> Self {
        Self {
            id: row.id,
            network: row.network,
            address: row.address,
            kind: row.kind,
            unique_id: row.unique_id,
            meta: row.meta,
            derived_index: row.derived_index,
            created_at: Time(row.created_at),
            retired_at: row.retired_at.map(Time),
            ownership_proven_at: row.ownership_proven_at.map(Time),
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewReceiveAddress {
    #[schema(example = "base")]
    network: String,
    /// Yours. Without `unique_id` it becomes your shared address on this network. Left out, a customer's address
    /// is derived from your extended public key.
    #[schema(max_length = 200)]
    address: Option<String>,
    /// Your own name for a customer: the same one always gets the same address.
    #[schema(max_length = 100, example = "customer-17")]
    unique_id: Option<String>,
    /// Given back as the text that it is, to the last digit and space; at most 4096 bytes.
    #[schema(value_type = Option<serde_json::Value>)]
    meta: Option<Verbatim>,
    /// Proves that `address` is yours, also of one that was there before. The operator may demand it on live networks.
    ownership: Option<SignedStatement>,
}

/// Get or create a receive address
///
/// 201 if it was made, 200 if it was there. A shared address takes the payments of any number of invoices; a
/// customer's address takes whatever that customer pays, with or without an invoice.
#[utoipa::path(post, path = "/v1/receive_addresses", tag = "receive addresses", request_body = NewReceiveAddress,
    responses((status = 201, body = AddressView), (status = 200, body = AddressView, description = "It was there")),
    extensions(("x-problems" = json!([
        NETWORK, PLUGIN, ADDRESS, DERIVATION, OWNERSHIP, [Kind::NetworkNotStarted, Kind::AddressTaken,
        Kind::AddressMissing, Kind::Conflict]
    ]))))]
async fn create(
    merchant: Merchant,
    State(app): State<App>,
    body: Json<NewReceiveAddress>,
) -> Result<Reply, Problem> {
    let Json { value: new, once } = body;
    let manifest = network(&app, &merchant, &new.network).map_err(|problem| problem.field("network"))?;
    if let Some(unique_id) = &new.unique_id {
        check_text("unique_id", unique_id, UNIQUE_ID_CHARS_MAX)?;
    }
    if new.meta.as_ref().is_some_and(|meta| meta.text().len() > META_BYTES_MAX) {
        let detail =
            format!("meta has more than {META_BYTES_MAX} bytes. Keep it with yourself, under unique_id.");
        return Err(Problem::new(Kind::FieldMalformed, detail).field("meta"));
    }
    // What was proven once need not be good for ever.
    if new.ownership.is_some()
        && let Some(kept) = kept(&app, &merchant.owner(), &once).await?
    {
        return Ok(kept);
    }
    if let Some(address) = &new.address {
        check_text("address", address, ADDRESS_CHARS_MAX)?;
    }
    let wanted = Wanted {
        network: manifest.clone(),
        address: new.address,
        unique_id: new.unique_id,
        meta: new.meta,
        signed: new.ownership.map(SignedStatement::checked).transpose()?,
    };
    let new = addresses::prepare(&app, &merchant.tenant, wanted).await?;
    let address = new.address().to_owned();
    let work = idempotent(
        &app,
        merchant.owner(),
        once,
        move |conn| Box::pin(addresses::get_or_create(conn, new)),
        |(row, made)| {
            let view = AddressView::from(row);
            if made { Reply::created(&view) } else { Reply::ok(&view) }
        },
    );
    let outcome = Box::pin(work).await;
    if outcome.as_ref().is_err_and(|problem| problem.kind == Kind::AddressTaken) {
        tell(&app, &merchant.tenant, &manifest, Subject::Address, &address).await?;
    }
    outcome
}

/// Kinds of the refusals of what is no address of the network.
const ADDRESS: &[Kind] = &[Kind::AddressMalformed, Kind::AddressChecksum, Kind::AddressWrongNetwork];

fn no_address(error: AddressError, network: &str) -> Problem {
    let (kind, detail) = match error {
        AddressError::Malformed(why) | AddressError::Other(why) => {
            (Kind::AddressMalformed, format!("{why:.200}."))
        }
        AddressError::Checksum => {
            (Kind::AddressChecksum, "A character was changed or lost: copy it again.".to_owned())
        }
        AddressError::WrongNetwork(which) => {
            (Kind::AddressWrongNetwork, format!("It belongs to {which:.100}, not to {network}."))
        }
    };
    Problem::new(kind, detail).field("address")
}

/// Kinds of the refusals of a key that derives no address.
const DERIVATION: &[Kind] = &[Kind::DerivationUnsupported, Kind::ExtendedKeyMalformed];

fn no_child(error: DeriveError) -> Problem {
    let (kind, detail) = match error {
        DeriveError::Unsupported => {
            (Kind::DerivationUnsupported, "Supply an address of your own for each customer.".to_owned())
        }
        DeriveError::MalformedKey(why) | DeriveError::Other(why) => {
            (Kind::ExtendedKeyMalformed, format!("{why:.200}."))
        }
        DeriveError::NoChild => (Kind::ExtendedKeyMalformed, "Its first child does not exist.".to_owned()),
    };
    Problem::new(kind, detail).field("public_key")
}

impl From<SetError> for Problem {
    fn from(error: SetError) -> Self {
        let text = sentence(&error);
        match error {
            SetError::Db(error) => error.into(),
            SetError::Plugin(failed) => failed.into(),
            SetError::Proof(error) => error.into(),
            SetError::NotStarted(error) => Self::from(error).field("network"),
            SetError::Malformed { error, network } => no_address(error, &network),
            SetError::Underivable(error) => no_child(error),
            SetError::NothingSaid | SetError::NothingToProve => {
                Self::new(Kind::FieldMissing, text).field("address")
            }
            SetError::NoKey => Self::new(Kind::AddressMissing, text).field("address"),
            SetError::UsedUp => Self::new(Kind::Conflict, text),
            SetError::AllInUse => Self::new(Kind::Busy, text).retry_after(1),
            SetError::Taken => Self::new(Kind::AddressTaken, text).field("address"),
            SetError::HasAnother { id, .. } => {
                Self::new(Kind::AddressTaken, text).field("address").with("id", id.as_str())
            }
            SetError::KeyTaken => Self::new(Kind::AddressTaken, text).field("public_key"),
        }
    }
}

/// List receive addresses
#[utoipa::path(get, path = "/v1/receive_addresses", tag = "receive addresses", params(PageParams),
    responses((status = 200, body = Listed<AddressView>)))]
async fn list(
    merchant: Merchant,
    State(app): State<App>,
    Query(params): Query<PageParams>,
) -> Result<Answer<Listed<AddressView>>, Problem> {
    let page = params.page::<AddressId>()?;
    let rows = resources::list::<ReceiveAddress>(&app, &merchant.tenant, (), page.span()).await?;
    Ok(Answer(page.cut(rows, |row| &row.id, Into::into)))
}

/// Get a receive address
#[utoipa::path(get, path = "/v1/receive_addresses/{id}", tag = "receive addresses",
    params(("id" = String, Path)), responses((status = 200, body = AddressView)))]
async fn get(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
) -> Result<Answer<AddressView>, Problem> {
    let id = id.id("receive address")?;
    Ok(Answer(resources::get::<ReceiveAddress>(&app, &merchant.tenant, &id).await?.into()))
}
