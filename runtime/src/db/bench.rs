//! For `kassa bench`: SQLite without Kassa, and what a run checks itself by.

use std::path::Path;

use sqlx::{Connection as _, Executor as _, Sqlite, SqliteConnection};

use super::{Conn, Db, DbError, Value, args, sqlite};
use crate::domain::{
    id::{HookId, HookVersionId, Id, MerchantId},
    policy::Policy,
};

/// A database with Kassa's schema, settings and checkpoints, written by one connection and nothing else: no queue, no
/// savepoints, no rows that pass through this process, no look at existing rows.
pub(crate) struct Bare {
    /// Only runs the checkpoints; nothing is written through it.
    _db: Db,
    conn: SqliteConnection,
    /// Number of rows written so far.
    rows: i64,
}

/// Rows number `$1` to `$2`, made by SQLite itself.
macro_rules! numbered {
    ($into:literal, $columns:literal) => {
        concat!(
            $into,
            " WITH RECURSIVE n (i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) SELECT ",
            $columns,
            " FROM n"
        )
    };
}

/// The least that creating an invoice writes: the invoice, its hold and its answer, as long as the real ones.
const INVOICE_ROWS: [&str; 3] = [
    numbered!(
        "INSERT INTO idempotency (owner, key, fingerprint, status, body, created_at)",
        "'mer_01KAN2Q5T4W2J6G0Z8Y3V7X9BC:live', printf('order-%d', i), randomblob(32), 201,
         CAST(printf('%01200d', i) AS BLOB), 1800000000000 + i"
    ),
    numbered!(
        "INSERT INTO hold (key, network, invoice_id, since, until)",
        "printf('adr_01KAN2Q5T4W2J6G0Z8Y3V7X9BC/sandbox:usdt=%d', i * 618033 % 1000000007), 'sandbox',
         printf('inv_%026d', i), 1800000000000, 1800090000000 + i"
    ),
    numbered!(
        "INSERT INTO invoice (id, merchant_id, test, order_id, title, network, asset_id, address_id, matching, currency,
             price, amount, due, status, exception, pending, credited, sequence, payment_uri, policy, sighted, created_at,
             expires_at, held_until)",
        "printf('inv_%026d', i), 'mer_01KAN2Q5T4W2J6G0Z8Y3V7X9BC', 1, printf('order-%d', i), printf('Order %d', i),
         'sandbox', 'sandbox:usdt', 'adr_01KAN2Q5T4W2J6G0Z8Y3V7X9BC', 'amount', 'USD', '12.34', '12340000',
         printf('%d', 12340000 + i), 'new', 'none', '0', '0', 0, printf('sandbox:%080d', i),
         '{\"under_tolerance_bp\":0,\"over_tolerance_bp\":0,\"late\":\"accept\",\"late_window_s\":86400}', 0,
         1800000000000 + i, 1800003600000 + i, 1800090000000 + i"
    ),
];

impl Bare {
    /// Opens it in a file of its own.
    pub(crate) async fn open(path: &Path) -> Result<Self, DbError> {
        let db = Db::open(&path.display().to_string()).await?;
        // Rows refer to nothing: looking references up is not part of the least.
        let options = sqlite::options(path).foreign_keys(false);
        Ok(Self { _db: db, conn: SqliteConnection::connect_with(&options).await?, rows: 0 })
    }

    /// Commits `count` invoices at once, each with its hold and its idempotency key.
    pub(crate) async fn commit_invoices(&mut self, count: i64) -> Result<(), DbError> {
        let (first, last) = (self.rows + 1, self.rows + count);
        self.conn.execute("BEGIN IMMEDIATE").await?;
        for sql in INVOICE_ROWS {
            self.conn.execute(sqlx::query::<Sqlite>(sql).bind(first).bind(last)).await?;
        }
        self.conn.execute("COMMIT").await?;
        self.rows = last;
        Ok(())
    }

    /// Commits one small row.
    pub(crate) async fn commit_one(&mut self) -> Result<(), DbError> {
        self.rows += 1;
        let sql = "INSERT INTO hold (key, network, invoice_id, since, until) VALUES (printf('k%d', $1), 'n', 'i', 1, 1)";
        self.conn.execute(sqlx::query::<Sqlite>(sql).bind(self.rows)).await?;
        Ok(())
    }
}

/// Adds receive addresses with random keys to a network of a SQLite database: number `first` to `last`.
pub(crate) async fn watch_random(
    conn: &mut Conn,
    network: &str,
    merchant_id: &MerchantId,
    first: i64,
    last: i64,
) -> Result<(), DbError> {
    let sql = "INSERT INTO receive_address (id, merchant_id, network, address, key, kind, unique_id, seq, created_at)
         WITH RECURSIVE n (i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)
         SELECT printf('adr_%026d', i), $3, $4, printf('0x%040x', i), randomblob(20), 'customer', printf('u%d', i), i, 0
         FROM n";
    conn.exec(sql, args![first, last, merchant_id, network.to_owned()]).await?;
    Ok(())
}

/// Numbers of rows in a database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) invoices: i64,
    pub(crate) holds: i64,
    pub(crate) credited: i64,
    pub(crate) credits: i64,
    /// Number of journals that have not exactly two entries, or whose entries do not sum to zero.
    pub(crate) unbalanced: i64,
    pub(crate) unmatched: i64,
}

