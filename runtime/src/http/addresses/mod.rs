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
    db::{
        Conn,
        addresses::{self, CreateError, NewAddress, ReceiveAddress},
        chain,
        ownership::{Proof, prove_address},
    },
    domain::{
        id::{self, Kind as IdKind},
        network::Manifest,
        ownership::Subject,
        verbatim::Verbatim,
    },
    flow::invoicing::{
        InvoicingError,
        children::{self, ChildError},
    },
    host::{Address, AddressError, DeriveError},
    http::{
        auth::Merchant,
        idempotent::{Reply, idempotent, kept},
        input::{PathParam, Query, check_text},
        invoices::{NETWORK, network},
        json::{Answer, Json},
        openapi::routes::{Routes, routes},
        page::{Listed, PageParams},
        problem::{Kind, PLUGIN, Problem},
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
    id: String,
    #[schema(example = "base")]
    network: String,
    address: String,
    /// `shared`: invoices are told apart by amount or memo; `customer`: all that arrives is this customer's.
    kind: addresses::Kind,
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
    let mut there = None;
    if let Some(unique_id) = &new.unique_id {
        let mut conn = app.db.read().await?;
        there =
            addresses::by_unique_id(&mut conn, &merchant.tenant.merchant, &manifest.name, unique_id).await?;
        // A customer's address is a promise that what arrives is seen.
        if there.is_none() && chain::standing(&mut conn, &manifest.name).await?.is_none() {
            let error = InvoicingError::NotStarted { network: manifest.name.clone() };
            return Err(Problem::from(error).field("network"));
        }
    }
    let (wanted, derived_index) = match (&new.address, there) {
        (Some(text), _) => (normalized(&app, &manifest, text).await?, None),
        // Whatever it was made from: it stays this customer's.
        (None, Some(row)) => {
            (Address { text: row.address, key: row.key, more: Vec::new() }, row.derived_index)
        }
        (None, None) if new.ownership.is_some() => {
            let detail = "Give the `address` that `ownership` is about.";
            return Err(Problem::new(Kind::FieldMissing, detail).field("address"));
        }
        (None, None) if new.unique_id.is_some() => derived(&app, &merchant, &manifest).await?,
        (None, None) => {
            let detail = "Give `address` for a shared address, or `unique_id` for a customer's.";
            return Err(Problem::new(Kind::FieldMissing, detail).field("address"));
        }
    };
    let signed = new.ownership.as_ref();
    let proof = match derived_index {
        // The key's proof is its children's.
        Some(_) if signed.is_none() => Proof::NotNeeded,
        _ => ownership::proof(&app, &merchant, &manifest, Subject::Address, &wanted.text, signed).await?,
    };
    let address = wanted.text.clone();
    let now = app.clock.now();
    let shared = new.unique_id.is_none();
    let row = NewAddress {
        id: id::new(IdKind::ReceiveAddress, now),
        merchant_id: merchant.tenant.merchant.clone(),
        network: manifest.name.clone(),
        address: wanted.text,
        key: wanted.key,
        kind: if shared { addresses::Kind::Shared } else { addresses::Kind::Customer },
        unique_id: new.unique_id,
        meta: new.meta,
        derived_index,
        created_at: now,
    };
    let missing = ownership::unproven(&app, &manifest);
    let work = idempotent(&app, merchant.owner(), once, move |conn| {
        Box::pin(get_or_create(conn, row, proof, missing))
    });
    let outcome = Box::pin(work).await;
    if outcome.as_ref().is_err_and(|problem| problem.kind == Kind::AddressTaken) {
        ownership::tell(&app, &merchant, &manifest, Subject::Address, &address).await?;
    }
    outcome
}

async fn get_or_create(
    conn: &mut Conn,
    new: NewAddress,
    proof: Proof,
    missing: Problem,
) -> Result<Reply, Problem> {
    if let Some(row) = same_purpose(conn, &new).await? {
        return there(conn, row, &new, proof).await;
    }
    if proof == Proof::Missing {
        return Err(missing);
    }
    match addresses::create(conn, new.clone()).await {
        Ok(row) => Reply::created(&AddressView::from(proven(conn, row, proof).await?)),
        Err(CreateError::Db(error)) => Err(error.into()),
        // Another request for the same customer was faster, or it is somebody else's.
        Err(CreateError::Taken) => match same_purpose(conn, &new).await? {
            Some(row) => there(conn, row, &new, proof).await,
            None => {
                let detail = "It is watched already: for another purpose, for another merchant, or as one that you \
                              retired (`unretire` gives that out again). Use a fresh one.";
                Err(Problem::new(Kind::AddressTaken, detail).field("address"))
            }
        },
    }
}

