//! Ownership of addresses and extended keys: statements to sign, the check of signed ones, and the notice to an owner
//! when another merchant wants the same address.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ADDRESS, ADDRESS_CHARS_MAX, DERIVATION, derive_problem, normalized};
use crate::{
    app::App,
    config,
    db::{
        DbError, events, merchants, ownership as rows,
        ownership::{Claimed, Proof},
    },
    domain::{
        event::{Data, NewEvent, data::ClaimedEvent},
        network::Manifest,
        ownership::{self, Claim, Subject, Unfit},
        tenant::Tenant,
    },
    host::{OwnershipError, one_line},
    http::{
        auth::Merchant,
        idempotent::{Reply, remembered},
        input::check_text,
        invoices::{NETWORK, network},
        json::Json,
        openapi::routes::{Routes, routes},
        problem::{Kind, PLUGIN, Problem},
        time::Time,
    },
};

/// Name of the key that the statements' codes are made with.
const KEY: &str = "ownership";
const STATEMENT_CHARS_MAX: usize = 1_000;
/// Maximum length of a proof: the longest comes from TON, with the code of its wallet.
const PROOF_CHARS_MAX: usize = 16_384;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(state))
}

/// What shall be proven: an address, or an extended public key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WantedStatement {
    #[schema(example = "base")]
    network: String,
    #[schema(max_length = 200)]
    address: Option<String>,
    #[schema(max_length = 200)]
    extended_public_key: Option<String>,
}

/// A text for the wallet to sign.
#[derive(Debug, Serialize, ToSchema)]
struct Statement {
    /// Whose wallet signs: the address, or the first one that the extended public key derives.
    address: String,
    /// To the last character. Where a wallet signs short texts alone (`ton_proof`), its SHA-256 in hexadecimal digits is
    /// signed instead.
    statement: String,
    expires_at: Time,
}

/// A statement of `POST /v1/ownership_statements`, signed.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignedStatement {
    #[schema(max_length = 1_000)]
    statement: String,
    /// As the wallet gives it. EVM: the signature of `personal_sign`; TRON: of `signMessageV2`; both as `0x…` of 65 bytes.
    /// TON: the JSON of a `ton_proof` (`timestamp`, `domain`, `payload`, `signature`) with the wallet's `state_init`.
    #[schema(max_length = 16_384)]
    proof: String,
}

/// Get a statement to sign
///
/// It proves to this server, for an hour, that an address or an extended public key is yours: have the wallet sign it, and
/// hand it in as `ownership` where the address or the key is set. It allows nobody to spend.
#[utoipa::path(post, path = "/v1/ownership_statements", tag = "receive addresses", request_body = WantedStatement,
    responses((status = 200, body = Statement)),
    extensions(("x-problems" = json!([NETWORK, PLUGIN, ADDRESS, DERIVATION, [Kind::OwnershipUnsupported]]))))]
async fn state(
    merchant: Merchant,
    State(app): State<App>,
    body: Json<WantedStatement>,
) -> Result<Reply, Problem> {
    let Json { value: wanted, once } = body;
    let manifest = network(&app, &merchant, &wanted.network).map_err(|problem| problem.field("network"))?;
    let work = async {
        let (subject, address) = match (&wanted.address, &wanted.extended_public_key) {
            (Some(text), None) => (Subject::Address, normalized(&app, &manifest, text).await?.text),
            (None, Some(key)) => {
                check_text("extended_public_key", key, ADDRESS_CHARS_MAX)?;
                let first = app.host.derive_address(&manifest, key, 0).await?;
                let first = first.map_err(|error| derive_problem(error).field("extended_public_key"))?;
                (Subject::ExtendedKey, first.text)
            }
            _ => {
                let detail = "Give either `address` or `extended_public_key`.";
                return Err(Problem::new(Kind::FieldMissing, detail).field("address"));
            }
        };
        can_be_proven(&app, &manifest)?;
        let row = merchants::get(&mut app.db.read().await?, &merchant.tenant.merchant).await?;
        let name = row.ok_or_else(|| Problem::internal("a key without its merchant"))?.name;
        let now = app.clock.now();
        let claim = claim(subject, &merchant, &manifest, &address);
        let statement = ownership::statement(&app.vault.key_for(KEY), &claim, &name, now);
        Reply::ok(&Statement { statement, expires_at: Time(now + ownership::VALID_MS), address })
    };
    Box::pin(remembered(&app, merchant.owner(), once, work)).await
}

fn claim<'a>(subject: Subject, merchant: &'a Merchant, network: &'a Manifest, address: &'a str) -> Claim<'a> {
    Claim {
        subject,
        merchant_id: &merchant.tenant.merchant,
        network: &network.name,
        caip2: &network.caip2,
        address,
    }
}

