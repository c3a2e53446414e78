//! Networks, their assets and their upstreams.
//!
//! What a network *is* never changes once something stands on it: its chain, its mode, the decimals of an asset.
//! An amount stored in base units would mean another sum of money.

use super::{Conn, DbError, Row, args};
use crate::domain::{
    Millis,
    allowance::{Learned, Terms},
    id::UpstreamId,
    network::{Asset, Manifest},
};

#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) manifest: Manifest,
    pub(crate) enabled: bool,
    pub(crate) created_at: Millis,
}

/// An RPC provider.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) id: UpstreamId,
    pub(crate) network: String,
    /// The URL, reduced to what people may see.
    pub(crate) shown: String,
    /// URL and headers, sealed for the row's id.
    pub(crate) sealed: Vec<u8>,
    pub(crate) has_headers: bool,
    pub(crate) terms: Terms,
    /// Lower is asked first.
    pub(crate) priority: i64,
    pub(crate) created_at: Millis,
    pub(crate) learned: Learned,
}

/// Error of storing a manifest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PutError {
    #[error(transparent)]
    Db(#[from] DbError),
    /// The change would alter the meaning of earlier amounts or addresses; the text says which.
    #[error("{0}")]
    Fixed(String),
}

fn read(row: &Row) -> Result<Network, DbError> {
    Ok(Network {
        manifest: row.json("manifest")?,
        enabled: row.bool("enabled")?,
        created_at: row.int("created_at")?,
    })
}

/// All networks, by name.
pub(crate) async fn list(conn: &mut Conn) -> Result<Vec<Network>, DbError> {
    let sql = "SELECT manifest, enabled, created_at FROM network ORDER BY name";
    conn.rows(sql, args![]).await?.iter().map(read).collect()
}

pub(crate) async fn get(conn: &mut Conn, name: &str) -> Result<Option<Network>, DbError> {
    let sql = "SELECT manifest, enabled, created_at FROM network WHERE name = $1";
    conn.row(sql, args![name.to_owned()]).await?.as_ref().map(read).transpose()
}

/// Makes the network, or updates it to this manifest. Returns true if it was made. The manifest must have been checked.
///
/// The manifest's upstreams are not stored with it: whoever makes the network adds them one by one
/// ([`insert_upstream`]).
pub(crate) async fn put(conn: &mut Conn, manifest: &Manifest, now: Millis) -> Result<bool, PutError> {
    let mut kept = manifest.clone();
    kept.upstreams.clear();
    let text = serde_json::to_string(&kept)
        .map_err(|error| DbError::Unreadable { column: "manifest", why: error.to_string() })?;
    let made = match get(conn, &manifest.name).await? {
        Some(old) => {
            check_fixed(conn, &old.manifest, manifest).await?;
            conn.exec(
                "UPDATE network SET plugin = $2, manifest = $3, test = $4 WHERE name = $1",
                args![&manifest.name, &manifest.plugin, text, manifest.test],
            )
            .await?;
            false
        }
        None => {
            conn.exec(
                "INSERT INTO network (name, plugin, manifest, test, enabled, created_at)
                 VALUES ($1, $2, $3, $4, 1, $5)",
                args![&manifest.name, &manifest.plugin, text, manifest.test, now],
            )
            .await?;
            conn.exec("INSERT INTO address_counter (network, seq) VALUES ($1, 0)", args![&manifest.name])
                .await?;
            true
        }
    };
    for asset in &manifest.assets {
        put_asset(conn, &manifest.name, asset).await?;
    }
    Ok(made)
}

/// Refuses another chain or mode once the network was read or has addresses.
async fn check_fixed(conn: &mut Conn, old: &Manifest, new: &Manifest) -> Result<(), PutError> {
    let fixed = if old.caip2 != new.caip2 {
        "caip2"
    } else if old.test != new.test {
        "test"
    } else {
        return Ok(());
    };
    let sql = "SELECT 1 AS one FROM cursor WHERE network = $1
               UNION ALL SELECT 1 FROM receive_address WHERE network = $1 LIMIT 1";
    if conn.row(sql, args![&new.name]).await?.is_some() {
        let why = format!("{fixed} is fixed, since {} is in use: make a network of another name", new.name);
        return Err(PutError::Fixed(why));
    }
    Ok(())
}

