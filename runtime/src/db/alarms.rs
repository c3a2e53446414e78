//! Alarms: events for each merchant that gets the operator's, committed with what they tell of.

use super::{Conn, DbError, args, events};
use crate::domain::{
    Millis,
    alarm::Alarm,
    event::{self, NewEvent},
    id::{self, Kind as IdKind},
};

/// Tells it every merchant that gets the operator's events; none: nobody is told.
pub(crate) async fn tell(conn: &mut Conn, alarm: &Alarm, now: Millis) -> Result<(), DbError> {
    let sql = "SELECT id FROM merchant WHERE operator_events = 1 AND disabled_at IS NULL ORDER BY id";
    let merchants = conn.rows(sql, args![]).await?;
    let kind = event::Type::from(alarm.kind());
    let payload = event::payload(&kind, now, alarm);
    let event = |merchant_id| NewEvent {
        id: id::new(IdKind::Event, now),
        merchant_id,
        test: false,
        kind: kind.clone(),
        invoice_id: None,
        transfer_id: None,
        sequence: 0,
        payload: payload.clone(),
        created_at: now,
    };
    let told: Vec<NewEvent> =
        merchants.iter().map(|row| Ok(event(row.text("id")?))).collect::<Result<_, DbError>>()?;
    events::insert(conn, told).await
}

/// Tells that a network stalls, unless that was told already, or somebody has heard it since `heard_at` (none: never).
pub(crate) async fn stalled(
    conn: &mut Conn,
    network: &str,
    heard_at: Option<Millis>,
    why: Option<String>,
    now: Millis,
) -> Result<(), DbError> {
    // The row of who hears it at this moment is waited for.
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
        tell(conn, &Alarm::stalled(network, heard_at, why), now).await?;
    }
    Ok(())
}

/// Tells of those of these networks that were said to stall that they do no more.
pub(crate) async fn resumed(conn: &mut Conn, networks: &[String], now: Millis) -> Result<(), DbError> {
    let over = networks.iter().map(Into::into).collect();
    let sql = "DELETE FROM stall WHERE network IN";
    for row in conn.rows_in(sql, over, "RETURNING network, since").await? {
        tell(conn, &Alarm::resumed(&row.text("network")?, row.int("since")?), now).await?;
    }
    Ok(())
}
