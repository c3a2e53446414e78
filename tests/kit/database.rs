//! The databases that cases run on, and queries to them from outside.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{
    Connection as _, PgConnection, Row as _, SqliteConnection,
    postgres::PgRow,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use tempfile::TempDir;

use crate::{eventually, process::Process};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// The answer to a query: its rows, each its columns.
pub type Rows = Vec<Vec<Option<String>>>;

/// One case's own database, empty at first, deleted when dropped.
pub struct Database {
    kind: Kind,
    folder: TempDir,
    /// Value for `KASSA_DATABASE`.
    url: String,
}

impl Database {
    pub(crate) async fn create(kind: Kind, postgres: &Postgres) -> Self {
        let folder = TempDir::with_prefix("kassa-case-").expect("a temp folder");
        let url = match kind {
            Kind::Sqlite => folder.path().join("data/kassa.db").display().to_string(),
            Kind::Postgres => postgres.fresh().await,
        };
        fs::create_dir(folder.path().join("data")).expect("the data folder");
        Self { kind, folder, url }
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A folder for whatever the case writes; `data` in it is the server's.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The rows of a query whose columns are all text (`CAST(… AS TEXT)`).
    pub async fn rows(&self, sql: &str) -> Rows {
        self.snapshot(&[sql]).await.remove(0)
    }

    /// The rows of several queries, all as of one moment.
    ///
    /// Each call opens a connection of its own: the result must not depend on what the server holds.
    pub async fn snapshot(&self, queries: &[&str]) -> Vec<Rows> {
        self.try_snapshot(queries).await.unwrap_or_else(|why| panic!("{why}, one of {queries:#?}"))
    }

    async fn try_snapshot(&self, queries: &[&str]) -> Result<Vec<Rows>, sqlx::Error> {
        macro_rules! ask {
            ($connection:expr, $begin:literal, $row:ty) => {{
                let mut connection = $connection.await?;
                sqlx::query($begin).execute(&mut connection).await?;
                let mut answers = Vec::new();
                for sql in queries {
                    let query = sqlx::query(sqlx::AssertSqlSafe((*sql).to_owned()));
                    let rows = query.fetch_all(&mut connection).await?;
                    let texts = |row: &$row| (0..row.len()).map(|column| row.try_get(column)).collect();
                    answers.push(rows.iter().map(texts).collect::<Result<Rows, sqlx::Error>>()?);
                }
                connection.close().await?;
                Ok(answers)
            }};
        }
        match self.kind {
            Kind::Sqlite => {
                let options = SqliteConnectOptions::new().filename(&self.url).read_only(true);
                ask!(SqliteConnection::connect_with(&options), "BEGIN", SqliteRow)
            }
            Kind::Postgres => {
                let begin = PgConnection::connect(&self.url);
                ask!(begin, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", PgRow)
            }
        }
    }

    /// Another empty database of the same kind.
    pub async fn another(&self) -> Self {
        let folder = TempDir::with_prefix("kassa-case-").expect("a temp folder");
        fs::create_dir(folder.path().join("data")).expect("the data folder");
        let url = match self.kind {
            Kind::Sqlite => folder.path().join("data/kassa.db").display().to_string(),
            Kind::Postgres => {
                let name = format!("{}_another", self.name());
                self.administer(&format!("CREATE DATABASE {name}")).await;
                self.url.replace(self.name(), &name)
            }
        };
        Self { kind: self.kind, folder, url }
    }

    /// Keeps the content, for [`Database::restore`]. The server must not run.
    pub async fn back_up(&self) {
        match self.kind {
            Kind::Sqlite => self.copy_files("data", "backup"),
            Kind::Postgres => {
                let name = self.name();
                self.administer(&format!("CREATE DATABASE {name}_backup TEMPLATE {name}")).await;
            }
        }
    }

    /// Goes back to the content at the backup. The server must not run.
    pub async fn restore(&self) {
        match self.kind {
            Kind::Sqlite => self.copy_files("backup", "data"),
            Kind::Postgres => {
                let name = self.name();
                self.administer(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
                self.administer(&format!("CREATE DATABASE {name} TEMPLATE {name}_backup")).await;
            }
        }
    }

    fn copy_files(&self, from: &str, to: &str) {
        let (from, to) = (self.folder.path().join(from), self.folder.path().join(to));
        fs::create_dir_all(&to).expect("a folder");
        for end in ["", "-wal", "-shm"] {
            let name = format!("kassa.db{end}");
            let _ = fs::remove_file(to.join(&name));
            if from.join(&name).exists() {
                fs::copy(from.join(&name), to.join(&name)).expect("a copy");
            }
        }
    }

    /// Name of the database at its server.
    fn name(&self) -> &str {
        let end = self.url.rsplit('/').next().unwrap_or_default();
        end.split('?').next().unwrap_or_default()
    }

    async fn administer(&self, sql: &str) {
        let url = self.url.replace(self.name(), "postgres");
        let mut connection = PgConnection::connect(&url).await.expect("the server");
        sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.expect("done");
        connection.close().await.expect("closed");
    }

    /// The only value of a query, if it has a row.
    pub async fn value(&self, sql: &str) -> Option<String> {
        self.rows(sql).await.into_iter().next()?.into_iter().next()?
    }

    /// The only value of a query, as a number; 0 without a row.
    pub async fn number(&self, sql: &str) -> i64 {
        self.value(sql).await.map_or(0, |text| text.parse().expect("a number"))
    }
}

/// The suite's own PostgreSQL server: started by the first case that needs it, in a temp folder, on a socket.
#[derive(Default)]
pub(crate) struct Postgres {
    server: tokio::sync::OnceCell<Server>,
    running: Mutex<Option<Process>>,
    databases: AtomicU32,
}

struct Server {
    folder: TempDir,
    /// Port of the server. It only names the socket: the server does not listen on the network.
    port: u16,
}

/// User of the server when the suite is run by root, which PostgreSQL refuses to be.
const SERVER_USER: &str = "postgres";

impl Postgres {
    async fn fresh(&self) -> String {
        let server = self.server.get_or_init(|| self.start()).await;
        let name = format!("kassa_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut admin =
            PgConnection::connect(&server.url("postgres")).await.expect("the suite's PostgreSQL server");
        // One at a time, since they copy the same template.
        static COPYING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let copying = COPYING.lock().await;
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&mut admin).await.expect("a fresh database");
        drop(copying);
        server.url(&name)
    }

    async fn start(&self) -> Server {
        let bin = bin_folder();
        let folder = TempDir::with_prefix("kassa-postgres-").expect("a temp folder");
        let path = folder.path();
        let data = path.join("data");
        if is_root() {
            succeed(Command::new("chown").arg(SERVER_USER).arg(path));
        }
        let mut init = as_server_user(&bin.join("initdb"));
        init.args(["--auth=trust", "--username=kassa", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data);
        succeed(&mut init);
        let server = Server { folder, port: 5432 };
        let mut command = as_server_user(&bin.join("postgres"));
        command.arg("-D").arg(&data).arg("-k").arg(server.folder.path()).args(["-p", "5432"]);
        // Nothing here outlives the suite, and crashes are the server's own, never the machine's.
        for setting in [
            "listen_addresses=",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "max_connections=400",
        ] {
            command.args(["-c", setting]);
        }
        let log = server.folder.path().join("server.log");
        *self.running.lock().expect("no case holds this") =
            Some(Process::start("postgres", &mut command, &log));
        eventually("the suite's PostgreSQL server", || async {
            PgConnection::connect(&server.url("postgres")).await.map(drop).map_err(|why| why.to_string())
        })
        .await;
        server
    }

    pub(crate) fn stop(&self) {
        let Some(mut process) = self.running.lock().expect("no case holds this").take() else { return };
        // SIGQUIT ends the server and its workers at once. A plain SIGKILL would leave the workers behind.
        let _ = Command::new("kill").arg("-QUIT").arg(process.id().to_string()).status();
        for _ in 0..200 {
            if process.ended().is_some() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        if let Some(server) = self.server.get() {
            let _ = fs::remove_dir_all(server.folder.path());
        }
    }
}

impl Server {
    fn url(&self, database: &str) -> String {
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://kassa@{socket}:{}/{database}", self.port)
    }
}

fn is_root() -> bool {
    let answer = Command::new("id").arg("-u").output().expect("id");
    answer.stdout.trim_ascii() == b"0"
}

fn as_server_user(program: &Path) -> Command {
    if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", SERVER_USER, "--regid", SERVER_USER, "--clear-groups", "--"]).arg(program);
        command.current_dir("/");
        command
    } else {
        Command::new(program)
    }
}

/// Folder of the server's programs: Debian keeps them out of the PATH, in a folder for each version.
fn bin_folder() -> PathBuf {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").exists() && bin.join("postgres").exists())
        .collect();
    versions.sort();
    if let Some((_, bin)) = versions.pop() {
        return bin;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
        .expect("PostgreSQL's server programs are not installed: `tests/run` does that")
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|why| panic!("cannot run {command:?}: {why}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