async fn put_asset(conn: &mut Conn, network: &str, asset: &Asset) -> Result<(), PutError> {
    let id = asset.id(network);
    let sql = "SELECT id, decimals FROM asset WHERE id = $1 OR (network = $2 AND symbol = $3) ORDER BY (id = $1) DESC";
    let found = conn.rows(sql, args![&id, network.to_owned(), &asset.symbol]).await?;
    for row in &found {
        if row.text("id")? != id {
            let why =
                format!("asset {}: another contract has this symbol; give the new one another", asset.symbol);
            return Err(PutError::Fixed(why));
        }
        if row.int("decimals")? != i64::from(asset.decimals) && asset_in_use(conn, &id).await? {
            return Err(PutError::Fixed(format!(
                "asset {}: its decimals are fixed, since it is in use",
                asset.symbol
            )));
        }
    }
    conn.exec(
        "INSERT INTO asset (id, network, symbol, contract, decimals) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (id) DO UPDATE SET symbol = excluded.symbol, decimals = excluded.decimals",
        args![id, network.to_owned(), &asset.symbol, &asset.contract, i64::from(asset.decimals)],
    )
    .await?;
    Ok(())
}

/// Reads without an index on purpose: decimals change only to mend a typing error, before there is much to search.
async fn asset_in_use(conn: &mut Conn, asset_id: &str) -> Result<bool, DbError> {
    let sql = "SELECT 1 AS one FROM invoice WHERE asset_id = $1
               UNION ALL SELECT 1 FROM transfer WHERE asset_id = $1 LIMIT 1";
    Ok(conn.row(sql, args![asset_id.to_owned()]).await?.is_some())
}

/// Enables or disables a network. Returns false if there is none.
pub(crate) async fn set_enabled(conn: &mut Conn, name: &str, enabled: bool) -> Result<bool, DbError> {
    let sql = "UPDATE network SET enabled = $2 WHERE name = $1";
    Ok(conn.exec(sql, args![name.to_owned(), enabled]).await? == 1)
}

fn read_upstream(row: &Row) -> Result<Upstream, DbError> {
    let unreadable = |column| {
        move |error: std::num::TryFromIntError| DbError::Unreadable { column, why: error.to_string() }
    };
    let calls_per_day = row.opt_int("calls_per_day")?.map(u32::try_from).transpose();
    let terms = Terms {
        calls_per_s: u32::try_from(row.int("calls_per_s")?).map_err(unreadable("calls_per_s"))?,
        calls_per_day: calls_per_day.map_err(unreadable("calls_per_day"))?,
    };
    Ok(Upstream {
        id: row.id("id")?,
        network: row.text("network")?,
        shown: row.text("url")?,
        sealed: row.blob("sealed")?,
        has_headers: row.bool("has_headers")?,
        terms,
        priority: row.int("priority")?,
        created_at: row.int("created_at")?,
        learned: Learned::parse(&row.text("learned")?),
    })
}

macro_rules! select_upstreams {
    ($rest:literal) => {
        concat!(
            "SELECT id, network, url, sealed, has_headers, calls_per_s, calls_per_day, priority, created_at, learned
             FROM upstream WHERE sealed IS NOT NULL ",
            $rest
        )
    };
}

/// The upstreams of all networks, in the order of their priority.
pub(crate) async fn upstreams(conn: &mut Conn) -> Result<Vec<Upstream>, DbError> {
    let sql = select_upstreams!("ORDER BY network, priority, id");
    conn.rows(sql, args![]).await?.iter().map(read_upstream).collect()
}

/// As [`upstreams`], of one network.
pub(crate) async fn upstreams_of(conn: &mut Conn, network: &str) -> Result<Vec<Upstream>, DbError> {
    let sql = select_upstreams!("AND network = $1 ORDER BY priority, id");
    conn.rows(sql, args![network.to_owned()]).await?.iter().map(read_upstream).collect()
}

pub(crate) async fn insert_upstream(conn: &mut Conn, upstream: Upstream) -> Result<(), DbError> {
    conn.exec(
        "INSERT INTO upstream (id, network, url, sealed, has_headers, calls_per_s, calls_per_day, priority, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        args![
            upstream.id,
            upstream.network,
            upstream.shown,
            upstream.sealed,
            upstream.has_headers,
            upstream.terms.calls_per_s,
            upstream.terms.calls_per_day.map(i64::from),
            upstream.priority,
            upstream.created_at
        ],
    )
    .await?;
    Ok(())
}

