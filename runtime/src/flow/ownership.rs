//! Whose an address or an extended public key is: statements for a wallet to sign, the check of signed ones, and the notice
//! to an owner when another merchant wants the same.

use super::merchants;
use crate::{
    app::App,
    config,
    db::{DbError, events, ownership as rows, ownership::Proof},
    domain::{
        Millis,
        event::{Data, NewEvent, data::ClaimedEvent},
        network::Manifest,
        ownership::{self, Claim, Subject, Unfit},
        tenant::Tenant,
    },
    host::{CallFailed, OwnershipError},
};

/// Name of the key that the statements' codes are made with.
const KEY: &str = "ownership";

/// Why ownership is not proven.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProofError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Plugin(#[from] CallFailed),
    /// The plugin of this network checks no signatures.
    #[error("nothing can be proven on {0}")]
    Unsupported(String),
    /// No proof came, and the operator demands one.
    #[error("a proof is needed")]
    Missing,
    #[error("the statement does not fit: {0:?}")]
    Unfit(Unfit),
    /// The plugin refuses the signature for this address.
    #[error("not proven for {address}: {error:?}")]
    NotProven { error: OwnershipError, address: String },
}

/// A statement as its wallet has signed it.
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) statement: String,
    pub(crate) proof: String,
}

/// A statement for the wallet of this address to sign.
pub(crate) struct Statement {
    pub(crate) address: String,
    pub(crate) text: String,
    pub(crate) expires_at: Millis,
}

/// Makes a statement about an address (of an extended key: about its first one).
pub(crate) async fn statement(
    app: &App,
    tenant: &Tenant,
    network: &Manifest,
    subject: Subject,
    address: String,
) -> Result<Statement, ProofError> {
    can_be_proven(app, network)?;
    let name = merchants::of_key(app, tenant).await?.name;
    let now = app.clock.now();
    let claim = claim(subject, tenant, network, &address);
    let text = ownership::statement(&app.vault.key_for(KEY), &claim, &name, now);
    Ok(Statement { text, expires_at: now + ownership::VALID_MS, address })
}

fn claim<'a>(subject: Subject, tenant: &'a Tenant, network: &'a Manifest, address: &'a str) -> Claim<'a> {
    Claim { subject, merchant_id: &tenant.merchant, network: &network.name, caip2: &network.caip2, address }
}

fn can_be_proven(app: &App, network: &Manifest) -> Result<(), ProofError> {
    if app.host.proves(network) { Ok(()) } else { Err(ProofError::Unsupported(network.name.clone())) }
}

/// Checks a proof of ownership of an address (of an extended key: of its first one), before anything is written.
pub(super) async fn proof(
    app: &App,
    tenant: &Tenant,
    network: &Manifest,
    subject: Subject,
    address: &str,
    signed: Option<&Signed>,
) -> Result<Proof, ProofError> {
    let Some(Signed { statement, proof }) = signed else {
        let demanded = app.config.addresses.ownership == config::Ownership::Required && !network.test;
        return Ok(if demanded { Proof::Missing } else { Proof::NotNeeded });
    };
    let now = app.clock.now();
    can_be_proven(app, network)?;
    let claim = claim(subject, tenant, network, address);
    ownership::check(&app.vault.keys_for(KEY), statement, &claim, now).map_err(ProofError::Unfit)?;
    let verified = app.host.verify_ownership(network, address, statement, proof).await?;
    verified.map_err(|error| ProofError::NotProven { error, address: address.to_owned() })?;
    Ok(Proof::Given(now))
}

/// The refusal of a new address or key without the required proof.
pub(super) fn unproven(app: &App, network: &Manifest) -> ProofError {
    can_be_proven(app, network).err().unwrap_or(ProofError::Missing)
}

/// Tells the owner of this address (of an extended key: of its first one) that another merchant wanted it, at most once
/// a day for each.
pub(crate) async fn tell(
    app: &App,
    by: &Tenant,
    network: &Manifest,
    subject: Subject,
    address: &str,
) -> Result<(), DbError> {
    let (network, address, by) = (network.name.clone(), address.to_owned(), by.clone());
    let now = app.clock.now();
    app.db
        .write::<_, DbError, _>(move |conn| {
            Box::pin(async move {
                let of_key = subject == Subject::ExtendedKey;
                let (mut extended_key_id, mut receive_address_id) = (None, None);
                let owner = if of_key {
                    let claimed = rows::claimed_key(conn, &network, &address, &by.merchant, now).await?;
                    claimed.map(|claimed| (extended_key_id.insert(claimed.id), claimed.merchant_id).1)
                } else {
                    let claimed = rows::claimed_address(conn, &network, &address, &by.merchant, now).await?;
                    claimed.map(|claimed| (receive_address_id.insert(claimed.id), claimed.merchant_id).1)
                };
                let Some(merchant_id) = owner else { return Ok(()) };
                let data = Data::ReceiveAddressClaimedByAnother(Box::new(ClaimedEvent {
                    network,
                    address,
                    receive_address_id,
                    extended_key_id,
                }));
                let told = Tenant { merchant: merchant_id, mode: by.mode };
                let event = NewEvent::now(&told, &data, now);
                events::insert(conn, vec![event]).await
            })
        })
        .await?;
    app.wake.dispatch.notify_one();
    Ok(())
}