fn can_be_proven(app: &App, network: &Manifest) -> Result<(), Problem> {
    if app.host.proves(network) {
        return Ok(());
    }
    let detail = format!(
        "The plugin that reads {} cannot check signatures, so nothing can be proven there. If the operator demands \
         proofs, only they can change that.",
        network.name
    );
    Err(Problem::new(Kind::OwnershipUnsupported, detail).field("network"))
}

/// Kinds of [`proof`]'s and [`unproven`]'s refusals.
pub(super) const OWNERSHIP: &[Kind] =
    &[Kind::OwnershipRefused, Kind::OwnershipUnproven, Kind::OwnershipUnsupported];

/// Checks a proof of ownership of an address (of an extended key: of its first one), before anything is written.
pub(super) async fn proof(
    app: &App,
    merchant: &Merchant,
    network: &Manifest,
    subject: Subject,
    address: &str,
    signed: Option<&SignedStatement>,
) -> Result<Proof, Problem> {
    let Some(signed) = signed else {
        let demanded = app.config.addresses.ownership == config::Ownership::Required && !network.test;
        return Ok(if demanded { Proof::Missing } else { Proof::NotNeeded });
    };
    let now = app.clock.now();
    for (field, text, chars_max) in [
        ("ownership.statement", &signed.statement, STATEMENT_CHARS_MAX),
        ("ownership.proof", &signed.proof, PROOF_CHARS_MAX),
    ] {
        if text.chars().count() > chars_max {
            let detail = format!("{field}: it has more than {chars_max} characters.");
            return Err(Problem::new(Kind::FieldMalformed, detail).field(field));
        }
    }
    can_be_proven(app, network)?;
    let claim = claim(subject, merchant, network, address);
    ownership::check(&app.vault.keys_for(KEY), &signed.statement, &claim, now).map_err(unfit)?;
    let verified = app.host.verify_ownership(network, address, &signed.statement, &signed.proof).await?;
    verified.map_err(|error| not_proven(error, address))?;
    Ok(Proof::Given(now))
}

fn unfit(unfit: Unfit) -> Problem {
    let (reason, detail) = match unfit {
        Unfit::NotOurs => (
            "not_a_statement",
            "This server has not made this statement, or it was changed: hand it in to the last character.",
        ),
        Unfit::AnotherMerchant => ("another_merchant", "The statement is of another merchant."),
        Unfit::AnotherNetwork => ("another_network", "The statement is of another network."),
        Unfit::AnotherAddress => {
            ("another_address", "The statement is of another address or extended public key.")
        }
        Unfit::Expired => ("expired", "The statement is more than an hour old."),
    };
    let detail = format!("{detail} Get one with POST /v1/ownership_statements.");
    refused(reason, detail, "ownership.statement")
}

fn not_proven(error: OwnershipError, address: &str) -> Problem {
    let (reason, detail) = match error {
        OwnershipError::Malformed(why) => {
            ("malformed_proof", format!("It cannot be read: {}.", one_line(&why, 300)))
        }
        OwnershipError::NotSigned => {
            ("signature", format!("Not the key of {address} has signed, or not this statement."))
        }
        OwnershipError::UnknownWallet(why) => ("unknown_wallet", format!("{}.", one_line(&why, 300))),
        OwnershipError::Other(why) => ("not_proven", format!("{}.", one_line(&why, 300))),
    };
    refused(reason, detail, "ownership.proof")
}

fn refused(reason: &str, detail: String, field: &str) -> Problem {
    Problem::new(Kind::OwnershipRefused, detail).field(field).with("reason", reason)
}

/// The refusal of a new address or key without the required proof.
pub(super) fn unproven(app: &App, network: &Manifest) -> Problem {
    if let Err(problem) = can_be_proven(app, network) {
        return problem;
    }
    let detail = "The operator demands a proof that it is yours: get a statement with POST /v1/ownership_statements, have \
                  the wallet sign it, and send this again with `ownership`.";
    Problem::new(Kind::OwnershipUnproven, detail).field("ownership")
}

/// Tells the owner of this address (of an extended key: of its first one) that another merchant wanted it, at most once
/// a day for each.
pub(super) async fn tell(
    app: &App,
    by: &Merchant,
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
                let claimed = if of_key {
                    rows::claimed_key(conn, &network, &address, &by.tenant.merchant, now).await?
                } else {
                    rows::claimed_address(conn, &network, &address, &by.tenant.merchant, now).await?
                };
                let Some(Claimed { id, merchant_id }) = claimed else { return Ok(()) };
                let (extended_key_id, receive_address_id) =
                    if of_key { (Some(id), None) } else { (None, Some(id)) };
                let data = Data::ReceiveAddressClaimedByAnother(Box::new(ClaimedEvent {
                    network,
                    address,
                    receive_address_id,
                    extended_key_id,
                }));
                let told = Tenant { merchant: merchant_id, mode: by.tenant.mode };
                let event = NewEvent::now(&told, &data, now);
                events::insert(conn, vec![event]).await
            })
        })
        .await?;
    app.wake.dispatch.notify_one();
    Ok(())
}