async fn same_purpose(conn: &mut Conn, new: &NewAddress) -> Result<Option<ReceiveAddress>, Problem> {
    Ok(match &new.unique_id {
        Some(unique_id) => addresses::by_unique_id(conn, &new.merchant_id, &new.network, unique_id).await?,
        None => addresses::shared_of(conn, &new.merchant_id, &new.network).await?,
    })
}

/// Records the proof with the address.
async fn proven(conn: &mut Conn, row: ReceiveAddress, proof: Proof) -> Result<ReceiveAddress, Problem> {
    let Proof::Given(at) = proof else { return Ok(row) };
    prove_address(conn, &row.id, at).await?;
    Ok(ReceiveAddress { ownership_proven_at: Some(at), ..row })
}

async fn there(
    conn: &mut Conn,
    row: ReceiveAddress,
    new: &NewAddress,
    proof: Proof,
) -> Result<Reply, Problem> {
    if row.address == new.address {
        return Reply::ok(&AddressView::from(proven(conn, row, proof).await?));
    }
    // Two requests for one customer may have derived two children; the first one stays.
    if new.derived_index.is_some() {
        return Reply::ok(&AddressView::from(row));
    }
    let what = if new.unique_id.is_some() { "This unique_id has" } else { "You have" };
    let detail = format!(
        "{what} another address on {} already: retire it first, if this one shall replace it.",
        row.network
    );
    Err(Problem::new(Kind::AddressTaken, detail).field("address").with("id", row.id))
}

/// Kinds of [`normalized`]'s refusals.
const ADDRESS: &[Kind] = &[Kind::AddressMalformed, Kind::AddressChecksum, Kind::AddressWrongNetwork];

/// Normalizes a merchant's text to an address of the network.
async fn normalized(app: &App, network: &Manifest, text: &str) -> Result<Address, Problem> {
    check_text("address", text, ADDRESS_CHARS_MAX)?;
    app.host.normalize_address(network, text.trim()).await?.map_err(|error| {
        let (kind, detail) = match error {
            AddressError::Malformed(why) | AddressError::Other(why) => {
                (Kind::AddressMalformed, format!("{why:.200}."))
            }
            AddressError::Checksum => {
                (Kind::AddressChecksum, "A character was changed or lost: copy it again.".to_owned())
            }
            AddressError::WrongNetwork(which) => {
                (Kind::AddressWrongNetwork, format!("It belongs to {which:.100}, not to {}.", network.name))
            }
        };
        Problem::new(kind, detail).field("address")
    })
}

/// The next child of the merchant's key that nobody uses yet.
async fn derived(
    app: &App,
    merchant: &Merchant,
    network: &Manifest,
) -> Result<(Address, Option<i64>), Problem> {
    let child =
        children::next(app, &merchant.tenant.merchant, network).await.map_err(|error| match error {
            ChildError::Db(error) => error.into(),
            ChildError::Plugin(failed) => failed.into(),
            ChildError::Refused(error) => derive_problem(error),
            ChildError::NoKey => {
                let detail = "Give `address`, or set an extended public key first (PUT /v1/extended_keys).";
                Problem::new(Kind::AddressMissing, detail).field("address")
            }
            ChildError::UsedUp => {
                Problem::new(Kind::Conflict, "The extended public key has no more children: set another one.")
            }
            ChildError::AllInUse => {
                let detail = "Many children of the extended public key are in use; the search goes on.";
                Problem::new(Kind::Busy, detail).retry_after(1)
            }
        })?;
    Ok((Address { text: child.text, key: child.key, more: Vec::new() }, Some(child.index)))
}

/// Kinds of [`derive_problem`]'s refusals.
const DERIVATION: &[Kind] = &[Kind::DerivationUnsupported, Kind::ExtendedKeyMalformed];

fn derive_problem(error: DeriveError) -> Problem {
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

/// List receive addresses
#[utoipa::path(get, path = "/v1/receive_addresses", tag = "receive addresses", params(PageParams),
    responses((status = 200, body = Listed<AddressView>)))]
async fn list(
    merchant: Merchant,
    State(app): State<App>,
    Query(params): Query<PageParams>,
) -> Result<Answer<Listed<AddressView>>, Problem> {
    let page = params.page(IdKind::ReceiveAddress)?;
    let mut conn = app.db.read().await?;
    let rows = addresses::list(&mut conn, &merchant.tenant, page.before.clone(), page.rows).await?;
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
    let id = id.id_text(IdKind::ReceiveAddress, "receive address")?;
    let found = addresses::get(&mut app.db.read().await?, &merchant.tenant, &id).await?;
    Ok(Answer(found.ok_or_else(|| Problem::not_found("receive address"))?.into()))
}
