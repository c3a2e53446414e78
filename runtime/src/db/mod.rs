//! All SQL, one aggregate a file, over one seam for SQLite and PostgreSQL.
//!
//! The cast:
//! - [`Db`] is the database of this process. It hands out two things only:
//! - [`Db::read`], a connection for queries that need no transaction (the workers have connections of their own, and
//!   so have requests, whose statements are broken off after [`REQUEST_READ_TIME`]: nobody who asks holds up what
//!   moves money), and
//! - [`Db::write`], a transaction. On SQLite there is one writer, and writes that wait at the same time share
//!   one `COMMIT` (group commit): each runs in a savepoint of its own, so that one that fails takes nothing
//!   of the others with it, and each is answered only after the commit. On PostgreSQL each write is a
//!   transaction of its own, which the server groups by itself.
//! - [`Conn`] is what both lend: the few verbs that the aggregates are written in.
//!
//! One SQL text serves both databases: placeholders are `$1`, types are `BIGINT`, `TEXT` and `BYTEA`. What only
//! PostgreSQL needs stands in a comment that SQLite skips: `/*pg: FOR UPDATE*/`. In migrations it is also the
//! other way round: `/*sqlite: WITHOUT ROWID*/`.
//!
//! A write runs to its end even when the one who asked for it has gone (a client that hung up): it is never
//! left half done by a dropped future.

pub(crate) mod conn;
pub(crate) mod crash;
mod newest;
mod queue;
mod sqlite;
mod trouble;
mod value;

#[cfg(feature = "simulation")]
pub(crate) use sqlite::simulated;

pub(crate) mod addresses;
pub(crate) mod agreements;
pub(crate) mod alarms;
pub(crate) mod api_keys;
pub(crate) mod balances;
#[cfg(feature = "bench")]
pub(crate) mod bench;
pub(crate) mod chain;
pub(crate) mod corrections;
pub(crate) mod deliveries;
pub(crate) mod disk;
pub(crate) mod endpoints;
pub(crate) mod erasures;
pub(crate) mod events;
pub(crate) mod first_calls;
pub(crate) mod holds;
pub(crate) mod hooks;
pub(crate) mod idempotency;
pub(crate) mod installation;
pub(crate) mod invoices;
pub(crate) mod leases;
pub(crate) mod ledger;
pub(crate) mod master_keys;
pub(crate) mod merchants;
pub(crate) mod networks;
pub(crate) mod ownership;
pub(crate) mod payments;
pub(crate) mod plugin_storage;
pub(crate) mod plugins;
pub(crate) mod readings;
pub(crate) mod rescans;
pub(crate) mod retention;
pub(crate) mod sealed;
pub(crate) mod transfers;
pub(crate) mod version;
pub(crate) mod watch;

