//! A Kassa in a folder that is thrown away: for `bench` and `plugin try`, which touch no installation.

use std::{net::SocketAddr, path::Path};

use crate::{
    app::App,
    config::Config,
    db::{
        addresses::{self, Kind, NewAddress, ReceiveAddress},
        merchants::{self, Merchant},
    },
    domain::{
        id::{AddressId, MerchantId},
        network::Manifest,
        policy::Policy,
    },
    server::Options,
};

/// Opens a Kassa in this folder. Workers do not run yet.
pub(in crate::cli) async fn open(folder: &Path) -> anyhow::Result<App> {
    let mut config = Config::load(Path::new("kassa.toml"), false, std::iter::empty())?;
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.http.rate_per_10s = u32::MAX;
    config.webhooks.allow_private = true;
    App::open(Options { data_dir: folder.to_owned(), config }).await
}

/// Makes a merchant with a shared address.
pub(in crate::cli) async fn shop(
    app: &App,
    network: &Manifest,
    address: &str,
) -> anyhow::Result<ReceiveAddress> {
    let now = app.clock.now();
    let normal = app.host.normalize_address(network, address).await?;
    let normal = normal.map_err(|error| anyhow::anyhow!("{address} is no address: {error:?}"))?;
    let merchant = Merchant {
        id: MerchantId::new(now),
        name: "scratch".to_owned(),
        operator_events: false,
        policy: Policy::default(),
        created_at: now,
        disabled_at: None,
    };
    let new = NewAddress {
        id: AddressId::new(now),
        merchant_id: merchant.id.clone(),
        network: network.name.clone(),
        address: normal.text,
        key: normal.key,
        kind: Kind::Shared,
        unique_id: None,
        meta: None,
        derived_index: None,
        created_at: now,
    };
    let made = app
        .db
        .write::<_, addresses::CreateError, _>(move |conn| {
            Box::pin(async move {
                merchants::insert(conn, &merchant).await?;
                addresses::create(conn, new).await
            })
        })
        .await?;
    Ok(made)
}
