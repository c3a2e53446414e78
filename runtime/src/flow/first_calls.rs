//! First calls: finds components that end the process, before they do so at every start.
//!
//! What a worker of a network calls first after a start is written down before, and crossed out when anything was heard of
//! it, be it an error. A block that ends the process is in that first call: the cursor has not moved past it. Where a call
//! is found that nobody heard of, the next one is made while no other suspect is called; after [`UNHEARD_MAX`] of them the
//! worker is set aside, the operator is told, and the process goes on with everything else. Another version of the plugin
//! is not suspected; `kassa network enable` acquits the present one.

use std::future::Future;

use crate::{
    app::App,
    db::{DbError, crash, first_calls},
    domain::{
        alarm::{Of, WorkSetAside},
        event::Data,
        id::PluginVersionId,
        network::Manifest,
        retry::UNHEARD_MAX,
    },
};

/// Name of the queue in metrics and alarms.
const QUEUE: &str = "chain calls";

/// Progress of a worker's first call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum First {
    #[default]
    New,
    /// The call is recorded as begun.
    Begun,
    /// The call was set aside, and the operator was told.
    SetAside,
    /// The call has ended.
    Heard,
}

/// Error: the worker's calls are set aside and were not made.
pub(super) struct SetAside;

impl SetAside {
    pub(super) fn why(network: &Manifest) -> String {
        format!(
            "set aside: plugin {} ended the process {UNHEARD_MAX} times. Load another version of it, or try again with `kassa \
             network enable {}`",
            network.plugin, network.name
        )
    }
}

/// Does `work`, which calls the plugin of this network, unless calls of the worker `resource` have ended the process.
pub(super) async fn guarded<T>(
    app: &App,
    network: &Manifest,
    resource: &str,
    first: &mut First,
    work: impl Future<Output = T>,
) -> Result<Result<T, SetAside>, DbError> {
    if *first == First::Heard {
        return Ok(Ok(work.await));
    }
    // Nothing that is loaded can end the process.
    let Some(version_id) = app.host.version_in_use(&network.plugin) else { return Ok(Ok(work.await)) };
    let mut _alone = None;
    if *first != First::Begun {
        let before = first_calls::unheard(&mut app.db.read().await?, resource, &version_id).await?;
        if before >= UNHEARD_MAX {
            if *first != First::SetAside {
                metrics::counter!("kassa_set_aside_total", "queue" => QUEUE).increment(1);
                let why = SetAside::why(network);
                tracing::error!(network = network.name, worker = resource, "{why}");
                tell(app, network, resource, version_id, why).await?;
            }
            *first = First::SetAside;
            return Ok(Err(SetAside));
        }
        if before > 0 {
            _alone = Some(app.suspects.lock().await);
        }
        let (key, name) = (resource.to_owned(), network.name.clone());
        app.db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move { first_calls::begin(conn, &key, &name, &version_id).await })
            })
            .await?;
        *first = First::Begun;
    }
    crash::in_call(resource);
    let done = work.await;
    let key = resource.to_owned();
    app.db
        .write::<_, DbError, _>(move |conn| Box::pin(async move { first_calls::heard(conn, &key).await }))
        .await?;
    *first = First::Heard;
    Ok(Ok(done))
}

async fn tell(
    app: &App,
    network: &Manifest,
    resource: &str,
    version_id: PluginVersionId,
    why: String,
) -> Result<(), DbError> {
    let (resource, now) = (resource.to_owned(), app.clock.now());
    let of = Of::Network { network: network.name.clone() };
    let alarm = Data::WorkSetAside(WorkSetAside { queue: QUEUE, work: resource.clone(), of, why }.into());
    app.db
        .write::<_, DbError, _>(move |conn| {
            Box::pin(async move { first_calls::set_aside(conn, &resource, &version_id, &alarm, now).await })
        })
        .await?;
    app.wake.dispatch.notify_one();
    Ok(())
}