pub(crate) async fn counts(conn: &mut Conn) -> Result<Counts, DbError> {
    // The amounts of a run are far below what a SQLite integer holds.
    let sql = "SELECT (SELECT COUNT(*) FROM invoice) AS invoices, (SELECT COUNT(*) FROM hold) AS holds,
         (SELECT COUNT(*) FROM payment WHERE status = 'credited') AS credited,
         (SELECT COUNT(*) FROM journal WHERE kind = 'credit') AS credits,
         (SELECT COUNT(*) FROM unmatched) AS unmatched,
         (SELECT COUNT(*) FROM (SELECT 1 FROM ledger_entry GROUP BY journal_id
             HAVING COUNT(*) <> 2 OR SUM(CAST(amount AS INTEGER)) <> 0)) AS unbalanced";
    let row = conn.row(sql, args![]).await?.ok_or(DbError::Vanished("the count"))?;
    Ok(Counts {
        invoices: row.int("invoices")?,
        holds: row.int("holds")?,
        credited: row.int("credited")?,
        credits: row.int("credits")?,
        unbalanced: row.int("unbalanced")?,
        unmatched: row.int("unmatched")?,
    })
}

/// Number of events and deliveries that still wait.
pub(crate) async fn undelivered(conn: &mut Conn) -> Result<i64, DbError> {
    let sql = "SELECT (SELECT COUNT(*) FROM dispatch_queue) + (SELECT COUNT(*) FROM delivery_queue) AS n";
    conn.row(sql, args![]).await?.map_or(Ok(0), |row| row.int("n"))
}

/// Number of deliveries that were accepted at their first attempt, which is logged.
pub(crate) async fn delivered(conn: &mut Conn) -> Result<i64, DbError> {
    let sql = "SELECT COUNT(*) AS n FROM delivery d JOIN attempt a ON a.delivery_id = d.id
               WHERE d.state = 'delivered' AND d.attempts = 1 AND a.status BETWEEN 200 AND 299";
    conn.row(sql, args![]).await?.map_or(Ok(0), |row| row.int("n"))
}

/// The id of the hook with this number (from 0) that [`hooks`] adds.
pub(crate) fn hook_id(number: usize) -> HookId {
    HookId::of_body(&format!("{number:026}"))
}

pub(crate) fn hook_version_id(number: usize) -> HookVersionId {
    HookVersionId::of_body(&format!("{number:026}"))
}

pub(crate) fn hook_merchant_id(number: usize) -> MerchantId {
    MerchantId::of_body(&format!("{number:026}"))
}

/// Adds merchants, each with an active hook that runs when an invoice is paid. Each of these artefacts (SHA-256 and
/// bytes) serves one hook; the remaining hooks share the first.
pub(crate) async fn hooks(
    conn: &mut Conn,
    artefacts: Vec<(String, Vec<u8>)>,
    version: &str,
    manifest: &str,
    count: usize,
) -> Result<(), DbError> {
    let sha256: Vec<String> = artefacts.iter().map(|(sha256, _)| sha256.clone()).collect();
    let Some(first) = sha256.first() else { return Ok(()) };
    for (sha256, wasm) in artefacts {
        super::plugins::keep_artefact(conn, &sha256, wasm, 0).await?;
    }
    let rows = |row: &dyn Fn(usize) -> Vec<Value>| (0..count).map(row).collect::<Vec<_>>();
    let merchants = rows(&|number| {
        let policy = serde_json::to_string(&Policy::default()).unwrap_or_default();
        args![hook_merchant_id(number), format!("Shop {number}"), policy, 0_i64]
    });
    conn.insert_many("INSERT INTO merchant (id, name, policy, created_at)", merchants, "").await?;
    let hooks = rows(&|number| {
        args![
            hook_id(number),
            hook_merchant_id(number),
            false,
            "license-keys",
            hook_version_id(number),
            1_i64,
            r#"{"events":["invoice.paid"]}"#,
            "{}",
            "active",
            0_i64,
            0_i64,
        ]
    });
    let into = "INSERT INTO hook (id, merchant_id, test, name, active_id, generation,
                    binding, settings, state, failures, created_at)";
    conn.insert_many(into, hooks, "").await?;
    let roles = rows(&|number| args![hook_id(number), "fulfiller"]);
    conn.insert_many("INSERT INTO hook_role (hook_id, role)", roles, "").await?;
    let versions = rows(&|number| {
        let sha256 = sha256.get(number).unwrap_or(first);
        args![
            hook_version_id(number),
            hook_id(number),
            version.to_owned(),
            sha256,
            manifest.to_owned(),
            0_i64
        ]
    });
    let into = "INSERT INTO hook_version (id, hook_id, version, sha256, manifest, created_at)";
    conn.insert_many(into, versions, "").await?;
    Ok(())
}

/// Number of calls of hooks' runs so far.
pub(crate) async fn hook_attempts(conn: &mut Conn) -> Result<i64, DbError> {
    conn.row("SELECT COUNT(*) AS n FROM hook_attempt", args![]).await?.map_or(Ok(0), |row| row.int("n"))
}
