//! Whether the database takes writes, and what is in the way if it does not.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::DbError;

/// Reason that nobody can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("its disk is full")]
    Full,
    #[error("another process holds its lock")]
    Locked,
    #[error("it may only be read")]
    ReadOnly,
    #[error("its files cannot be written or read")]
    Broken,
    #[error("it does not answer")]
    Unreachable,
}

impl DbError {
    /// The trouble that a person has to look at; `None` if the error concerns this request alone.
    #[must_use]
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        match self.cause() {
            Self::CannotWrite(trouble) => Some(*trouble),
            Self::Sqlx(sqlx::Error::Database(error)) => error.code().and_then(|code| of_code(&code)),
            Self::Sqlx(sqlx::Error::Io(_)) => Some(Trouble::Unreachable),
            _ => None,
        }
    }
}

/// Reads SQLite's (extended) result code, or PostgreSQL's SQLSTATE of five characters.
fn of_code(code: &str) -> Option<Trouble> {
    if code.len() == 5 {
        return match code {
            "53100" => Some(Trouble::Full),
            "25006" => Some(Trouble::ReadOnly),
            "58030" => Some(Trouble::Broken),
            "57P01" | "57P02" | "57P03" => Some(Trouble::Unreachable),
            _ => None,
        };
    }
    // The lower byte is the kind.
    match code.parse::<u32>().ok()? & 0xff {
        // This process has one writer, so another process holds the lock.
        5 => Some(Trouble::Locked),
        8 => Some(Trouble::ReadOnly),
        10 | 11 | 14 => Some(Trouble::Broken),
        13 => Some(Trouble::Full),
        _ => None,
    }
}

/// The outcome of the last writes of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Writes(Arc<State>);

struct State {
    began: Instant,
    /// Time of the last commit, milliseconds since `began`.
    written: AtomicU64,
    /// Time at which a connection was last had, milliseconds since `began`.
    reached: AtomicU64,
    trouble: Mutex<Option<Trouble>>,
}

impl Default for Writes {
    fn default() -> Self {
        let state = State {
            began: Instant::now(),
            written: AtomicU64::new(0),
            reached: AtomicU64::new(0),
            trouble: Mutex::new(None),
        };
        Self(Arc::new(state))
    }
}

impl Writes {
    /// Time since the last commit, or since this process began.
    #[must_use]
    pub(crate) fn age(&self) -> Duration {
        self.since(&self.0.written)
    }

    /// The trouble since then, if the last write has failed.
    #[must_use]
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        *self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn committed(&self) {
        self.0.written.store(self.now(), Ordering::Relaxed);
        self.set(None);
    }

    pub(super) fn failed(&self, error: &DbError) {
        if let Some(trouble) = error.trouble() {
            self.set(Some(trouble));
        }
    }

    pub(super) fn reached(&self) {
        self.0.reached.store(self.now(), Ordering::Relaxed);
    }

    /// Turns an error of a pool into one of ours: while others get connections, the database is merely busy.
    pub(super) fn explain(&self, error: sqlx::Error, waited: Duration) -> DbError {
        let nobody = self.since(&self.0.reached) >= waited;
        match error {
            sqlx::Error::PoolTimedOut if nobody => DbError::CannotWrite(Trouble::Unreachable),
            error => error.into(),
        }
    }

    fn set(&self, trouble: Option<Trouble>) {
        *self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn since(&self, at: &AtomicU64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(at.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, Executor as _, SqliteConnection};

    use super::*;
    use crate::{
        db::{Db, installation, sqlite},
        http::problem::Problem,
    };

    #[test]
    fn codes_are_told_apart() {
        for (code, expected) in [
            ("5", Some(Trouble::Locked)),
            ("517", Some(Trouble::Locked)),
            ("8", Some(Trouble::ReadOnly)),
            ("778", Some(Trouble::Broken)),
            ("13", Some(Trouble::Full)),
            ("53100", Some(Trouble::Full)),
            ("57P03", Some(Trouble::Unreachable)),
            // A row that exists already, a conflict of two transactions, too many clients.
            ("2067", None),
            ("40001", None),
            ("53300", None),
            ("", None),
        ] {
            assert_eq!(of_code(code), expected, "{code}");
        }
    }

    async fn alive(db: &Db) -> Result<(), DbError> {
        db.write(|conn| Box::pin(async move { installation::alive(conn, 1).await })).await
    }

    #[tokio::test]
    async fn a_lock_of_another_process_is_said_and_over_when_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kassa.db");
        let db = Db::open(path.to_str().unwrap()).await.unwrap();
        alive(&db).await.unwrap();
        assert_eq!(db.writes().trouble(), None);
        let mut other = SqliteConnection::connect_with(&sqlite::options(&path)).await.unwrap();
        other.execute("BEGIN IMMEDIATE").await.unwrap();
        let error = alive(&db).await.unwrap_err();
        assert_eq!(error.trouble(), Some(Trouble::Locked), "{error}");
        assert_eq!(db.writes().trouble(), Some(Trouble::Locked));
        assert!(db.writes().age() >= Duration::from_secs(4));
        let problem = Problem::from(error);
        assert_eq!((problem.kind.slug(), problem.kind.status().as_u16()), ("cannot_write", 503));
        assert!(problem.detail.contains("another process") && problem.detail.contains("operator"));
        other.execute("ROLLBACK").await.unwrap();
        alive(&db).await.unwrap();
        assert_eq!(db.writes().trouble(), None);
        assert!(db.writes().age() < Duration::from_secs(4));
    }

    #[tokio::test]
    async fn a_full_disk_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(folder.path().join("kassa.db").to_str().unwrap()).await.unwrap();
        // Simulates a full disk: no page more.
        let fill = |pages: &'static str| {
            db.write::<_, DbError, _>(move |conn| {
                Box::pin(async move {
                    conn.rows(pages, vec![]).await?;
                    let large = vec![0; 1 << 20];
                    let sql = "INSERT INTO plugin_storage (scope, key, value) VALUES ('x', $1, $2)";
                    conn.exec(sql, vec![pages.to_owned().into(), large.into()]).await
                })
            })
        };
        let error = fill("PRAGMA max_page_count = 1").await.unwrap_err();
        assert_eq!(error.trouble(), Some(Trouble::Full), "{error}");
        assert!(Problem::from(error).detail.contains("disk is full"));
        fill("PRAGMA max_page_count = 1000000").await.unwrap();
    }
}
