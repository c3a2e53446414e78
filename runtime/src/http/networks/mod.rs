//! Networks: what merchants can be paid on, and what the operator watches.

mod upstreams;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::App,
    db::{chain::Cursor, networks::PutError},
    domain::{
        credit::{Credit, Tier},
        network::{Explorer, Manifest},
    },
    flow::networks::{self, NetworkError, NetworkInfo},
    http::{
        auth::{Merchant, Operator},
        idempotent::{Reply, idempotent},
        input::PathParam,
        json::{Answer, Json, NoBody},
        openapi::routes::{Routes, routes},
        page::Listed,
        problem::{Kind, Problem, sentence},
        time::Time,
    },
    upstreams::Access,
};

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(offered))
        .routes(routes!(list))
        .routes(routes!(get, put))
        .routes(routes!(enable))
        .routes(routes!(disable))
        .routes(routes!(unfreeze))
        .merge(upstreams::routes())
}

/// A network that this key can be paid on.
#[derive(Debug, Serialize, ToSchema)]
struct OfferedNetwork {
    #[schema(example = "base")]
    name: String,
    title: String,
    #[schema(example = "eip155:8453")]
    caip2: String,
    test: bool,
    /// Depth at which a transfer of an asset without tiers of its own is credited: a number of confirmations, `safe` or
    /// `final`.
    credit: Credit,
    explorer: Option<Explorer>,
    assets: Vec<OfferedAsset>,
}

#[derive(Debug, Serialize, ToSchema)]
struct OfferedAsset {
    #[schema(example = "base:0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913")]
    id: String,
    #[schema(example = "USDC")]
    symbol: String,
    name: String,
    /// None: the network's native coin.
    contract: Option<String>,
    decimals: u8,
    /// The currency that it is worth one to one.
    peg: Option<String>,
    /// Depth at which a transfer is credited, by its amount. None: as the network says.
    credit: Option<Vec<Tier>>,
    /// A note for payers beside the amount and the address.
    payer_note: Option<&'static str>,
}

/// Instruction for native coin where transfers from contracts are not seen.
const FROM_A_WALLET: &str = "Pay from an ordinary wallet. What a contract sends (a smart wallet, a Safe, some exchanges) \
    is noticed late, and credited by hand.";

impl OfferedNetwork {
    /// `compared`: true if native coin may arrive unseen and balances are compared.
    fn new(manifest: &Manifest, compared: bool) -> Self {
        let assets = manifest.assets.iter().map(|asset| OfferedAsset {
            id: asset.id(&manifest.name),
            symbol: asset.symbol.clone(),
            name: asset.name.clone(),
            contract: asset.contract.clone(),
            decimals: asset.decimals,
            peg: asset.peg.clone(),
            credit: asset.credit.clone(),
            payer_note: (compared && asset.contract.is_none()).then_some(FROM_A_WALLET),
        });
        Self {
            name: manifest.name.clone(),
            title: manifest.title.clone(),
            caip2: manifest.caip2.clone(),
            test: manifest.test,
            credit: manifest.credit,
            explorer: manifest.explorer.clone(),
            assets: assets.collect(),
        }
    }
}

/// List networks
///
/// Those that this key can be paid on: test networks for a test key, the others for a live key.
#[utoipa::path(get, path = "/v1/networks", tag = "networks", responses((status = 200, body = Listed<OfferedNetwork>)))]
async fn offered(merchant: Merchant, State(app): State<App>) -> Answer<Listed<OfferedNetwork>> {
    let mut offered = Vec::new();
    for network in app.networks.all().into_iter().filter(|network| network.mode() == merchant.tenant.mode) {
        // A plugin that breaks is seen where its chain is read.
        let compared = app.host.compares(&network).await.unwrap_or(false);
        offered.push(OfferedNetwork::new(&network, compared));
    }
    Answer(Listed::all(offered))
}

