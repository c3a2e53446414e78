//! Receive addresses, and the extended keys that they are derived from.

use std::collections::HashMap;

use super::{
    Conn, DbError, Row, args, merchants,
    ownership::{self, Proof},
};
use crate::domain::{
    Millis,
    id::{AddressId, ExtendedKeyId, MerchantId},
    tenant::Tenant,
    verbatim::Verbatim,
    word::words,
};

words! {
    /// Whose payments arrive at an address.
    #[schema(as = AddressKind)]
    Kind {
        /// Anyone's: payments are told apart by amount or memo.
        Shared = "shared",
        /// One customer's.
        Customer = "customer",
        /// One invoice's.
        Invoice = "invoice",
    }
}

#[derive(Debug, Clone)]
pub(crate) struct ReceiveAddress {
    pub(crate) id: AddressId,
    pub(crate) merchant_id: MerchantId,
    pub(crate) network: String,
    /// The address in the plugin's normal form.
    pub(crate) address: String,
    /// The same as bytes, by which watchers filter.
    pub(crate) key: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) unique_id: Option<String>,
    /// The merchant's own JSON.
    pub(crate) meta: Option<Verbatim>,
    pub(crate) derived_index: Option<i64>,
    /// Number in the order of commit within the network.
    #[cfg_attr(not(test), expect(dead_code, reason = "what watchers read by; tests look at it"))]
    pub(crate) seq: i64,
    pub(crate) created_at: Millis,
    /// Since when it is no longer given out.
    pub(crate) retired_at: Option<Millis>,
    /// Time at which its merchant last proved to own it, if ever.
    pub(crate) ownership_proven_at: Option<Millis>,
}

/// An address to be watched; the fields are those of [`ReceiveAddress`].
#[derive(Debug, Clone)]
pub(crate) struct NewAddress {
    pub(crate) id: AddressId,
    pub(crate) merchant_id: MerchantId,
    pub(crate) network: String,
    pub(crate) address: String,
    pub(crate) key: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) unique_id: Option<String>,
    pub(crate) meta: Option<Verbatim>,
    pub(crate) derived_index: Option<i64>,
    pub(crate) created_at: Millis,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    #[error(transparent)]
    Db(#[from] DbError),
    /// The address is watched already (for anyone), or the merchant has a shared address or this `unique_id` on the
    /// network.
    #[error("the address, the unique_id or the place of the shared address is taken")]
    Taken,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SetKeyError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("it is another merchant's")]
    Taken,
    /// The address is new, and the demanded proof is missing.
    #[error("nobody has proven whose it is")]
    Unproven,
}

#[derive(Debug, Clone)]
pub(crate) struct ExtendedKey {
    pub(crate) id: ExtendedKeyId,
    pub(crate) merchant_id: MerchantId,
    pub(crate) network: String,
    pub(crate) public_key: String,
    /// Child that the next address is derived from.
    pub(crate) next_index: i64,
    pub(crate) created_at: Millis,
    /// Time at which its merchant last proved to own it, if ever.
    pub(crate) ownership_proven_at: Option<Millis>,
}

fn read(row: &Row) -> Result<ReceiveAddress, DbError> {
    Ok(ReceiveAddress {
        id: row.id("id")?,
        merchant_id: row.id("merchant_id")?,
        network: row.text("network")?,
        address: row.text("address")?,
        key: row.blob("key")?,
        kind: row.parsed("kind")?,
        unique_id: row.opt_text("unique_id")?,
        meta: row.opt_json("meta")?,
        derived_index: row.opt_int("derived_index")?,
        seq: row.int("seq")?,
        created_at: row.int("created_at")?,
        retired_at: row.opt_int("retired_at")?,
        ownership_proven_at: row.opt_int("ownership_proven_at")?,
    })
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, merchant_id, network, address, key, kind, unique_id, meta, derived_index, seq, created_at, retired_at, ",
            "ownership_proven_at ",
            "FROM receive_address ",
            $rest
        )
    };
}

