//! Alarms: events for each merchant that gets the operator's, committed with what they tell of.

use super::{Conn, DbError, Row, args, events};
use crate::domain::{
    Millis,
    alarm::{NetworkResumed, NetworkStalled},
    event::{Data, NewEvent},
    id::MerchantId,
    tenant::Tenant,
    view::time,
};

/// Sends the alarm to every merchant that gets the operator's events, if there is one.
pub(crate) async fn tell(conn: &mut Conn, alarm: &Data, now: Millis) -> Result<(), DbError> {
    let sql = "SELECT id FROM merchant WHERE operator_events = 1 AND disabled_at IS NULL ORDER BY id";
    let merchants = conn.rows(sql, args![]).await?;
    let told = |row: &Row| Ok(NewEvent::now(&Tenant::live(row.id::<MerchantId>("id")?), alarm, now));
    let told = merchants.iter().map(told).collect::<Result<_, DbError>>()?;
    events::insert(conn, told).await
}

/// Tells that a network stalls, unless that was told already or a provider of it answered since `heard_at` (`None`:
/// never).
pub(crate) async fn stalled(
    conn: &mut Conn,
    network: &str,
    heard_at: Option<Millis>,
    why: Option<String>,
    now: Millis,
) -> Result<(), DbError> {
    // Waits for the row's lock if the network is being heard at this moment.
    let sql = "SELECT heard_at FROM reading WHERE network = $1 /*pg: FOR UPDATE*/";
    let row = conn.row(sql, args![network.to_owned()]).await?;
    if row.map(|row| row.int("heard_at")).transpose()? != heard_at {
        return Ok(());
    }
    let sql = "INSERT INTO stall (network, since) VALUES ($1, $2) ON CONFLICT (network) DO NOTHING";
    let since = match heard_at {
        Some(at) => at,
        None => conn.now().await?,
    };
    if conn.exec(sql, args![network.to_owned(), since]).await? == 1 {
        let alarm = NetworkStalled { network: network.to_owned(), heard_at: heard_at.map(time), why };
        tell(conn, &Data::NetworkStalled(alarm.into()), now).await?;
    }
    Ok(())
}

/// Tells which of these networks, told to stall before, stall no more.
pub(crate) async fn resumed(conn: &mut Conn, networks: &[String], now: Millis) -> Result<(), DbError> {
    let over = networks.iter().map(Into::into).collect();
    let sql = "DELETE FROM stall WHERE network IN";
    for row in conn.rows_in(sql, over, "RETURNING network, since").await? {
        let alarm = NetworkResumed { network: row.text("network")?, stalled_since: time(row.int("since")?) };
        tell(conn, &Data::NetworkResumed(alarm.into()), now).await?;
    }
    Ok(())
}