/// Stores the facts learned about an upstream.
pub(crate) async fn learned(conn: &mut Conn, id: &UpstreamId, learned: &Learned) -> Result<(), DbError> {
    let sql = "UPDATE upstream SET learned = $2 WHERE id = $1";
    conn.exec(sql, args![id, learned.text()]).await?;
    Ok(())
}

/// An upstream whose URL was stored before URLs were sealed.
#[derive(Debug, Clone)]
pub(crate) struct Unsealed {
    pub(crate) id: UpstreamId,
    pub(crate) url: String,
    /// JSON object of secret headers, sealed for the row's id.
    pub(crate) headers: Option<Vec<u8>>,
}

/// All upstreams whose URLs are not sealed yet.
pub(crate) async fn unsealed(conn: &mut Conn) -> Result<Vec<Unsealed>, DbError> {
    let rows = conn.rows("SELECT id, url, headers FROM upstream WHERE sealed IS NULL", args![]).await?;
    let read = |row: &Row| {
        Ok(Unsealed { id: row.id("id")?, url: row.text("url")?, headers: row.opt_blob("headers")? })
    };
    rows.iter().map(read).collect()
}

/// Stores an upstream's URL and headers sealed.
pub(crate) async fn seal_upstream(
    conn: &mut Conn,
    id: &UpstreamId,
    shown: String,
    sealed: Vec<u8>,
    has_headers: bool,
) -> Result<(), DbError> {
    let sql = "UPDATE upstream SET url = $2, sealed = $3, has_headers = $4, headers = NULL WHERE id = $1";
    conn.exec(sql, args![id, shown, sealed, has_headers]).await?;
    Ok(())
}

/// Deletes an upstream. Returns false if there is none.
pub(crate) async fn delete_upstream(conn: &mut Conn, id: &UpstreamId) -> Result<bool, DbError> {
    Ok(conn.exec("DELETE FROM upstream WHERE id = $1", args![id]).await? == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{db::Db, testing};

    pub(crate) fn manifest() -> Manifest {
        serde_json::from_value(serde_json::json!({
            "name": "base", "title": "Base", "caip2": "eip155:8453", "plugin": "evm", "credit": 3, "poll_ms": 2000,
            "asset": [{"symbol": "ETH", "name": "Ether", "decimals": 18},
                      {"symbol": "USDC", "name": "USD Coin", "contract": "0xabc", "decimals": 6}],
            "upstream": [{"url": "https://a.example"}, {"url": "https://b.example", "calls_per_s": 5}],
        }))
        .unwrap()
    }

    async fn put_it(db: &Db, manifest: Manifest) -> Result<bool, PutError> {
        db.write(move |conn| Box::pin(async move { put(conn, &manifest, 7).await })).await
    }

    #[tokio::test]
    async fn made_once_and_then_changed() {
        for db in testing::databases().await {
            assert!(put_it(&db, manifest()).await.unwrap());
            let mut next = manifest();
            next.poll_ms = 500;
            assert!(!put_it(&db, next).await.unwrap());
            let mut conn = db.read().await.unwrap();
            let stored = get(&mut conn, "base").await.unwrap().unwrap();
            assert_eq!((stored.manifest.poll_ms, stored.enabled, stored.created_at), (500, true, 7));
            assert!(stored.manifest.upstreams.is_empty());
        }
    }

    #[tokio::test]
    async fn what_amounts_rest_on_does_not_change() {
        for db in testing::databases().await {
            put_it(&db, manifest()).await.unwrap();
            let mut other = manifest();
            other.assets[1].contract = Some("0xdef".to_owned());
            assert!(matches!(put_it(&db, other).await, Err(PutError::Fixed(_))));
            // Nothing depends on it yet: a typing error can still be mended.
            let mut mended = manifest();
            mended.assets[1].decimals = 8;
            mended.caip2 = "eip155:1".to_owned();
            put_it(&db, mended).await.unwrap();
            db.write::<_, DbError, _>(|conn| {
                Box::pin(async move {
                    conn.exec(
                        "INSERT INTO cursor (network, height, hash, head, final, fence, moved_at)
                         VALUES ('base', 1, '0x', 1, 1, 1, 1)",
                        args![],
                    )
                    .await
                })
            })
            .await
            .unwrap();
            assert!(
                matches!(put_it(&db, manifest()).await, Err(PutError::Fixed(why)) if why.starts_with("caip2"))
            );
        }
    }
}
