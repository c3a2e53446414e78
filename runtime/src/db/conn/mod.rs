//! A connection, and the few verbs that all SQL here is written in.

#[cfg(test)]
pub(crate) mod cost;

use std::{borrow::Cow, fmt::Write as _};

use sqlx::{
    AssertSqlSafe, Executor, PgConnection, Postgres, Sqlite, SqliteConnection, Transaction,
    pool::PoolConnection,
};

use super::{DbError, Row, Value, sqlite::Reader};

/// Maximum number of rows of one `INSERT … VALUES`: enough to pay for the statement, few enough to keep its text in the
/// cache.
const ROWS_PER_INSERT: usize = 50;
/// Maximum number of members of one `IN (…)`.
const ITEMS_PER_LIST: usize = 200;

/// A connection for reading, or the transaction of a write.
pub(crate) struct Conn {
    inner: Inner,
}

enum Inner {
    SqliteReader(Box<Reader>),
    SqliteWriter(Box<SqliteConnection>),
    PostgresReader(PoolConnection<Postgres>),
    PostgresWriter(Transaction<'static, Postgres>),
}

enum Handle<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl DbError {
    /// True if another was faster: the same work may succeed at once when done again.
    #[must_use]
    pub(crate) fn is_conflict(&self) -> bool {
        match self.cause() {
            Self::Stale(_) => true,
            // SQLITE_BUSY, and PostgreSQL's serialization failure and deadlock.
            Self::Sqlx(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| matches!(code.as_ref(), "5" | "40001" | "40P01"))
            }
            _ => false,
        }
    }

    /// True if the same work may succeed a moment later: a busy or restarting database, two conflicting transactions, a
    /// full disk.
    #[must_use]
    pub(crate) fn is_passing(&self) -> bool {
        match self.cause() {
            Self::Closed | Self::Vanished(_) | Self::CannotWrite(_) => true,
            Self::Sqlx(sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_)) => true,
            // PostgreSQL's shutdown and "too many clients".
            Self::Sqlx(sqlx::Error::Database(error))
                if error
                    .code()
                    .is_some_and(|code| matches!(code.as_ref(), "57P01" | "57P02" | "57P03" | "53300")) =>
            {
                true
            }
            _ => self.is_conflict(),
        }
    }

    /// True if a statement was interrupted because it took too long: SQLITE_INTERRUPT, PostgreSQL's query_canceled.
    #[must_use]
    pub(crate) fn is_too_long(&self) -> bool {
        matches!(self.cause(), Self::Sqlx(sqlx::Error::Database(error))
            if error.code().is_some_and(|code| matches!(code.as_ref(), "9" | "57014")))
    }
}

impl Conn {
    pub(super) fn reader_sqlite(reader: Reader) -> Self {
        Self { inner: Inner::SqliteReader(Box::new(reader)) }
    }

    pub(super) fn writer_sqlite(conn: SqliteConnection) -> Self {
        Self { inner: Inner::SqliteWriter(Box::new(conn)) }
    }

    pub(super) fn reader_postgres(conn: PoolConnection<Postgres>) -> Self {
        Self { inner: Inner::PostgresReader(conn) }
    }

    pub(super) fn writer_postgres(transaction: Transaction<'static, Postgres>) -> Self {
        Self { inner: Inner::PostgresWriter(transaction) }
    }

    pub(super) async fn commit(self) -> Result<(), DbError> {
        if let Inner::PostgresWriter(transaction) = self.inner {
            transaction.commit().await?;
        }
        Ok(())
    }

