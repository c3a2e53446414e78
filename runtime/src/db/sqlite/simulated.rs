//! A database in memory for simulations, which is set to what a file holds as often as one likes. Its connections stay,
//! and so do the statements that they have prepared.

use std::{fmt::Write as _, path::Path, str::FromStr as _};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::mpsc;

use super::{Conn, Readers, Sqlite, WRITES_WAITING, write_loop};
use crate::db::{Db, DbError, Inner, Lane, Writes};

/// The database, and the statements that fill and empty it.
pub(crate) struct InMemory {
    pub(crate) db: Db,
    conn: SqliteConnection,
    tables: Vec<String>,
    /// Statements that give it the template's contents.
    begin_anew: String,
}

impl InMemory {
    /// Makes a database with the tables of this file, all empty.
    pub(crate) async fn like(template: &Path) -> Result<Self, DbError> {
        // It exists as long as one of its connections does.
        let options = SqliteConnectOptions::from_str("sqlite::memory:")?
            .statement_cache_capacity(512)
            .pragma("read_uncommitted", "1");
        let mut conn = SqliteConnection::connect_with(&options.clone().foreign_keys(false)).await?;
        attach(&mut conn, "template", template).await?;
        let sql = "SELECT type, name, sql FROM template.sqlite_master WHERE sql IS NOT NULL ORDER BY rowid";
        let all: Vec<(String, String, String)> = sqlx::query_as(sql).fetch_all(&mut conn).await?;
        let mut tables = Vec::new();
        for (kind, name, sql) in all.into_iter().filter(|(_, name, _)| !name.starts_with("sqlite_")) {
            conn.execute(AssertSqlSafe(sql)).await?;
            if kind == "table" {
                tables.push(name);
            }
        }
        let writer = SqliteConnection::connect_with(&options.clone().foreign_keys(true)).await?;
        let readers = Readers::new(options, 2, None);
        let (sender, jobs) = mpsc::channel(WRITES_WAITING);
        let writes = Writes::default();
        tokio::spawn(write_loop(Conn::writer_sqlite(writer), jobs, writes.clone()));
        let sqlite = Sqlite { for_requests: readers.clone(), readers, writer: sender };
        let db = Db { inner: Inner::Sqlite(sqlite), lane: Lane::Workers, writes };
        let begin_anew = filled_from("template", &tables);
        Ok(Self { db, conn, tables, begin_anew })
    }

    /// Gives it the template's contents.
    pub(crate) async fn begin_anew(&mut self) -> Result<(), DbError> {
        self.conn.execute(sqlx::query(AssertSqlSafe(self.begin_anew.clone()))).await?;
        Ok(())
    }

    /// Gives it the contents of this file.
    pub(crate) async fn load(&mut self, file: &Path) -> Result<(), DbError> {
        attach(&mut self.conn, "file", file).await?;
        let filled = self.conn.execute(AssertSqlSafe(filled_from("file", &self.tables))).await;
        self.conn.execute("DETACH file").await?;
        filled?;
        Ok(())
    }

    /// Writes it to this file, which must not exist yet.
    pub(crate) async fn save(&mut self, file: &Path) -> Result<(), DbError> {
        copy(&mut self.conn, file).await
    }
}

/// Copies a database file that nobody writes to, as one that needs no log.
pub(crate) async fn copy_file(from: &Path, to: &Path) -> Result<(), DbError> {
    let mut conn = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(from)).await?;
    copy(&mut conn, to).await
}

async fn copy(conn: &mut SqliteConnection, to: &Path) -> Result<(), DbError> {
    sqlx::query("VACUUM INTO $1").bind(uri(to, "rwc")).execute(conn).await?;
    Ok(())
}

async fn attach(conn: &mut SqliteConnection, name: &str, file: &Path) -> Result<(), DbError> {
    let sql = format!("ATTACH $1 AS {name}");
    sqlx::query(AssertSqlSafe(sql)).bind(uri(file, "ro")).execute(conn).await?;
    Ok(())
}

/// The URI of a file on disk: a bare path would be opened in memory, as the connection's own database is.
fn uri(file: &Path, mode: &str) -> String {
    format!("file:{}?mode={mode}&cache=private", file.display())
}

/// Statements that empty these tables and fill them from an attached database.
fn filled_from(attached: &str, tables: &[String]) -> String {
    let mut sql = "BEGIN;".to_owned();
    for name in tables {
        let _ =
            write!(sql, "DELETE FROM main.{name}; INSERT INTO main.{name} SELECT * FROM {attached}.{name};");
    }
    sql + "COMMIT"
}
