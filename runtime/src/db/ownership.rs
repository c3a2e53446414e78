//! Whose an address or an extended key is: what its merchant has proven, and what others want of it.

use super::{Conn, DbError, Row, args};
use crate::domain::{
    Millis,
    id::{AddressId, ExtendedKeyId, Id, MerchantId},
    tenant::Mode,
};

/// Minimum time between two events to a merchant about one address or key, milliseconds.
const TOLD_EVERY_MS: Millis = 24 * 60 * 60 * 1000;

/// The proof of ownership of a new address or key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A proof was checked at this time.
    Given(Millis),
    /// No proof, and none is needed.
    NotNeeded,
    /// No proof, though the operator demands one.
    Missing,
}

impl Proof {
    pub(crate) fn at(self) -> Option<Millis> {
        match self {
            Self::Given(at) => Some(at),
            Self::NotNeeded | Self::Missing => None,
        }
    }
}

/// Records that the merchant of an address has proven to own it.
pub(crate) async fn prove_address(conn: &mut Conn, id: &AddressId, at: Millis) -> Result<(), DbError> {
    let sql = "UPDATE receive_address SET ownership_proven_at = $2 WHERE id = $1";
    conn.exec(sql, args![id, at]).await?;
    Ok(())
}

/// Records the same for an extended key.
pub(crate) async fn prove_key(conn: &mut Conn, id: &ExtendedKeyId, at: Millis) -> Result<(), DbError> {
    let sql = "UPDATE extended_key SET ownership_proven_at = $2 WHERE id = $1";
    conn.exec(sql, args![id, at]).await?;
    Ok(())
}

/// What another merchant wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimTarget<I> {
    pub(crate) id: I,
    /// The merchant that owns it.
    pub(crate) merchant_id: MerchantId,
}

fn read<I: Id>(row: &Row) -> Result<ClaimTarget<I>, DbError> {
    Ok(ClaimTarget { id: row.id("id")?, merchant_id: row.id("merchant_id")? })
}

/// Finds the address that another merchant than `by` has, if that merchant is due to be told now.
pub(crate) async fn claimed_address(
    conn: &mut Conn,
    network: &str,
    address: &str,
    by: &MerchantId,
    now: Millis,
) -> Result<Option<ClaimTarget<AddressId>>, DbError> {
    // A stored time ahead of now was set by a clock that was ahead.
    let sql = "UPDATE receive_address SET claim_told_at = $4
               WHERE network = $1 AND address = $2 AND merchant_id <> $3
                 AND (claim_told_at IS NULL OR claim_told_at <= $5 OR claim_told_at > $4)
               RETURNING id, merchant_id";
    let args = args![network.to_owned(), address.to_owned(), by, now, now - TOLD_EVERY_MS];
    conn.row(sql, args).await?.as_ref().map(read).transpose()
}

/// Finds the extended key with this first address, under the same conditions.
pub(crate) async fn claimed_key(
    conn: &mut Conn,
    network: &str,
    first_address: &str,
    by: &MerchantId,
    now: Millis,
) -> Result<Option<ClaimTarget<ExtendedKeyId>>, DbError> {
    let sql = "UPDATE extended_key SET claim_told_at = $4
               WHERE network = $1 AND first_address = $2 AND merchant_id <> $3
                 AND (claim_told_at IS NULL OR claim_told_at <= $5 OR claim_told_at > $4)
               RETURNING id, merchant_id";
    let args = args![network.to_owned(), first_address.to_owned(), by, now, now - TOLD_EVERY_MS];
    conn.row(sql, args).await?.as_ref().map(read).transpose()
}

/// Number of addresses given by merchants, and number of extended keys, that are in use on live networks without a
/// proof.
pub(crate) async fn unproven(conn: &mut Conn) -> Result<(i64, i64), DbError> {
    let sql = "SELECT COUNT(*) AS n FROM receive_address
               WHERE test = $1 AND kind <> 'invoice' AND derived_index IS NULL AND retired_at IS NULL
                 AND ownership_proven_at IS NULL";
    let addresses = conn.row(sql, args![Mode::Live]).await?.map_or(Ok(0), |row| row.int("n"))?;
    let sql = "SELECT COUNT(*) AS n FROM extended_key
               WHERE replaced_at IS NULL AND ownership_proven_at IS NULL
                 AND network IN (SELECT name FROM network WHERE test = $1)";
    let keys = conn.row(sql, args![Mode::Live]).await?.map_or(Ok(0), |row| row.int("n"))?;
    Ok((addresses, keys))
}