    /// The handle that runs one statement. Call [`Conn::done`] when the statement has ended.
    fn handle(&mut self) -> Result<Handle<'_>, DbError> {
        Ok(match &mut self.inner {
            Inner::SqliteReader(reader) => Handle::Sqlite(reader.begin().ok_or(DbError::Closed)?),
            Inner::SqliteWriter(conn) => Handle::Sqlite(conn),
            Inner::PostgresReader(conn) => Handle::Postgres(conn),
            Inner::PostgresWriter(conn) => Handle::Postgres(conn),
        })
    }

    fn done(&mut self) {
        if let Inner::SqliteReader(reader) = &mut self.inner {
            reader.done();
        }
    }

    /// Runs a statement. Returns the number of rows that it changed.
    pub(crate) async fn exec(&mut self, sql: &'static str, args: Vec<Value>) -> Result<u64, DbError> {
        self.exec_text(Cow::Borrowed(sql), args).await
    }

    async fn exec_text(&mut self, sql: Cow<'static, str>, args: Vec<Value>) -> Result<u64, DbError> {
        let changed = match self.handle()? {
            Handle::Sqlite(conn) => {
                conn.execute(sqlite_query(sql, args)).await.map(|done| done.rows_affected())
            }
            Handle::Postgres(conn) => {
                conn.execute(postgres_query(&sql, args)).await.map(|done| done.rows_affected())
            }
        };
        self.done();
        Ok(changed?)
    }

    pub(crate) async fn rows(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Vec<Row>, DbError> {
        self.rows_text(Cow::Borrowed(sql), args).await
    }

    async fn rows_text(&mut self, sql: Cow<'static, str>, args: Vec<Value>) -> Result<Vec<Row>, DbError> {
        #[cfg(test)]
        cost::asked(sql.clone(), &args);
        let rows = match self.handle()? {
            Handle::Sqlite(conn) => conn
                .fetch_all(sqlite_query(sql, args))
                .await
                .map(|rows| rows.into_iter().map(Row::Sqlite).collect()),
            Handle::Postgres(conn) => conn
                .fetch_all(postgres_query(&sql, args))
                .await
                .map(|rows| rows.into_iter().map(Row::Postgres).collect()),
        };
        self.done();
        Ok(rows?)
    }

    /// The first row, if there is one.
    pub(crate) async fn row(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Option<Row>, DbError> {
        #[cfg(test)]
        cost::asked(Cow::Borrowed(sql), &args);
        let row = match self.handle()? {
            Handle::Sqlite(conn) => conn
                .fetch_optional(sqlite_query(Cow::Borrowed(sql), args))
                .await
                .map(|row| row.map(Row::Sqlite)),
            Handle::Postgres(conn) => {
                conn.fetch_optional(postgres_query(sql, args)).await.map(|row| row.map(Row::Postgres))
            }
        };
        self.done();
        Ok(row?)
    }

    /// Runs `head VALUES (…), (…) tail` for any number of rows, in as few statements as possible.
    pub(crate) async fn insert_many(
        &mut self,
        head: &'static str,
        rows: Vec<Vec<Value>>,
        tail: &'static str,
    ) -> Result<u64, DbError> {
        let mut changed = 0;
        for (sql, args) in inserts(head, rows, tail) {
            changed += self.exec_text(sql, args).await?;
        }
        Ok(changed)
    }

    /// As [`Conn::insert_many`], with a `tail` that ends in `RETURNING`.
    pub(crate) async fn insert_many_returning(
        &mut self,
        head: &'static str,
        rows: Vec<Vec<Value>>,
        tail: &'static str,
    ) -> Result<Vec<Row>, DbError> {
        let mut found = Vec::new();
        for (sql, args) in inserts(head, rows, tail) {
            found.extend(self.rows_text(sql, args).await?);
        }
        Ok(found)
    }

    /// Runs `head ($1, $2, …) tail` for any number of items, in as few statements as possible; `head` ends in `IN`.
    pub(crate) async fn rows_in(
        &mut self,
        head: &'static str,
        items: Vec<Value>,
        tail: &'static str,
    ) -> Result<Vec<Row>, DbError> {
        self.rows_in_with(head, Vec::new(), items, tail).await
    }

    /// As [`Conn::rows_in`], with the first arguments fixed: `WHERE network = $1 AND address IN`.
    pub(crate) async fn rows_in_with(
        &mut self,
        head: &'static str,
        fixed: Vec<Value>,
        items: Vec<Value>,
        tail: &'static str,
    ) -> Result<Vec<Row>, DbError> {
        let mut found = Vec::new();
        for (sql, args) in lists(head, fixed, items, tail) {
            found.extend(self.rows_text(sql, args).await?);
        }
        Ok(found)
    }

    /// As [`Conn::rows_in`], for a statement that changes rows.
    pub(crate) async fn exec_in(
        &mut self,
        head: &'static str,
        items: Vec<Value>,
        tail: &'static str,
    ) -> Result<u64, DbError> {
        let mut changed = 0;
        for (sql, chunk) in lists(head, Vec::new(), items, tail) {
            changed += self.exec_text(sql, chunk).await?;
        }
        Ok(changed)
    }

    /// The database's own time, milliseconds since 1970: leases are measured by it, since the clocks of replicas
    /// differ.
    pub(crate) async fn now(&mut self) -> Result<i64, DbError> {
        let sql = match &self.inner {
            Inner::SqliteReader(_) | Inner::SqliteWriter(_) => {
                "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS now"
            }
            Inner::PostgresReader(_) | Inner::PostgresWriter(_) => {
                "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) AS now"
            }
        };
        self.row(sql, Vec::new()).await?.map_or(Ok(0), |row| row.int("now"))
    }
}

fn inserts(
    head: &'static str,
    rows: Vec<Vec<Value>>,
    tail: &'static str,
) -> impl Iterator<Item = (Cow<'static, str>, Vec<Value>)> {
    let mut rows = rows.into_iter();
    std::iter::from_fn(move || {
        let chunk: Vec<Vec<Value>> = rows.by_ref().take(ROWS_PER_INSERT).collect();
        if chunk.is_empty() {
            return None;
        }
        let mut sql = format!("{head} VALUES ");
        let mut used = 0;
        for (index, row) in chunk.iter().enumerate() {
            sql.push_str(if index == 0 { "(" } else { ",(" });
            used = placeholders(&mut sql, used, row.len());
            sql.push(')');
        }
        sql.push(' ');
        sql.push_str(tail);
        Some((Cow::Owned(sql), chunk.into_iter().flatten().collect()))
    })
}

fn lists(
    head: &'static str,
    fixed: Vec<Value>,
    items: Vec<Value>,
    tail: &'static str,
) -> impl Iterator<Item = (Cow<'static, str>, Vec<Value>)> {
    let mut items = items.into_iter();
    std::iter::from_fn(move || {
        let mut args = fixed.clone();
        args.extend(items.by_ref().take(ITEMS_PER_LIST));
        if args.len() == fixed.len() {
            return None;
        }
        let mut sql = format!("{head} (");
        placeholders(&mut sql, fixed.len(), args.len() - fixed.len());
        sql.push_str(") ");
        sql.push_str(tail);
        Some((Cow::Owned(sql), args))
    })
}

/// Appends `count` placeholders after the first `used` ones. Returns the number of the last.
fn placeholders(sql: &mut String, used: usize, count: usize) -> usize {
    for number in 1..=count {
        // Writing to a String cannot fail.
        let _ = write!(sql, "{}${}", if number == 1 { "" } else { "," }, used + number);
    }
    used + count
}

type SqliteQuery = sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments>;
type PostgresQuery = sqlx::query::Query<'static, Postgres, sqlx::postgres::PgArguments>;

// Every text here is made of this crate's own literals and placeholder numbers: all outside data is passed as
// arguments. Hence AssertSqlSafe.

fn sqlite_query(sql: Cow<'static, str>, args: Vec<Value>) -> SqliteQuery {
    let mut query = match sql {
        Cow::Borrowed(sql) => sqlx::query(sql),
        Cow::Owned(sql) => sqlx::query(AssertSqlSafe(unnumbered(&sql))),
    };
    for arg in args {
        query = match arg {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Blob(value) => query.bind(value),
        };
    }
    query
}

fn postgres_query(sql: &str, args: Vec<Value>) -> PostgresQuery {
    let mut query = sqlx::query(AssertSqlSafe(only_for("/*pg:", sql)));
    for arg in args {
        query = match arg {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value.map(Cow::into_owned)),
            Value::Blob(value) => query.bind(value),
        };
    }
    query
}

/// Turns `$1, $2, …` into `?, ?, …`. Only for texts made here, whose placeholders stand in order, each once. SQLite
/// takes `$1` for a name, and looks each name up among all others when it prepares a statement and again when it binds:
/// with hundreds of them that was over a third of the time of a large insert.
fn unnumbered(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut parts = sql.split('$');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        out.push('?');
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}

/// Turns `/*pg: X*/` into `X`, for `begins` with `/*pg:`.
pub(super) fn only_for(begins: &str, sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once(begins) {
        out.push_str(before);
        let (inside, behind) = after.split_once("*/").unwrap_or((after, ""));
        out.push_str(inside);
        rest = behind;
    }
    out.push_str(rest);
    out
}
