//! SQLite: one writer with group commit, readers beside it, checkpoints off the commit path.

mod readers;

use std::{path::Path, sync::Arc, time::Duration};

use sqlx::{
    Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::sync::{mpsc, oneshot};

use super::{Conn, DbError, Done, Job, Lane, REQUEST_READ_TIME, REQUEST_READS_MAX, Tell, Writes, crash, job};
pub(super) use readers::Reader;
use readers::Readers;

#[cfg(feature = "simulation")]
pub(crate) mod simulated;

/// Maximum number of writes that share one commit. More would make the first of them wait longer than the disk does.
const WRITES_PER_COMMIT: usize = 256;
/// Maximum number of workers that read at once.
const WORKER_READS_MAX: usize = 8;
/// Maximum number of writes that wait. Beyond it callers wait for a permit, which slows them to the disk's pace.
const WRITES_WAITING: usize = 4096;
/// The first version without the WAL-reset corruption (sqlite.org/changes.html).
const OLDEST: (u32, u32, u32) = (3, 51, 3);
/// Prefix of a part of a migration that is for SQLite only.
const FOR_SQLITE: &str = "/*sqlite:";
const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);

#[derive(Clone)]
pub(super) struct Sqlite {
    /// Connections of the workers.
    readers: Readers,
    /// Connections of requests.
    for_requests: Readers,
    writer: mpsc::Sender<Job>,
}

impl Sqlite {
    pub(super) async fn open(path: &Path, writes: Writes) -> Result<Self, DbError> {
        let options = options(path);
        let mut writer = SqliteConnection::connect_with(&options).await?;
        check_version(&mut writer).await?;
        crate::db::version::migrations(FOR_SQLITE).run(&mut writer).await?;
        // Each has a cache of its own; the system's cache is shared.
        let reading = options.clone().read_only(true).pragma("cache_size", "-16384");
        let for_requests = Readers::new(reading.clone(), REQUEST_READS_MAX, Some(REQUEST_READ_TIME));
        let readers = Readers::new(reading, WORKER_READS_MAX, None);
        let (sender, jobs) = mpsc::channel(WRITES_WAITING);
        tokio::spawn(write_loop(Conn::writer_sqlite(writer), jobs, writes));
        tokio::spawn(checkpoint_loop(SqliteConnection::connect_with(&options).await?, sender.downgrade()));
        Ok(Self { readers, for_requests, writer: sender })
    }

    pub(super) async fn read(&self, lane: Lane) -> Result<Conn, DbError> {
        let readers = match lane {
            Lane::Workers => &self.readers,
            Lane::Requests => &self.for_requests,
        };
        Ok(Conn::reader_sqlite(readers.take().await?))
    }

    /// Gives a write to the writer, which tells whether it was committed.
    pub(super) async fn begin(&self, job: Job) -> Result<(), DbError> {
        self.writer.send(job).await.map_err(|_| DbError::Closed)
    }

    pub(super) async fn close(&self) {
        // An empty write behind all others: when it is answered, they are committed.
        let (answer, answered) = oneshot::channel();
        let empty = job::<(), DbError, _>(|_| Box::pin(async { Ok(()) }), answer);
        if self.begin(empty).await.is_ok() {
            let _ = answered.await;
        }
        self.readers.close().await;
        self.for_requests.close().await;
    }
}

/// The options of every connection.
pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .statement_cache_capacity(512)
        .pragma("wal_autocheckpoint", "0")
        .pragma("cache_size", "-65536")
        .pragma("journal_size_limit", "67108864")
}

async fn check_version(conn: &mut SqliteConnection) -> Result<(), DbError> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(conn).await?;
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    if (next(), next(), next()) < OLDEST {
        return Err(DbError::SqliteTooOld(version));
    }
    Ok(())
}

/// Runs the only writer. All writes that wait when a commit has ended go into the next one.
async fn write_loop(mut conn: Conn, mut jobs: mpsc::Receiver<Job>, writes: Writes) {
    let mut batch = Vec::with_capacity(WRITES_PER_COMMIT);
    while jobs.recv_many(&mut batch, WRITES_PER_COMMIT).await > 0 {
        let mut told = Vec::with_capacity(batch.len());
        // Callers of writes that were not begun learn of it when these are dropped: not before the reason is known.
        let mut left = batch.drain(..);
        let committed = write_batch(&mut conn, &mut left, &mut told).await;
        match &committed {
            Ok(()) => writes.committed(),
            Err(error) => {
                writes.failed(error);
                // Without an open transaction this fails, which does no harm.
                let _ = conn.exec("ROLLBACK", Vec::new()).await;
            }
        }
        drop(left);
        let committed = committed.map_err(Arc::new);
        for tell in told {
            tell(committed.clone().map_err(DbError::Shared));
        }
    }
}