/// A network, as its operator sees it.
#[derive(Debug, Serialize, ToSchema)]
struct NetworkView {
    manifest: Manifest,
    /// True if it is read, and offered to merchants.
    enabled: bool,
    created_at: Time,
    /// Time of the last good answer of a provider, also of one without news. None: none has answered, or it is not
    /// asked.
    heard_at: Option<Time>,
    /// Since when no provider gives a good answer, if that is too long: what is paid meanwhile is seen late, and `state` is
    /// of then. A provider that answers, but shows no newer block, is no reason; see `state.moved_at`.
    stalled_since: Option<Time>,
    /// None: nothing was read yet.
    state: Option<NetworkState>,
}

/// Progress of the reading of a network.
#[derive(Debug, Serialize, ToSchema)]
struct NetworkState {
    /// The last block that was read completely.
    height: i64,
    hash: String,
    /// The chain's newest block when it was last asked.
    head: i64,
    /// Blocks between the two.
    lag: i64,
    safe: Option<i64>,
    r#final: i64,
    moved_at: Time,
    /// Why nothing moves any more: a reorg reached below what was final. See `unfreeze`.
    frozen: Option<String>,
}

impl From<Cursor> for NetworkState {
    fn from(cursor: Cursor) -> Self {
        Self {
            height: cursor.height,
            hash: cursor.hash,
            head: cursor.head,
            lag: cursor.head.saturating_sub(cursor.height).max(0),
            safe: cursor.safe,
            r#final: cursor.r#final,
            moved_at: Time(cursor.moved_at),
            frozen: cursor.frozen,
        }
    }
}

/// Times of the last good answer of a network's providers, and of the start of its stall.
pub(super) fn heard(app: &App, network: &Manifest) -> (Option<Time>, Option<Time>) {
    let Some(age) = app.health.age(network) else { return (None, None) };
    let at = Time(app.clock.now().saturating_sub(age.ms));
    (age.ever.then_some(at), age.stalled.then_some(at))
}

fn view(app: &App, NetworkInfo { network, cursor }: NetworkInfo) -> NetworkView {
    let (heard_at, stalled_since) =
        if network.enabled { heard(app, &network.manifest) } else { (None, None) };
    NetworkView {
        manifest: network.manifest,
        enabled: network.enabled,
        created_at: Time(network.created_at),
        heard_at,
        stalled_since,
        state: cursor.map(Into::into),
    }
}

pub(super) fn missing() -> Problem {
    Problem::new(Kind::NotFound, "There is no network with this name.")
}

/// List all networks
#[utoipa::path(get, path = "/v1/operator/networks", tag = "operator: networks",
    responses((status = 200, body = Listed<NetworkView>)))]
async fn list(_: Operator, State(app): State<App>) -> Result<Answer<Listed<NetworkView>>, Problem> {
    let networks = networks::list(&app).await?;
    Ok(Answer(Listed::all(networks.into_iter().map(|network| view(&app, network)).collect())))
}

/// Get a network
#[utoipa::path(get, path = "/v1/operator/networks/{name}", tag = "operator: networks",
    params(("name" = String, Path)), responses((status = 200, body = NetworkView)))]
async fn get(_: Operator, State(app): State<App>, name: PathParam) -> Result<Answer<NetworkView>, Problem> {
    let name = name.name("network")?;
    Ok(Answer(view(&app, networks::get(&app, &name).await?)))
}

/// Create or change a network
///
/// By its whole manifest. A new network is enabled; upstreams in the manifest are added when it is made, and left
/// alone later. What amounts and addresses rest on (chain, mode, decimals of an asset) is fixed once it is in use.
#[utoipa::path(put, path = "/v1/operator/networks/{name}", tag = "operator: networks",
    params(("name" = String, Path)), request_body = Manifest, responses((status = 200, body = NetworkView)),
    extensions(("x-problems" = json!([[Kind::ManifestRefused, Kind::UrlRefused, Kind::Conflict]]))))]
