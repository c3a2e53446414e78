//! Which version of the schema a database has, asked without changing it.

use std::path::Path;

use sqlx::{
    Connection as _, PgConnection, SqliteConnection, postgres::PgConnectOptions, sqlite::SqliteConnectOptions,
};

use super::{DbError, MIGRATIONS};

/// The schema version of this program.
pub(crate) fn known() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The schema version of the database at this URL (see [`super::Db::open`]); 0 if it is empty or missing.
pub(crate) async fn applied(url: &str) -> Result<i64, DbError> {
    const NEWEST: &str = "SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations WHERE success";
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        let options: PgConnectOptions = url.parse()?;
        let mut conn = PgConnection::connect_with(&options).await?;
        let there = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
        let there: bool = sqlx::query_scalar(there).fetch_one(&mut conn).await?;
        return Ok(if there { sqlx::query_scalar(NEWEST).fetch_one(&mut conn).await? } else { 0 });
    }
    if !Path::new(url).exists() {
        return Ok(0);
    }
    let mut conn = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(url)).await?;
    let there = "SELECT COUNT(*) > 0 FROM sqlite_master WHERE name = '_sqlx_migrations'";
    let there: bool = sqlx::query_scalar(there).fetch_one(&mut conn).await?;
    Ok(if there { sqlx::query_scalar(NEWEST).fetch_one(&mut conn).await? } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;

    #[tokio::test]
    async fn a_database_has_no_version_until_it_is_opened() {
        let file = std::env::temp_dir().join(format!("kassa-version-{}.db", std::process::id()));
        let url = file.display().to_string();
        assert_eq!(applied(&url).await.unwrap(), 0);
        std::fs::write(&file, "").unwrap();
        assert_eq!(applied(&url).await.unwrap(), 0);
        Db::open(&url).await.unwrap().close().await;
        assert_eq!(applied(&url).await.unwrap(), known());
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{url}{suffix}"));
        }
    }
}
