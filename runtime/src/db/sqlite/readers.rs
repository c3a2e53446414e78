//! Connections of SQLite that are read from.
//!
//! A statement is broken off when it takes too long, and when nobody waits for it any more: SQLite would go on
//! otherwise, however long it takes, with a connection that others wait for. It asks after every so many of its own
//! steps whether it should.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::db::{ACQUIRE_TIMEOUT, DbError};

/// Number of steps of SQLite's virtual machine between two looks at the clock: some ten microseconds.
const STEPS_PER_LOOK: i32 = 1000;
const NEVER: u64 = u64::MAX;

/// A pool of connections, opened when they are needed.
#[derive(Clone)]
pub(super) struct Readers {
    options: Arc<SqliteConnectOptions>,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connected>>>,
    /// Maximum time for which a connection may be kept; `None` for no limit.
    longest: Option<Duration>,
}

struct Connected {
    conn: SqliteConnection,
    until: Arc<Until>,
}

/// Time at which a connection's statements are interrupted, milliseconds since `began`.
struct Until {
    began: Instant,
    ms: AtomicU64,
}

impl Until {
    fn set(&self, from_now: Option<Duration>) {
        let ms = from_now.map_or(NEVER, |longest| self.passed().saturating_add(millis(longest)));
        self.ms.store(ms, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        let ms = self.ms.load(Ordering::Relaxed);
        ms != NEVER && self.passed() >= ms
    }

    fn passed(&self) -> u64 {
        millis(self.began.elapsed())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(NEVER - 1)
}

/// A borrowed connection, which is returned on drop.
pub(in crate::db) struct Reader {
    connected: Option<Connected>,
    /// True if a statement has begun and has not been reported as ended.
    at_work: bool,
    idle: Arc<Mutex<Vec<Connected>>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Readers {
    pub(super) fn new(options: SqliteConnectOptions, count: usize, longest: Option<Duration>) -> Self {
        Self {
            options: Arc::new(options),
            permits: Arc::new(Semaphore::new(count)),
            idle: Arc::default(),
            longest,
        }
    }

    /// Waits for a free connection.
    pub(super) async fn take(&self) -> Result<Reader, DbError> {
        let permit = match tokio::time::timeout(ACQUIRE_TIMEOUT, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(DbError::Closed),
            Err(_) => return Err(sqlx::Error::PoolTimedOut.into()),
        };
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connected = match idle {
            Some(connected) => connected,
            None => self.connect().await?,
        };
        connected.until.set(self.longest);
        Ok(Reader {
            connected: Some(connected),
            at_work: false,
            idle: self.idle.clone(),
            permit: Some(permit),
        })
    }

    async fn connect(&self) -> Result<Connected, DbError> {
        let mut conn = SqliteConnection::connect_with(&self.options).await?;
        let until = Arc::new(Until { began: Instant::now(), ms: AtomicU64::new(NEVER) });
        let asked = until.clone();
        conn.lock_handle().await?.set_progress_handler(STEPS_PER_LOOK, move || !asked.is_over());
        Ok(Connected { conn, until })
    }

    /// Ends all reading, and closes the connections that are not borrowed.
    pub(super) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for connected in idle {
            // A connection that cannot be closed is gone with the process.
            let _ = connected.conn.close().await;
        }
    }
}

impl Reader {
    /// The connection, for one statement. Call [`Reader::done`] when the statement has ended.
    pub(in crate::db) fn begin(&mut self) -> Option<&mut SqliteConnection> {
        self.at_work = true;
        self.connected.as_mut().map(|connected| &mut connected.conn)
    }

    pub(in crate::db) fn done(&mut self) {
        self.at_work = false;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(connected) = self.connected.take() else { return };
        let give_back = |idle: &Mutex<Vec<Connected>>, connected| {
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connected);
        };
        if !self.at_work {
            return give_back(&self.idle, connected);
        }
        connected.until.set(Some(Duration::ZERO));
        let (Ok(runtime), idle, permit) = (Handle::try_current(), self.idle.clone(), self.permit.take())
        else {
            return;
        };
        runtime.spawn(async move {
            let mut connected = connected;
            // Answered when the statement has ended.
            if connected.conn.ping().await.is_ok() {
                give_back(&idle, connected);
            }
            drop(permit);
        });
    }
}
