//! Transfers deep enough to be credited, by the amount at risk and the number of providers that have seen them.

use std::collections::HashMap;

use crate::{
    db::{Conn, DbError, agreements, transfers},
    domain::{
        credit::{self, Rule},
        id::TransferId,
        network::Manifest,
        transfer::{Depth, Transfer},
    },
};

/// The included transfers that are to be confirmed now.
pub(super) async fn enough(
    conn: &mut Conn,
    network: &Manifest,
    depth: Depth,
) -> Result<Vec<Transfer>, DbError> {
    let deep = deep(conn, network, depth).await?;
    let agreed = agreed(conn, &deep).await?;
    let is_enough = |(transfer, rule): &(Transfer, Rule)| !rule.agreed || is_agreed(transfer, &agreed);
    Ok(deep.into_iter().filter(is_enough).map(|(transfer, _)| transfer).collect())
}

/// Transfers that lack only a second provider's confirmation, each with its rule.
pub(in crate::flow) async fn but_unagreed(
    conn: &mut Conn,
    network: &Manifest,
    depth: Depth,
) -> Result<Vec<(Transfer, Rule)>, DbError> {
    let mut deep = deep(conn, network, depth).await?;
    let agreed = agreed(conn, &deep).await?;
    deep.retain(|(transfer, rule)| rule.agreed && !is_agreed(transfer, &agreed));
    Ok(deep)
}

async fn agreed(conn: &mut Conn, deep: &[(Transfer, Rule)]) -> Result<HashMap<TransferId, String>, DbError> {
    let wanted: Vec<&Transfer> =
        deep.iter().filter(|(_, rule)| rule.agreed).map(|(transfer, _)| transfer).collect();
    if wanted.is_empty() { Ok(HashMap::new()) } else { agreements::agreed(conn, &wanted).await }
}

fn is_agreed(transfer: &Transfer, agreed: &HashMap<TransferId, String>) -> bool {
    agreed.get(&transfer.id) == Some(&transfer.block_hash)
}

/// Transfers that are as deep as their rules demand.
async fn deep(conn: &mut Conn, network: &Manifest, depth: Depth) -> Result<Vec<(Transfer, Rule)>, DbError> {
    let to = network.credits().map(|credit| depth.credited_to(credit)).max().unwrap_or(0);
    let included = transfers::included_to(conn, &network.name, to).await?;
    let at_risk = if included.iter().any(|transfer| network.is_tiered(&transfer.asset_id)) {
        transfers::at_risk(conn, &network.name).await?
    } else {
        Vec::new()
    };
    let counted = credit::counted(&at_risk);
    let ruled = included.into_iter().map(|transfer| {
        let counted = counted.get(&transfer.id).copied().unwrap_or(transfer.amount);
        let rule = network.credit_of(&transfer.asset_id, counted);
        (transfer, rule)
    });
    Ok(ruled.filter(|(transfer, rule)| transfer.height <= depth.credited_to(rule.at)).collect())
}
