//! Networks and their upstreams, as the operator makes and changes them.

use std::sync::Arc;

use crate::{
    app::App,
    db::{
        Conn, DbError,
        chain::{self, Cursor},
        first_calls,
        networks::{self, Network, PutError, Upstream},
    },
    domain::{Millis, id::UpstreamId, network::Manifest},
    upstreams::{Access, Terms, UpstreamStatus},
    vault::{Vault, VaultError},
};

/// Why something that the operator wants of a network is refused. Texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Put(#[from] PutError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("There is no network with this name")]
    Missing,
    #[error("There is no such upstream")]
    NoUpstream,
    #[error("The network is not frozen")]
    NotFrozen,
    #[error("frozen: the network is frozen for another reason; read it again")]
    FrozenOtherwise,
}

/// A network, and how far it was read, if it was.
pub(crate) struct NetworkInfo {
    pub(crate) network: Network,
    pub(crate) cursor: Option<Cursor>,
}

impl NetworkInfo {
    async fn read(conn: &mut Conn, network: Network) -> Result<Self, DbError> {
        Ok(Self { cursor: chain::cursor(conn, &network.manifest.name).await?, network })
    }
}

async fn info(conn: &mut Conn, name: &str) -> Result<NetworkInfo, NetworkError> {
    let network = networks::get(conn, name).await?.ok_or(NetworkError::Missing)?;
    Ok(NetworkInfo::read(conn, network).await?)
}

pub(crate) async fn list(app: &App) -> Result<Vec<NetworkInfo>, DbError> {
    let mut conn = app.db.read().await?;
    let mut infos = Vec::new();
    for network in networks::list(&mut conn).await? {
        infos.push(NetworkInfo::read(&mut conn, network).await?);
    }
    Ok(infos)
}

pub(crate) async fn get(app: &App, name: &str) -> Result<NetworkInfo, NetworkError> {
    info(&mut app.db.read().await?, name).await
}

/// Each enabled network, and how far it was read.
pub(crate) async fn enabled(app: &App) -> Result<Vec<(Arc<Manifest>, Option<Cursor>)>, DbError> {
    let mut conn = app.db.read().await?;
    let mut all = Vec::new();
    for network in app.networks.all() {
        let cursor = chain::cursor(&mut conn, &network.name).await?;
        all.push((network, cursor));
    }
    Ok(all)
}

/// Makes a network, with the upstreams of its manifest, or changes it.
pub(crate) async fn put(app: &App, manifest: Manifest) -> Result<NetworkInfo, NetworkError> {
    let (now, vault) = (app.clock.now(), Arc::clone(&app.vault));
    let put = app.db.write::<_, NetworkError, _>(move |conn| {
        Box::pin(async move {
            if networks::put(conn, &manifest, now).await? {
                for (position, upstream) in (0_i64..).zip(&manifest.upstreams) {
                    let (access, limits) = (Access::of_url(&upstream.url), (upstream.into(), position));
                    add_upstream(conn, &vault, &manifest.name, access, limits, now).await?;
                }
            }
            info(conn, &manifest.name).await
        })
    });
    let info = put.await?;
    reload(app).await?;
    Ok(info)
}

/// Applies changes in this process at once; other replicas follow within seconds.
pub(crate) async fn reload(app: &App) -> Result<(), DbError> {
    app.networks.reload().await?;
    app.reload_upstreams().await?;
    app.wake.observe.notify_waiters();
    Ok(())
}

/// Enables or disables a network. The plugin of one that is enabled is called again, even if it was set aside.
pub(crate) async fn set_enabled(
    conn: &mut Conn,
    name: &str,
    enabled: bool,
) -> Result<NetworkInfo, NetworkError> {
    if !networks::set_enabled(conn, name, enabled).await? {
        return Err(NetworkError::Missing);
    }
    if enabled {
        first_calls::forget(conn, name).await?;
    }
    info(conn, name).await
}

/// Lets a network go on that is frozen for this reason.
pub(crate) async fn unfreeze(conn: &mut Conn, name: &str, frozen: &str) -> Result<NetworkInfo, NetworkError> {
    match info(conn, name).await?.cursor.and_then(|cursor| cursor.frozen) {
        None => return Err(NetworkError::NotFrozen),
        Some(why) if why != frozen => return Err(NetworkError::FrozenOtherwise),
        Some(_) => {}
    }
    chain::unfreeze(conn, name).await?;
    info(conn, name).await
}

/// Adds a provider, with what it may be asked and its priority.
pub(crate) async fn add_upstream(
    conn: &mut Conn,
    vault: &Vault,
    network: &str,
    access: Access,
    limits: (Terms, i64),
    now: Millis,
) -> Result<Upstream, NetworkError> {
    networks::get(conn, network).await?.ok_or(NetworkError::Missing)?;
    let row = access.into_row(vault, UpstreamId::new(now), network, limits, now)?;
    networks::insert_upstream(conn, row.clone()).await?;
    Ok(row)
}

/// The upstreams of a network, each with how it does in this process, if it is asked.
pub(crate) async fn upstreams(
    app: &App,
    name: &str,
) -> Result<Vec<(Upstream, Option<UpstreamStatus>)>, NetworkError> {
    let mut conn = app.db.read().await?;
    networks::get(&mut conn, name).await?.ok_or(NetworkError::Missing)?;
    let rows = networks::upstreams_of(&mut conn, name).await?;
    let mut known = app.upstreams.status(name);
    let with_status = |row: Upstream| {
        let index = known.iter().position(|status| status.id == row.id);
        let status = index.map(|index| known.swap_remove(index));
        (row, status)
    };
    Ok(rows.into_iter().map(with_status).collect())
}

/// Removes an upstream. Returns it as it was.
pub(crate) async fn remove_upstream(app: &App, id: UpstreamId) -> Result<Upstream, NetworkError> {
    let removed = app.db.write::<_, NetworkError, _>(move |conn| {
        Box::pin(async move {
            let all = networks::upstreams(conn).await?;
            let row = all.into_iter().find(|row| row.id == id).ok_or(NetworkError::NoUpstream)?;
            networks::delete_upstream(conn, &id).await?;
            Ok(row)
        })
    });
    let removed = removed.await?;
    reload(app).await?;
    Ok(removed)
}
