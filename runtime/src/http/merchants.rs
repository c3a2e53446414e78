//! Merchants, for the operator; and `me`, for a merchant.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::App,
    db::merchants::Merchant as Row,
    domain::{
        id::{ApiKeyId, MerchantId},
        policy::Policy,
        tenant::Tenant,
    },
    flow::merchants,
    http::{
        auth::{Merchant, Operator},
        idempotent::{Reply, idempotent},
        input::{PathParam, Query, check_text},
        json::{Answer, Json},
        openapi::routes::{Routes, routes},
        page::{Listed, PageParams},
        problem::{Kind, Problem},
        time::Time,
    },
};

const NAME_CHARS_MAX: usize = 100;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(create, list)).routes(routes!(get, update)).routes(routes!(me))
}

/// A tenant of this installation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MerchantView {
    #[schema(example = "mer_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    id: MerchantId,
    name: String,
    policy: Policy,
    /// Whether its endpoints and hooks get the operator's events: `network.stalled`, `network.resumed`, `network.frozen`,
    /// `transfer.disputed`, `network.second_provider_missing`,
    /// `work.set_aside`, `database.unwritable`.
    operator_events: bool,
    created_at: Time,
    /// Since when its keys open nothing. Its payments are still credited.
    disabled_at: Option<Time>,
}

impl From<Row> for MerchantView {
    fn from(merchant: Row) -> Self {
        Self {
            id: merchant.id,
            name: merchant.name,
            policy: merchant.policy,
            operator_events: merchant.operator_events,
            created_at: Time(merchant.created_at),
            disabled_at: merchant.disabled_at.map(Time),
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewMerchant {
    #[schema(example = "Corner shop", max_length = 100)]
    name: String,
    #[serde(default)]
    policy: Policy,
    #[serde(default)]
    operator_events: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MerchantChange {
    name: Option<String>,
    /// Replaces the whole policy: what is left out gets its default. Invoices made before keep theirs.
    policy: Option<Policy>,
    disabled: Option<bool>,
    operator_events: Option<bool>,
}

fn check_policy(policy: &Policy) -> Result<(), Problem> {
    policy.check().map_err(|why| Problem::new(Kind::FieldMalformed, format!("{why}.")).field("policy"))
}

/// Create a merchant
#[utoipa::path(post, path = "/v1/operator/merchants", tag = "operator: merchants",
    request_body = NewMerchant, responses((status = 201, body = MerchantView)))]
async fn create(_: Operator, State(app): State<App>, body: Json<NewMerchant>) -> Result<Reply, Problem> {
    let NewMerchant { name, policy, operator_events } = body.value;
    check_text("name", &name, NAME_CHARS_MAX)?;
    check_policy(&policy)?;
    let new = merchants::NewMerchant { name, policy, operator_events };
    let now = app.clock.now();
    idempotent(
        &app,
        Operator::OWNER.to_owned(),
        body.once,
        move |conn| Box::pin(merchants::create(conn, new, now)),
        |merchant| Reply::created(&MerchantView::from(merchant)),
    )
    .await
}

/// List merchants
#[utoipa::path(get, path = "/v1/operator/merchants", tag = "operator: merchants",
    params(PageParams), responses((status = 200, body = Listed<MerchantView>)))]
async fn list(
    _: Operator,
    State(app): State<App>,
    Query(params): Query<PageParams>,
) -> Result<Answer<Listed<MerchantView>>, Problem> {
    let page = params.page::<MerchantId>()?;
    let rows = merchants::list(&app, page.span()).await?;
    Ok(Answer(page.cut(rows, |row| &row.id, Into::into)))
}

/// Get a merchant
#[utoipa::path(get, path = "/v1/operator/merchants/{id}", tag = "operator: merchants",
    params(("id" = String, Path)), responses((status = 200, body = MerchantView)))]
async fn get(_: Operator, State(app): State<App>, id: PathParam) -> Result<Answer<MerchantView>, Problem> {
    let id = id.id("merchant")?;
    Ok(Answer(merchants::get(&app, &id).await?.into()))
}

/// Change a merchant
///
/// A disabled merchant's keys open nothing; transfers to its addresses are still read and credited.
#[utoipa::path(patch, path = "/v1/operator/merchants/{id}", tag = "operator: merchants",
    params(("id" = String, Path)), request_body = MerchantChange, responses((status = 200, body = MerchantView)))]
async fn update(
    _: Operator,
    State(app): State<App>,
    id: PathParam,
    body: Json<MerchantChange>,
) -> Result<Answer<MerchantView>, Problem> {
    let id = id.id("merchant")?;
    let MerchantChange { name, policy, disabled, operator_events } = body.value;
    name.as_deref().map_or(Ok(()), |name| check_text("name", name, NAME_CHARS_MAX))?;
    policy.as_ref().map_or(Ok(()), check_policy)?;
    let change = merchants::MerchantChange { name, policy, disabled, operator_events };
    Ok(Answer(merchants::update(&app, id, change).await?.into()))
}

/// Whose key this is.
#[derive(Debug, Serialize, ToSchema)]
struct Me {
    merchant_id: MerchantId,
    name: String,
    /// Whether the key is a test key.
    test: bool,
    key_id: ApiKeyId,
    policy: Policy,
}

/// Who am I?
#[utoipa::path(get, path = "/v1/me", tag = "account", responses((status = 200, body = Me)))]
async fn me(merchant: Merchant, State(app): State<App>) -> Result<Answer<Me>, Problem> {
    let row = merchants::of_key(&app, &merchant.tenant).await?;
    let Merchant { tenant: Tenant { merchant: merchant_id, mode }, key_id, .. } = merchant;
    Ok(Answer(Me { merchant_id, name: row.name, test: mode.is_test(), key_id, policy: row.policy }))
}
