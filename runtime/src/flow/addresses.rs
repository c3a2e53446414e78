//! Receive addresses and the extended public keys that some are derived from, as their merchant sets them.

use std::sync::Arc;

use super::{
    invoicing::{
        InvoicingError,
        children::{self, ChildError},
    },
    ownership::{self, ProofError, Signed},
};
use crate::{
    app::App,
    db::{
        Conn, DbError,
        addresses::{self, CreateError, ExtendedKey, Kind, NewAddress, ReceiveAddress, SetKeyError},
        chain,
        ownership::{Proof, prove_address},
    },
    domain::{id::AddressId, network::Manifest, ownership::Subject, tenant::Tenant, verbatim::Verbatim},
    host::{Address, AddressError, CallFailed, DeriveError},
};

/// Why an address or a key is not set. Texts are for the merchant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Plugin(#[from] CallFailed),
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Nothing of the network was read yet.
    #[error(transparent)]
    NotStarted(InvoicingError),
    #[error("no address of {network}: {error:?}")]
    Malformed { error: AddressError, network: String },
    #[error("the key derives no address: {0:?}")]
    Underivable(DeriveError),
    #[error("Give `address` for a shared address, or `unique_id` for a customer's")]
    NothingSaid,
    #[error("Give the `address` that `ownership` is about")]
    NothingToProve,
    #[error("Give `address`, or set an extended public key first (PUT /v1/extended_keys)")]
    NoKey,
    #[error("The extended public key has no more children: set another one")]
    UsedUp,
    #[error("Many children of the extended public key are in use; the search goes on")]
    AllInUse,
    #[error(
        "It is watched already: for another purpose, for another merchant, or as one that you retired (`unretire` gives \
         that out again). Use a fresh one"
    )]
    Taken,
    #[error("{who} another address on {network} already: retire it first, if this one shall replace it")]
    HasAnother { who: &'static str, network: String, id: AddressId },
    #[error("Another merchant uses this key. Two could not be told apart")]
    KeyTaken,
}

impl From<ChildError> for SetError {
    fn from(error: ChildError) -> Self {
        match error {
            ChildError::Db(error) => error.into(),
            ChildError::Plugin(failed) => failed.into(),
            ChildError::Refused(error) => Self::Underivable(error),
            ChildError::NoKey => Self::NoKey,
            ChildError::UsedUp => Self::UsedUp,
            ChildError::AllInUse => Self::AllInUse,
        }
    }
}

/// What a merchant wants an address to be: shared without a `unique_id`, derived if it is a customer's and not given.
pub(crate) struct Wanted {
    pub(crate) network: Arc<Manifest>,
    pub(crate) address: Option<String>,
    pub(crate) unique_id: Option<String>,
    pub(crate) meta: Option<Verbatim>,
    pub(crate) signed: Option<Signed>,
}

/// An address that may be set: its text is one of the network, and what was handed in as a proof is one.
pub(crate) struct Prepared {
    row: NewAddress,
    proof: Proof,
    /// What is said if it is new and lacks a proof.
    unproven: ProofError,
}

impl Prepared {
    /// The address in normal form.
    pub(crate) fn address(&self) -> &str {
        &self.row.address
    }
}

/// Normalizes or derives a wanted address, and checks its proof, before anything is written.
pub(crate) async fn prepare(app: &App, tenant: &Tenant, wanted: Wanted) -> Result<Prepared, SetError> {
    let Wanted { network, address, unique_id, meta, signed } = wanted;
    let there = match &unique_id {
        Some(unique_id) => of_customer(app, tenant, &network, unique_id).await?,
        None => None,
    };
    let (found, derived_index) = match (&address, there) {
        (Some(text), _) => (normalized(app, &network, text).await?, None),
        // Whatever it was made from: it stays this customer's.
        (None, Some(row)) => {
            (Address { text: row.address, key: row.key, more: Vec::new() }, row.derived_index)
        }
        (None, None) if signed.is_some() => return Err(SetError::NothingToProve),
        (None, None) if unique_id.is_some() => {
            let child = children::next(app, &tenant.merchant, &network).await?;
            (Address { text: child.text, key: child.key, more: Vec::new() }, Some(child.index))
        }
        (None, None) => return Err(SetError::NothingSaid),
    };
    let signed = signed.as_ref();
    let proof = match derived_index {
        // The key's proof is its children's.
        Some(_) if signed.is_none() => Proof::NotNeeded,
        _ => ownership::proof(app, tenant, &network, Subject::Address, &found.text, signed).await?,
    };
    let now = app.clock.now();
    let row = NewAddress {
        id: AddressId::new(now),
        merchant_id: tenant.merchant.clone(),
        network: network.name.clone(),
        address: found.text,
        key: found.key,
        kind: if unique_id.is_none() { Kind::Shared } else { Kind::Customer },
        unique_id,
        meta,
        derived_index,
        created_at: now,
    };
    Ok(Prepared { row, proof, unproven: ownership::unproven(app, &network) })
}

