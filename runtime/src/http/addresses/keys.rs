//! Extended public keys, which customers' addresses and invoices' own ones are derived from.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ADDRESS_CHARS_MAX, DERIVATION,
    ownership::{OWNERSHIP, SignedStatement},
};
use crate::{
    app::App,
    db::addresses::ExtendedKey,
    domain::id::ExtendedKeyId,
    flow::addresses,
    http::{
        auth::Merchant,
        input::check_text,
        invoices::{NETWORK, network},
        json::{Answer, Json},
        openapi::routes::{Routes, routes},
        page::Listed,
        problem::{Kind, PLUGIN, Problem},
        time::Time,
    },
};

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(put_key, list_keys))
}

/// A key that customers' addresses are derived from.
#[derive(Debug, Serialize, ToSchema)]
struct ExtendedKeyView {
    id: ExtendedKeyId,
    network: String,
    public_key: String,
    /// Child that the next address is derived from.
    next_index: i64,
    created_at: Time,
    /// When you last proved that it is yours.
    ownership_proven_at: Option<Time>,
}

impl From<ExtendedKey> for ExtendedKeyView {
    fn from(key: ExtendedKey) -> Self {
        Self {
            id: key.id,
            network: key.network,
            public_key: key.public_key,
            next_index: key.next_index,
            created_at: Time(key.created_at),
            ownership_proven_at: key.ownership_proven_at.map(Time),
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewExtendedKey {
    #[schema(example = "base")]
    network: String,
    /// An extended *public* key (`xpub…`). Never send a private one: whoever holds it can spend.
    #[schema(max_length = 200)]
    public_key: String,
    /// Child that its first address is derived from, if the key is new here. A million of its own if it is left out,
    /// so that another installation with the same key does not give out the same addresses. If your wallet looks for
    /// addresses from 0 on, say 0, and use the key for this installation only. It is obeyed: if a restored backup has
    /// forgotten the key, name one past what was given out, or leave it out.
    #[schema(minimum = 0, maximum = 2_147_483_647, example = 0)]
    first_index: Option<u32>,
    /// Proves that the key is yours: a statement of the key, signed by the first address that it derives. Also of one that
    /// was there before. The operator may demand it on live networks.
    ownership: Option<SignedStatement>,
}

/// Set the extended public key of a network
///
/// Addresses that were derived from the key before stay watched. A key that was set before goes on where it was.
#[utoipa::path(put, path = "/v1/extended_keys", tag = "receive addresses", request_body = NewExtendedKey,
    responses((status = 200, body = ExtendedKeyView)),
    extensions(("x-problems" = json!([NETWORK, PLUGIN, DERIVATION, OWNERSHIP, [Kind::AddressTaken]]))))]
async fn put_key(
    merchant: Merchant,
    State(app): State<App>,
    body: Json<NewExtendedKey>,
) -> Result<Answer<ExtendedKeyView>, Problem> {
    let NewExtendedKey { network: name, public_key, first_index, ownership: signed } = body.value;
    if first_index.is_some_and(|index| index > i32::MAX.unsigned_abs()) {
        let detail = "first_index is from 0 to 2147483647.";
        return Err(Problem::new(Kind::FieldMalformed, detail).field("first_index"));
    }
    let manifest = network(&app, &merchant, &name).map_err(|problem| problem.field("network"))?;
    check_text("public_key", &public_key, ADDRESS_CHARS_MAX)?;
    let signed = signed.map(SignedStatement::checked).transpose()?;
    let key = (public_key, first_index);
    let set = addresses::set_key(&app, &merchant.tenant, &manifest, key, signed.as_ref()).await?;
    Ok(Answer(set.into()))
}

/// List extended public keys
#[utoipa::path(get, path = "/v1/extended_keys", tag = "receive addresses",
    responses((status = 200, body = Listed<ExtendedKeyView>)))]
async fn list_keys(
    merchant: Merchant,
    State(app): State<App>,
) -> Result<Answer<Listed<ExtendedKeyView>>, Problem> {
    let keys = addresses::keys(&app, &merchant.tenant).await?;
    Ok(Answer(Listed::all(keys.into_iter().map(Into::into).collect())))
}
