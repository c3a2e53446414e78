//! Every column in which a sealed value is kept, and how all of them are sealed anew with another master key.

use crate::{
    db::{Conn, Db, DbError, args, hooks::secrets, idempotency},
    vault::{MasterKeyId, Vault},
};

/// Number of rows that are sealed anew in one transaction.
const PAGE: i64 = 100;

/// A column of sealed values. In its statements `$1` is the prefix of values that the newest key has sealed, and `$2`
/// the prefix of JSON: stored answers are sealed only if they show a secret.
struct SealedColumn {
    left: &'static str,
    /// Selects rows after the key `$3`, `$4`, as `a`, `b` and `sealed`.
    page: &'static str,
    /// Replaces `$3` by `$4` in the row of the key `$1`, `$2`.
    put: &'static str,
    /// Returns the text that the value in the row of this key is sealed for.
    sealed_for: fn(&str, &str) -> String,
}

macro_rules! sealed {
    ($table:literal, $column:literal, $a:literal, $b:literal, $sealed_for:expr) => {
        SealedColumn {
            left: concat!(
                "SELECT COUNT(*) AS n FROM ",
                $table,
                " WHERE substr(",
                $column,
                ", 1, 7) <> $1 AND substr(",
                $column,
                ", 1, 1) <> $2"
            ),
            page: concat!(
                "SELECT ",
                $a,
                " AS a, ",
                $b,
                " AS b, ",
                $column,
                " AS sealed FROM ",
                $table,
                " WHERE substr(",
                $column,
                ", 1, 7) <> $1 AND substr(",
                $column,
                ", 1, 1) <> $2 AND (",
                $a,
                ", ",
                $b,
                ") > ($3, $4) ORDER BY 1, 2 LIMIT $5"
            ),
            put: concat!(
                "UPDATE ",
                $table,
                " SET ",
                $column,
                " = $4 WHERE ",
                $a,
                " = $1 AND ",
                $b,
                " = $2 AND ",
                $column,
                " = $3"
            ),
            sealed_for: $sealed_for,
        }
    };
}

const COLUMNS: [SealedColumn; 5] = [
    sealed!("endpoint", "secret", "id", "''", |id, _| id.to_owned()),
    sealed!("endpoint", "old_secret", "id", "''", |id, _| id.to_owned()),
    sealed!("upstream", "sealed", "id", "''", |id, _| id.to_owned()),
    sealed!("hook_secret", "value", "id", "purpose", secrets::sealed_for_text),
    sealed!("idempotency", "body", "owner", "key", idempotency::sealed_for),
];

/// Number of values that other keys have sealed.
pub(crate) async fn left(conn: &mut Conn, newest: MasterKeyId) -> Result<i64, DbError> {
    let mut left = 0;
    for column in &COLUMNS {
        let row = conn.row(column.left, args![newest.prefix(), b"{".to_vec()]).await?;
        left += row.map_or(Ok(0), |row| row.int("n"))?;
    }
    Ok(left)
}

/// Seals anew the values that other keys than the newest have sealed. A value that does not open stays and is logged;
/// one that was changed meanwhile is left for the next time. Returns the number of values sealed anew.
pub(crate) async fn renew(db: &Db, vault: &Vault) -> Result<usize, DbError> {
    let mut renewed = 0;
    let begins = vault.seals().id().prefix();
    for column in &COLUMNS {
        let (mut a, mut b) = (String::new(), String::new());
        loop {
            let key = args![begins.clone(), b"{".to_vec(), a.clone(), b.clone(), PAGE];
            let rows = db.read().await?.rows(column.page, key).await?;
            let mut anew = Vec::with_capacity(rows.len());
            for row in &rows {
                (a, b) = (row.text("a")?, row.text("b")?);
                let (row_id, old) = ((column.sealed_for)(&a, &b), row.blob("sealed")?);
                match vault.open(&row_id, &old).and_then(|secret| vault.seal(&row_id, &secret)) {
                    Ok(new) => anew.push((a.clone(), b.clone(), old, new)),
                    Err(error) => tracing::error!(row = a, %error, "a value could not be sealed anew"),
                }
            }
            if rows.is_empty() {
                break;
            }
            renewed += anew.len();
            db.write::<_, DbError, _>(move |conn| {
                Box::pin(async move {
                    for (a, b, old, new) in anew.clone() {
                        conn.exec(column.put, args![a, b, old, new]).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        }
    }
    Ok(renewed)
}