use std::{future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, Executor as _, SqlSafeStr as _,
    migrate::{Migration, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::domain::settlement::Disallowed;

pub(crate) use conn::Conn;
pub(crate) use trouble::{Trouble, Writes};
pub(crate) use value::{Row, Value, args};

/// A future that borrows its connection.
pub(crate) type Work<'t, T> = Pin<Box<dyn Future<Output = T> + Send + 't>>;

/// Error of the database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DbError {
    #[error("database: {0}")]
    Sqlx(#[from] sqlx::Error),
    #[error("migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A row holds a value that this program never writes.
    #[error("unreadable value in column {column}: {why}")]
    Unreadable { column: &'static str, why: String },
    /// The writer has stopped, and the process is going down.
    #[error("the database is closed")]
    Closed,
    /// Nobody can write at this moment; a person has to look.
    #[error("the database takes no writes: {0}")]
    CannotWrite(Trouble),
    /// The work itself panicked (a defect); its changes were undone.
    #[error("a database task panicked; its changes were undone")]
    Panicked,
    /// SQLite loses data below version 3.51.3: sqlite.org/wal.html, "WAL-reset".
    #[error("SQLite {0} can lose committed data; 3.51.3 or later is needed")]
    SqliteTooOld(String),
    /// A row that was asked for, or was stored a moment ago, was deleted meanwhile.
    #[error("{0} was deleted meanwhile; try again")]
    Vanished(&'static str),
    /// The bytes of a component that a row names, by their sha256, are not there (a defect).
    #[error("artefact {0} is missing")]
    NoArtefact(String),
    /// A value that JSON cannot hold (a defect).
    #[error("a value cannot be stored: {0}")]
    Unwritable(serde_json::Error),
    /// The facts refuse a decision that was made from them (a defect).
    #[error("the facts refuse a decision: {0}")]
    Refused(#[from] Disallowed),
    /// The one commit of several writes failed.
    #[error(transparent)]
    Shared(#[from] Arc<DbError>),
    /// The data that a write was based on has changed meanwhile; the write was undone. Read again and try again.
    #[error("{0} changed meanwhile; try again")]
    Stale(&'static str),
}

/// The database of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Db {
    inner: Inner,
    lane: Lane,
    writes: Writes,
}

/// The pool of connections to read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Workers,
    Requests,
}

#[derive(Clone)]
enum Inner {
    Sqlite(sqlite::Sqlite),
    Postgres(Pools),
}

#[derive(Clone)]
struct Pools {
    /// Serves all writes, and the workers' reads.
    work: sqlx::PgPool,
    for_requests: sqlx::PgPool,
}

/// Maximum number of requests that read at once.
pub(crate) const REQUEST_READS_MAX: usize = 8;
/// Time after which a request's statement is interrupted: a page of any list takes a hundredth of it.
const REQUEST_READ_TIME: Duration = Duration::from_secs(2);

/// Time that a caller waits for a connection before it is told that the database is busy.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// The same limit, kept by PostgreSQL.
const REQUEST_SETTINGS: &str = "SET statement_timeout = '2s'";

/// The migrations, in one history for both databases.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The migrations, with the parts for one database only, which begin with `begins`. Checksums are those of the files.
fn migrations(begins: &'static str) -> Migrator {
    let ours = |migration: &Migration| {
        let sql = AssertSqlSafe(conn::only_for(begins, migration.sql.as_str()));
        Migration { sql: sql.into_sql_str(), ..migration.clone() }
    };
    Migrator::with_migrations(MIGRATIONS.iter().map(ours).collect())
}

impl DbError {
    /// The error itself, of one that several writes share.
    fn cause(&self) -> &Self {
        match self {
            Self::Shared(error) => error.cause(),
            error => error,
        }
    }

    /// True if a unique value is taken already: another replica was faster.
    #[must_use]
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self.cause(), Self::Sqlx(sqlx::Error::Database(error)) if error.is_unique_violation())
    }
}

impl Db {
    /// Opens `postgres://…`, or else the SQLite file at this path, and brings the schema up to date.
    pub(crate) async fn open(url: &str) -> Result<Self, DbError> {
        let writes = Writes::default();
        let inner = if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options: PgConnectOptions = url.parse()?;
            let work = PgPoolOptions::new()
                .max_connections(16)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect_with(options.clone())
                .await?;
            migrations("/*pg:").run(&work).await?;
            let for_requests = PgPoolOptions::new()
                .max_connections(u32::try_from(REQUEST_READS_MAX).unwrap_or(1))
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .after_connect(|conn, _| Box::pin(async { conn.execute(REQUEST_SETTINGS).await.map(|_| ()) }))
                .connect_lazy_with(options);
            Inner::Postgres(Pools { work, for_requests })
        } else {
            Inner::Sqlite(sqlite::Sqlite::open(Path::new(url), writes.clone()).await?)
        };
        Ok(Self { inner, lane: Lane::Workers, writes })
    }

    /// The same database, read through the connections for requests.
    #[must_use]
    pub(crate) fn for_requests(&self) -> Self {
        Self { lane: Lane::Requests, ..self.clone() }
    }

    /// Name of the database for messages: `sqlite` or `postgres`.
    #[must_use]
    pub(crate) fn kind(&self) -> &'static str {
        match self.inner {
            Inner::Sqlite(_) => "sqlite",
            Inner::Postgres(_) => "postgres",
        }
    }

    /// The outcome of the last writes of this process.
    #[must_use]
    pub(crate) fn writes(&self) -> &Writes {
        &self.writes
    }

    /// A connection for reading. Each query sees what was committed when it starts.
    pub(crate) async fn read(&self) -> Result<Conn, DbError> {
        Ok(match &self.inner {
            Inner::Sqlite(sqlite) => sqlite.read(self.lane).await?,
            Inner::Postgres(pools) => {
                let pool = match self.lane {
                    Lane::Workers => &pools.work,
                    Lane::Requests => &pools.for_requests,
                };
                let conn =
                    pool.acquire().await.map_err(|error| self.writes.explain(error, ACQUIRE_TIMEOUT))?;
                self.writes.reached();
                Conn::reader_postgres(conn)
            }
        })
    }

    /// Runs `work` in a transaction, commits it on `Ok` and undoes it on `Err`.
    pub(crate) async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: for<'t> FnOnce(&'t mut Conn) -> Work<'t, Result<T, E>> + Send + 'static,
    {
        match &self.inner {
            Inner::Sqlite(sqlite) => sqlite.write(work).await,
            Inner::Postgres(pools) => {
                let (pool, writes) = (pools.work.clone(), self.writes.clone());
                // Runs in a task of its own: a caller that goes away does not stop it half way.
                tokio::spawn(async move {
                    let failed = |error: DbError| {
                        writes.failed(&error);
                        error
                    };
                    let begun = pool.begin().await.map_err(|error| writes.explain(error, ACQUIRE_TIMEOUT));
                    let mut conn = Conn::writer_postgres(begun.map_err(failed)?);
                    writes.reached();
                    let answer = work(&mut conn).await?;
                    let commit = crash::before_commit()?;
                    conn.commit().await.map_err(failed)?;
                    writes.committed();
                    crash::after_commit(commit)?;
                    Ok(answer)
                })
                .await
                .unwrap_or_else(|_| Err(DbError::Panicked.into()))
            }
        }
    }

    /// Finishes the running work and closes.
    pub(crate) async fn close(&self) {
        match &self.inner {
            Inner::Sqlite(sqlite) => sqlite.close().await,
            Inner::Postgres(pools) => {
                pools.for_requests.close().await;
                pools.work.close().await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
