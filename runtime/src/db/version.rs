//! Versions of the schema: the migrations that make them, and which one a database has.

use std::path::Path;

use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, SqlSafeStr as _, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
    postgres::PgConnectOptions,
    sqlite::SqliteConnectOptions,
};

use super::{DbError, conn};

include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// The migrations, in one history for both databases, with the parts for one database only, which begin with `begins`.
/// Checksums are those of the files.
pub(super) fn migrations(begins: &'static str) -> Migrator {
    let ours = |&(version, description, file): &(i64, &'static str, &'static str)| {
        let whole =
            Migration::new(version, description.into(), MigrationType::Simple, file.into_sql_str(), false);
        Migration { sql: AssertSqlSafe(conn::only_for(begins, file)).into_sql_str(), ..whole }
    };
    Migrator::with_migrations(FILES.iter().map(ours).collect())
}

/// The schema version of this program.
pub(crate) fn known() -> i64 {
    FILES.iter().map(|(version, ..)| *version).max().unwrap_or(0)
}

/// The schema version of the database at this URL (see [`super::Db::open`]), asked without changing it; 0 if it is
/// empty or missing.
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
