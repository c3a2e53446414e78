//! Ownership of addresses and extended keys: statements to sign, and the refusals of signed ones.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ADDRESS, ADDRESS_CHARS_MAX, DERIVATION, no_child};
use crate::{
    app::App,
    domain::ownership::{Subject, Unfit},
    flow::{
        addresses::{SetError, first_child, normalized},
        ownership::{self, ProofError, Signed},
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

const STATEMENT_CHARS_MAX: usize = 1_000;
/// Maximum length of a proof: the longest comes from TON, with the code of its wallet.
const PROOF_CHARS_MAX: usize = 16_384;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(state))
}

/// Subject of the proof: an address, or an extended public key.
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
    /// The address whose wallet signs: this one, or the first one that the extended public key derives.
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

impl SignedStatement {
    pub(super) fn checked(self) -> Result<Signed, Problem> {
        for (field, text, chars_max) in [
            ("ownership.statement", &self.statement, STATEMENT_CHARS_MAX),
            ("ownership.proof", &self.proof, PROOF_CHARS_MAX),
        ] {
            if text.chars().count() > chars_max {
                let detail = format!("{field}: it has more than {chars_max} characters.");
                return Err(Problem::new(Kind::FieldMalformed, detail).field(field));
            }
        }
        Ok(Signed { statement: self.statement, proof: self.proof })
    }
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
            (Some(text), None) => {
                check_text("address", text, ADDRESS_CHARS_MAX)?;
                (Subject::Address, normalized(&app, &manifest, text).await?.text)
            }
            (None, Some(key)) => {
                check_text("extended_public_key", key, ADDRESS_CHARS_MAX)?;
                let first = first_child(&app, &manifest, key).await.map_err(of_key)?;
                (Subject::ExtendedKey, first.text)
            }
            _ => {
                let detail = "Give either `address` or `extended_public_key`.";
                return Err(Problem::new(Kind::FieldMissing, detail).field("address"));
            }
        };
        let made = ownership::statement(&app, &merchant.tenant, &manifest, subject, address).await?;
        let ownership::Statement { address, text: statement, expires_at } = made;
        Reply::ok(&Statement { address, statement, expires_at: Time(expires_at) })
    };
    Box::pin(remembered(&app, merchant.owner(), once, work)).await
}

/// The refusal of an extended key, by the name that its field has here.
fn of_key(error: SetError) -> Problem {
    match error {
        SetError::Underivable(error) => no_child(error).field("extended_public_key"),
        error => error.into(),
    }
}

/// Kinds of the refusals of a [`ProofError`].
pub(super) const OWNERSHIP: &[Kind] =
    &[Kind::OwnershipRefused, Kind::OwnershipUnproven, Kind::OwnershipUnsupported];

impl From<ProofError> for Problem {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::Db(error) => error.into(),
            ProofError::Plugin(failed) => failed.into(),
            ProofError::Unsupported(network) => {
                let detail = format!(
                    "The plugin that reads {network} cannot check signatures, so nothing can be proven there. If the \
                     operator demands proofs, only they can change that."
                );
                Self::new(Kind::OwnershipUnsupported, detail).field("network")
            }
            ProofError::Missing => {
                let detail = "The operator demands a proof that it is yours: get a statement with POST \
                              /v1/ownership_statements, have the wallet sign it, and send this again with `ownership`.";
                Self::new(Kind::OwnershipUnproven, detail).field("ownership")
            }
            ProofError::Unfit(why) => unfit(why),
            ProofError::NotProven { error, address } => not_proven(error, &address),
        }
    }
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
