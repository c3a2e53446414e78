//! A barrier between a server and its database, which keeps it from writing for as long as a case wants.

use std::path::{Path, PathBuf};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{
    net::{UnixListener, UnixStream},
    task::{JoinHandle, JoinSet},
};

use crate::{Database, Kind};

/// For SQLite, a lock held by another process than the server. For PostgreSQL, another socket that leads to the real
/// one: as long as it is closed, the server is as good as stopped.
pub enum Barrier {
    Sqlite { path: String, lock: Option<SqliteConnection> },
    Postgres { url: String, socket: PathBuf, real: PathBuf, way: Option<JoinHandle<()>> },
}

impl Barrier {
    /// A barrier that is open.
    pub fn new(database: &Database) -> Self {
        let url = database.url();
        if database.kind() == Kind::Sqlite {
            return Self::Sqlite { path: url.to_owned(), lock: None };
        }
        let (before, rest) = url.split_once('@').expect("a user");
        let (host, name) = rest.split_once(':').expect("a port");
        let (port, name) = name.split_once('/').expect("a name");
        let file = format!(".s.PGSQL.{port}");
        let folder = database.folder().join("socket");
        std::fs::create_dir(&folder).expect("a folder");
        let here = folder.display().to_string().replace('/', "%2F");
        let real = Path::new(&host.replace("%2F", "/")).join(&file);
        let url = format!("{before}@{here}:{port}/{name}");
        let mut barrier = Self::Postgres { url, socket: folder.join(file), real, way: None };
        barrier.open_way();
        barrier
    }

    /// Value for `KASSA_DATABASE`.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite { path, .. } => path.clone(),
            Self::Postgres { url, .. } => url.clone(),
        }
    }

    pub async fn close(&mut self) {
        match self {
            Self::Sqlite { path, lock } => {
                let options = SqliteConnectOptions::new().filename(&*path);
                let mut connection = SqliteConnection::connect_with(&options).await.expect("the database");
                // The server's own writes are short: the lock becomes free within the time that it is waited for.
                sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.expect("the lock");
                *lock = Some(connection);
            }
            Self::Postgres { socket, way, .. } => {
                way.take().expect("an open barrier").abort();
                let _ = std::fs::remove_file(socket);
            }
        }
    }

    pub async fn open(&mut self) {
        match self {
            Self::Sqlite { lock, .. } => {
                lock.take().expect("a closed barrier").close().await.expect("an end of the lock");
            }
            Self::Postgres { .. } => self.open_way(),
        }
    }

    fn open_way(&mut self) {
        let Self::Postgres { socket, real, way, .. } = self else { return };
        let listener = UnixListener::bind(socket).expect("a socket");
        let real = real.clone();
        *way = Some(tokio::spawn(async move {
            // The connections end with this task.
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let real = real.clone();
                connections.spawn(async move {
                    let Ok(mut far) = UnixStream::connect(real).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        }));
    }
}