/// A customer's address, if it has one. Errors if it has none on a network that was not read yet: an address is a promise
/// that what arrives is seen.
async fn of_customer(
    app: &App,
    tenant: &Tenant,
    network: &Manifest,
    unique_id: &str,
) -> Result<Option<ReceiveAddress>, SetError> {
    let mut conn = app.db.read().await?;
    let there = addresses::by_unique_id(&mut conn, &tenant.merchant, &network.name, unique_id).await?;
    if there.is_none() && chain::standing(&mut conn, &network.name).await?.is_none() {
        return Err(SetError::NotStarted(InvoicingError::NotStarted { network: network.name.clone() }));
    }
    Ok(there)
}

/// Normalizes a merchant's text to an address of the network.
pub(crate) async fn normalized(app: &App, network: &Manifest, text: &str) -> Result<Address, SetError> {
    let normal = app.host.normalize_address(network, text.trim()).await?;
    normal.map_err(|error| SetError::Malformed { error, network: network.name.clone() })
}

/// The first address that an extended public key derives, which shows whether it is one.
pub(crate) async fn first_child(app: &App, network: &Manifest, key: &str) -> Result<Address, SetError> {
    app.host.derive_address(network, key, 0).await?.map_err(SetError::Underivable)
}

/// Makes an address, or finds the one that has its purpose. Returns true with one that was made.
pub(crate) async fn get_or_create(
    conn: &mut Conn,
    new: Prepared,
) -> Result<(ReceiveAddress, bool), SetError> {
    let Prepared { row: new, proof, unproven } = new;
    if let Some(row) = same_purpose(conn, &new).await? {
        return Ok((there(conn, row, &new, proof).await?, false));
    }
    if proof == Proof::Missing {
        return Err(unproven.into());
    }
    match addresses::create(conn, new.clone()).await {
        Ok(row) => Ok((proven(conn, row, proof).await?, true)),
        Err(CreateError::Db(error)) => Err(error.into()),
        // Another request for the same customer was faster, or it is somebody else's.
        Err(CreateError::Taken) => match same_purpose(conn, &new).await? {
            Some(row) => Ok((there(conn, row, &new, proof).await?, false)),
            None => Err(SetError::Taken),
        },
    }
}

async fn same_purpose(conn: &mut Conn, new: &NewAddress) -> Result<Option<ReceiveAddress>, DbError> {
    match &new.unique_id {
        Some(unique_id) => addresses::by_unique_id(conn, &new.merchant_id, &new.network, unique_id).await,
        None => addresses::shared_of(conn, &new.merchant_id, &new.network).await,
    }
}

/// Records the proof with the address.
async fn proven(conn: &mut Conn, row: ReceiveAddress, proof: Proof) -> Result<ReceiveAddress, DbError> {
    let Proof::Given(at) = proof else { return Ok(row) };
    prove_address(conn, &row.id, at).await?;
    Ok(ReceiveAddress { ownership_proven_at: Some(at), ..row })
}

async fn there(
    conn: &mut Conn,
    row: ReceiveAddress,
    new: &NewAddress,
    proof: Proof,
) -> Result<ReceiveAddress, SetError> {
    if row.address == new.address {
        return Ok(proven(conn, row, proof).await?);
    }
    // Two requests for one customer may have derived two children; the first one stays.
    if new.derived_index.is_some() {
        return Ok(row);
    }
    let who = if new.unique_id.is_some() { "This unique_id has" } else { "You have" };
    Err(SetError::HasAnother { who, network: row.network, id: row.id })
}

/// Sets the key that a merchant's addresses on a network are derived from. A new one begins at `first_index`, or else at
/// a place of its own.
pub(crate) async fn set_key(
    app: &App,
    tenant: &Tenant,
    network: &Manifest,
    (public_key, first_index): (String, Option<u32>),
    signed: Option<&Signed>,
) -> Result<ExtendedKey, SetError> {
    let (subject, first) = (Subject::ExtendedKey, first_child(app, network, &public_key).await?.text);
    let proof = ownership::proof(app, tenant, network, subject, &first, signed).await?;
    let owner = tenant.merchant.clone();
    let set = children::set_key(app, owner, network, public_key, first.clone(), first_index, proof).await;
    match set {
        Ok(key) => Ok(key),
        Err(SetKeyError::Db(error)) => Err(error.into()),
        Err(SetKeyError::Unproven) => Err(ownership::unproven(app, network).into()),
        Err(SetKeyError::Taken) => {
            ownership::tell(app, tenant, network, subject, &first).await?;
            Err(SetError::KeyTaken)
        }
    }
}

/// All extended public keys of the merchant.
pub(crate) async fn keys(app: &App, tenant: &Tenant) -> Result<Vec<ExtendedKey>, DbError> {
    addresses::extended_keys(&mut app.db.read().await?, tenant).await
}