/// Adds an address to watch.
pub(crate) async fn create(conn: &mut Conn, new: NewAddress) -> Result<ReceiveAddress, CreateError> {
    // The counter's row lock is held until the commit: seq is the order of commit.
    let sql = "UPDATE address_counter SET seq = seq + 1 WHERE network = $1 RETURNING seq";
    let counted = conn.row(sql, args![&new.network]).await?;
    let seq = counted.ok_or(DbError::Vanished("the network"))?.int("seq")?;
    let made = conn
        .exec(
            "INSERT INTO receive_address
               (id, merchant_id, network, address, key, kind, unique_id, meta, derived_index, seq, created_at, test)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, n.test FROM network n WHERE n.name = $3
             ON CONFLICT DO NOTHING",
            args![
                &new.id,
                &new.merchant_id,
                &new.network,
                &new.address,
                new.key.clone(),
                new.kind,
                &new.unique_id,
                &new.meta,
                new.derived_index,
                seq,
                new.created_at
            ],
        )
        .await?;
    if made == 0 {
        return Err(CreateError::Taken);
    }
    let NewAddress {
        id,
        merchant_id,
        network,
        address,
        key,
        kind,
        unique_id,
        meta,
        derived_index,
        created_at,
    } = new;
    Ok(ReceiveAddress {
        id,
        merchant_id,
        network,
        address,
        key,
        kind,
        unique_id,
        meta,
        derived_index,
        seq,
        created_at,
        retired_at: None,
        ownership_proven_at: None,
    })
}

/// Finds one of a merchant's addresses, on a network of this mode.
pub(crate) async fn get(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &AddressId,
) -> Result<Option<ReceiveAddress>, DbError> {
    let sql = select!(
        "WHERE id = $1 AND merchant_id = $2 AND network IN (SELECT name FROM network WHERE test = $3)"
    );
    let args = args![id, &tenant.merchant, tenant.mode];
    conn.row(sql, args).await?.as_ref().map(read).transpose()
}

/// A merchant's addresses on networks of this mode, without invoices' own ones; the newest first, below the id
/// `before`.
pub(crate) async fn list(
    conn: &mut Conn,
    tenant: &Tenant,
    before: AddressId,
    rows: i64,
) -> Result<Vec<ReceiveAddress>, DbError> {
    let sql = select!(
        "WHERE merchant_id = $1 AND test = $2 AND kind <> 'invoice' AND id /*pg: COLLATE \"C\"*/ < $3
         ORDER BY id /*pg: COLLATE \"C\"*/ DESC LIMIT $4"
    );
    conn.rows(sql, args![&tenant.merchant, tenant.mode, before, rows]).await?.iter().map(read).collect()
}

/// The merchant's shared address on a network, if it is not retired.
pub(crate) async fn shared_of(
    conn: &mut Conn,
    merchant_id: &MerchantId,
    network: &str,
) -> Result<Option<ReceiveAddress>, DbError> {
    let sql = select!("WHERE merchant_id = $1 AND network = $2 AND kind = 'shared' AND retired_at IS NULL");
    conn.row(sql, args![merchant_id, network.to_owned()]).await?.as_ref().map(read).transpose()
}

/// The address of one of a merchant's customers, if it is not retired.
pub(crate) async fn by_unique_id(
    conn: &mut Conn,
    merchant_id: &MerchantId,
    network: &str,
    unique_id: &str,
) -> Result<Option<ReceiveAddress>, DbError> {
    let sql = select!("WHERE merchant_id = $1 AND network = $2 AND unique_id = $3 AND retired_at IS NULL");
    let args = args![merchant_id, network.to_owned(), unique_id.to_owned()];
    conn.row(sql, args).await?.as_ref().map(read).transpose()
}

/// Retires an address at this time, or (`None`) gives it out again. Returns false if there is nothing to change. Errors
/// ([`DbError::is_taken`]) if another has its place by now.
pub(crate) async fn set_retired(
    conn: &mut Conn,
    id: &AddressId,
    at: Option<Millis>,
) -> Result<bool, DbError> {
    let sql =
        "UPDATE receive_address SET retired_at = $2 WHERE id = $1 AND (retired_at IS NULL) <> ($2 IS NULL)";
    Ok(conn.exec(sql, args![id, at]).await? == 1)
}

/// The watched addresses among these (in normal form), by their text.
pub(crate) async fn by_address(
    conn: &mut Conn,
    network: &str,
    texts: &[String],
) -> Result<HashMap<String, ReceiveAddress>, DbError> {
    let items = texts.iter().map(Into::into).collect();
    let mut found = HashMap::with_capacity(texts.len());
    let sql = select!("WHERE network = $1 AND address IN");
    for row in conn.rows_in_with(sql, args![network.to_owned()], items, "").await? {
        let address = read(&row)?;
        found.insert(address.address.clone(), address);
    }
    Ok(found)
}

fn read_extended(row: &Row) -> Result<ExtendedKey, DbError> {
    Ok(ExtendedKey {
        id: row.id("id")?,
        merchant_id: row.id("merchant_id")?,
        network: row.text("network")?,
        public_key: row.text("public_key")?,
        next_index: row.int("next_index")?,
        created_at: row.int("created_at")?,
        ownership_proven_at: row.opt_int("ownership_proven_at")?,
    })
}