async fn write_batch(
    conn: &mut Conn,
    batch: &mut impl ExactSizeIterator<Item = Job>,
    told: &mut Vec<Tell>,
) -> Result<(), DbError> {
    conn.exec("BEGIN IMMEDIATE", Vec::new()).await?;
    // Mostly there is a single write, which needs no savepoint.
    let alone = batch.len() == 1;
    for job in batch {
        if alone {
            let Done { keep, tell } = job(conn).await;
            told.push(tell);
            if keep {
                break;
            }
            conn.exec("ROLLBACK", Vec::new()).await?;
            return Ok(());
        }
        conn.exec("SAVEPOINT job", Vec::new()).await?;
        let Done { keep, tell } = job(conn).await;
        told.push(tell);
        if !keep {
            conn.exec("ROLLBACK TO job", Vec::new()).await?;
        }
        conn.exec("RELEASE job", Vec::new()).await?;
    }
    let commit = crash::before_commit()?;
    conn.exec("COMMIT", Vec::new()).await?;
    crash::after_commit(commit)?;
    Ok(())
}

/// Moves the log into the database file beside the commits, never inside one.
async fn checkpoint_loop(mut conn: SqliteConnection, writer: mpsc::WeakSender<Job>) {
    let mut failing = false;
    while writer.upgrade().is_some() {
        tokio::time::sleep(CHECKPOINT_EVERY).await;
        let done = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut conn).await;
        if let (Err(error), false) = (&done, failing) {
            tracing::warn!(%error, "checkpoint failed; the log grows until one succeeds");
        }
        failing = done.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A credited transfer, in the tables of the time before payments had parts.
    const OLDER: &str = "
        INSERT INTO merchant (id, name, policy, created_at) VALUES ('mer', 'm', '{}', 1);
        INSERT INTO network (name, plugin, manifest, test, enabled, created_at) VALUES ('net', 'p', '{}', 1, 1, 1);
        INSERT INTO asset (id, network, symbol, decimals) VALUES ('net:a', 'net', 'A', 6);
        INSERT INTO receive_address (id, merchant_id, network, address, key, kind, seq, created_at)
            VALUES ('adr', 'mer', 'net', 'x', x'01', 'shared', 1, 1);
        INSERT INTO transfer (id, network, tx, ordinal, asset_id, address_id, merchant_id, amount, height, block_hash,
            block_time, status, epoch, seen_at)
            VALUES ('trf', 'net', 't', 0, 'net:a', 'adr', 'mer', '5', 1, 'h', 1, 'confirmed', 1, 1);
        INSERT INTO payment (id, transfer_id, merchant_id, address_id, asset_id, amount, status, exception, epoch,
            created_at, credited_at) VALUES ('pay', 'trf', 'mer', 'adr', 'net:a', '5', 'credited', 'none', 1, 1, 2);
        INSERT INTO journal (id, transfer_id, epoch, kind, at) VALUES ('jrn', 'trf', 1, 'credit', 2);
        INSERT INTO ledger_entry VALUES ('jrn', 1, 'chain:adr', 'net:a', '5'), ('jrn', 2, 'customer:adr', 'net:a', '-5');
    ";

    #[tokio::test]
    async fn an_older_database_keeps_its_money() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kassa.db");
        let mut older = SqliteConnection::connect_with(&options(&path)).await.unwrap();
        let before = crate::db::version::migrations(FOR_SQLITE)
            .iter()
            .filter(|one| one.version < 3)
            .cloned()
            .collect();
        sqlx::migrate::Migrator::with_migrations(before).run(&mut older).await.unwrap();
        sqlx::raw_sql(OLDER).execute(&mut older).await.unwrap();
        older.close().await.unwrap();

        let sqlite = Sqlite::open(&path, Writes::default()).await.unwrap();
        let mut conn = sqlite.read(Lane::Workers).await.unwrap();
        let sql = "SELECT p.part, p.amount, p.credited_at, j.part AS of_journal, e.account, e.amount AS entry
                   FROM payment p
                   JOIN journal j ON j.transfer_id = p.transfer_id
                   JOIN ledger_entry e ON e.journal_id = j.id ORDER BY e.line";
        let rows = conn.rows(sql, Vec::new()).await.unwrap();
        let read = |row: &crate::db::Row| {
            let parts = (row.int("part").unwrap(), row.int("of_journal").unwrap());
            assert_eq!((parts, row.int("credited_at").unwrap()), ((0, 0), 2));
            assert_eq!(row.text("amount").unwrap(), "5");
            (row.text("account").unwrap(), row.text("entry").unwrap())
        };
        let entries: Vec<_> = rows.iter().map(read).collect();
        let entry = |account: &str, amount: &str| (account.to_owned(), amount.to_owned());
        assert_eq!(entries, [entry("chain:adr", "5"), entry("customer:adr", "-5")]);
        assert!(conn.rows("PRAGMA foreign_key_check", Vec::new()).await.unwrap().is_empty());
    }
}