async fn put(
    _: Operator,
    State(app): State<App>,
    name: PathParam,
    body: Json<Manifest>,
) -> Result<Answer<NetworkView>, Problem> {
    let name = name.name("network")?;
    let manifest = body.value;
    if manifest.name != name {
        let detail = "name: it differs from the name in the address.";
        return Err(Problem::new(Kind::FieldMalformed, detail).field("name"));
    }
    manifest.check().map_err(|why| Problem::new(Kind::ManifestRefused, format!("{why}.")))?;
    for upstream in &manifest.upstreams {
        upstreams::check(&Access::of_url(&upstream.url))?;
    }
    Ok(Answer(view(&app, networks::put(&app, manifest).await?)))
}

impl From<PutError> for Problem {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Db(error) => error.into(),
            PutError::Fixed(why) => Self::new(Kind::Conflict, format!("{why}.")),
        }
    }
}

impl From<NetworkError> for Problem {
    fn from(error: NetworkError) -> Self {
        let text = sentence(&error);
        match error {
            NetworkError::Db(error) => error.into(),
            NetworkError::Put(error) => error.into(),
            NetworkError::Vault(error) => Self::internal(error),
            NetworkError::Missing => missing(),
            NetworkError::NoUpstream => Self::not_found("upstream"),
            NetworkError::NotFrozen => Self::new(Kind::Conflict, text),
            NetworkError::FrozenOtherwise => Self::new(Kind::Conflict, text).field("frozen"),
        }
    }
}

/// Enable a network
///
/// Also one whose plugin was set aside, since it had ended the process three times: it is called again.
#[utoipa::path(post, path = "/v1/operator/networks/{name}/enable", tag = "operator: networks",
    params(("name" = String, Path)), responses((status = 200, body = NetworkView)))]
async fn enable(
    _: Operator,
    State(app): State<App>,
    name: PathParam,
    body: NoBody,
) -> Result<Reply, Problem> {
    set_enabled(&app, name, body, true).await
}

/// Disable a network
///
/// It is no longer read nor offered. What was paid meanwhile is read when it is enabled again.
#[utoipa::path(post, path = "/v1/operator/networks/{name}/disable", tag = "operator: networks",
    params(("name" = String, Path)), responses((status = 200, body = NetworkView)))]
async fn disable(
    _: Operator,
    State(app): State<App>,
    name: PathParam,
    body: NoBody,
) -> Result<Reply, Problem> {
    set_enabled(&app, name, body, false).await
}

async fn set_enabled(app: &App, name: PathParam, body: NoBody, enabled: bool) -> Result<Reply, Problem> {
    let (name, inside) = (name.name("network")?, app.clone());
    let change = idempotent(
        app,
        Operator::OWNER.to_owned(),
        body.once,
        move |conn| Box::pin(async move { networks::set_enabled(conn, &name, enabled).await }),
        move |network| Reply::ok(&view(&inside, network)),
    );
    let reply = change.await;
    networks::reload(app).await?;
    reply
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Unfreeze {
    /// The text of `state.frozen`, word for word: a sign that you have read it.
    frozen: String,
}

/// Let a frozen network go on
///
/// A reorg below what the chain had called final stops a network, and nothing is reversed by itself. This goes on
/// with the chain as it is now; what was credited below the final block stays credited.
#[utoipa::path(post, path = "/v1/operator/networks/{name}/unfreeze", tag = "operator: networks",
    params(("name" = String, Path)), request_body = Unfreeze, responses((status = 200, body = NetworkView)),
    extensions(("x-problems" = json!([[Kind::Conflict]]))))]
async fn unfreeze(
    _: Operator,
    State(app): State<App>,
    name: PathParam,
    body: Json<Unfreeze>,
) -> Result<Reply, Problem> {
    let name = name.name("network")?;
    let Json { value: Unfreeze { frozen }, once } = body;
    let inside = app.clone();
    let unfreeze = idempotent(
        &app,
        Operator::OWNER.to_owned(),
        once,
        move |conn| Box::pin(async move { networks::unfreeze(conn, &name, &frozen).await }),
        move |network| Reply::ok(&view(&inside, network)),
    );
    let reply = unfreeze.await;
    app.wake.observe.notify_waiters();
    reply
}
