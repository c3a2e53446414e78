//! What is deep enough to be credited, by how much is at risk and by how many have seen it.

use std::collections::HashMap;

use crate::{
    db::{Conn, DbError, agreements, transfers},
    domain::{
        credit::{self, Rule},
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
    let (mut enough, unagreed) = split(conn, network, depth).await?;
    if unagreed.is_empty() {
        return Ok(enough);
    }
    let all: Vec<&Transfer> = unagreed.iter().map(|(transfer, _)| transfer).collect();
    let agreed = agreements::agreed(conn, &all).await?;
    enough.extend(unagreed.into_iter().map(|(transfer, _)| transfer).filter(|t| is_agreed(t, &agreed)));
    Ok(enough)
}

/// Those that lack nothing but a second provider's word, each with its rule.
pub(in crate::flow) async fn but_unagreed(
    conn: &mut Conn,
    network: &Manifest,
    depth: Depth,
) -> Result<Vec<(Transfer, Rule)>, DbError> {
    let (_, mut unagreed) = split(conn, network, depth).await?;
    let all: Vec<&Transfer> = unagreed.iter().map(|(transfer, _)| transfer).collect();
    let agreed = agreements::agreed(conn, &all).await?;
    unagreed.retain(|(transfer, _)| !is_agreed(transfer, &agreed));
    Ok(unagreed)
}

fn is_agreed(transfer: &Transfer, agreed: &HashMap<String, String>) -> bool {
    agreed.get(&transfer.id) == Some(&transfer.block_hash)
}

/// Those that are deep enough: without more, and if two agree about them.
async fn split(
    conn: &mut Conn,
    network: &Manifest,
    depth: Depth,
) -> Result<(Vec<Transfer>, Vec<(Transfer, Rule)>), DbError> {
    let to = network.credits().map(|credit| depth.credited_to(credit)).max().unwrap_or(0);
    let included = transfers::included_to(conn, &network.name, to).await?;
    let at_risk = if included.iter().any(|transfer| network.is_tiered(&transfer.asset_id)) {
        transfers::at_risk(conn, &network.name).await?
    } else {
        Vec::new()
    };
    let counted = credit::counted(&at_risk);
    let (mut enough, mut unagreed) = (Vec::new(), Vec::new());
    for transfer in included {
        let counted = counted.get(transfer.id.as_str()).copied().unwrap_or(transfer.amount);
        let rule = network.credit_of(&transfer.asset_id, counted);
        if transfer.height > depth.credited_to(rule.at) {
            continue;
        }
        if rule.agreed {
            unagreed.push((transfer, rule));
        } else {
            enough.push(transfer);
        }
    }
    Ok((enough, unagreed))
}