/// Sets the key that a merchant's addresses on a network are derived from. A key that was set before continues where it
/// was, and needs no proof. Keys are compared by what they derive, however they are written: `first_address` is the
/// first derived address.
pub(crate) async fn put_extended_key(
    conn: &mut Conn,
    key: &ExtendedKey,
    first_address: &str,
    proof: Proof,
) -> Result<ExtendedKey, SetKeyError> {
    merchants::alone(conn, &key.merchant_id).await?;
    let sql = "SELECT id, merchant_id, network, public_key, next_index, created_at, ownership_proven_at FROM extended_key
               WHERE network = $1 AND first_address = $2";
    let known = conn.row(sql, args![&key.network, first_address.to_owned()]).await?;
    let known = known.as_ref().map(read_extended).transpose()?;
    if known.as_ref().is_some_and(|known| known.merchant_id != key.merchant_id) {
        return Err(SetKeyError::Taken);
    }
    if known.is_none() && proof == Proof::Missing {
        return Err(SetKeyError::Unproven);
    }
    let id = known.as_ref().map_or(&key.id, |known| &known.id);
    let sql = "UPDATE extended_key SET replaced_at = $4
               WHERE merchant_id = $1 AND network = $2 AND replaced_at IS NULL AND id <> $3";
    conn.exec(sql, args![&key.merchant_id, &key.network, id, key.created_at]).await?;
    if let Some(mut known) = known {
        conn.exec("UPDATE extended_key SET replaced_at = NULL WHERE id = $1", args![&known.id]).await?;
        if let Proof::Given(at) = proof {
            ownership::prove_key(conn, &known.id, at).await?;
            known.ownership_proven_at = Some(at);
        }
        return Ok(known);
    }
    // Another merchant may be setting it at this moment.
    let sql = "INSERT INTO extended_key (id, merchant_id, network, public_key, first_address, next_index, life, created_at,
                                         ownership_proven_at)
               VALUES ($1, $2, $3, $4, $5, $6, (SELECT COALESCE(MAX(life), 0) FROM installation), $7, $8)
               ON CONFLICT DO NOTHING RETURNING id";
    let args = args![
        &key.id,
        &key.merchant_id,
        &key.network,
        &key.public_key,
        first_address.to_owned(),
        key.next_index,
        key.created_at,
        proof.at()
    ];
    conn.row(sql, args).await?.ok_or(SetKeyError::Taken)?;
    Ok(ExtendedKey { ownership_proven_at: proof.at(), ..key.clone() })
}

pub(crate) async fn extended_key_of(
    conn: &mut Conn,
    merchant_id: &MerchantId,
    network: &str,
) -> Result<Option<ExtendedKey>, DbError> {
    let sql = "SELECT id, merchant_id, network, public_key, next_index, created_at, ownership_proven_at FROM extended_key
               WHERE merchant_id = $1 AND network = $2 AND replaced_at IS NULL";
    let args = args![merchant_id, network.to_owned()];
    conn.row(sql, args).await?.as_ref().map(read_extended).transpose()
}

pub(crate) async fn extended_keys(conn: &mut Conn, tenant: &Tenant) -> Result<Vec<ExtendedKey>, DbError> {
    let sql = "SELECT id, merchant_id, network, public_key, next_index, created_at, ownership_proven_at FROM extended_key
               WHERE merchant_id = $1 AND replaced_at IS NULL
                 AND network IN (SELECT name FROM network WHERE test = $2) ORDER BY network";
    conn.rows(sql, args![&tenant.merchant, tenant.mode]).await?.iter().map(read_extended).collect()
}

/// Takes the next child index of a key: no other caller gets the same one. In a new life of the database, `left_out`
/// children are skipped first. `None` if there is no such key.
pub(crate) async fn next_index(
    conn: &mut Conn,
    extended_key_id: &ExtendedKeyId,
    life: i64,
    left_out: i64,
) -> Result<Option<i64>, DbError> {
    let sql = "UPDATE extended_key SET life = $2,
                   next_index = next_index + 1 + CASE WHEN life = $2 THEN 0 ELSE $3 END
               WHERE id = $1 RETURNING next_index - 1 AS taken";
    let row = conn.row(sql, args![extended_key_id, life, left_out]).await?;
    row.map(|row| row.int("taken")).transpose()
}

/// Marks the children of a key below `to` as used.
pub(crate) async fn step_over(
    conn: &mut Conn,
    extended_key_id: &ExtendedKeyId,
    to: i64,
) -> Result<(), DbError> {
    let sql = "UPDATE extended_key SET next_index = $2 WHERE id = $1 AND next_index < $2";
    conn.exec(sql, args![extended_key_id, to]).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
