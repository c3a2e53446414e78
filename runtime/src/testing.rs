//! For unit tests: an app without workers, and empty databases: always SQLite, and PostgreSQL if `KASSA_TEST_POSTGRES`
//! names a server (`postgres://user@host/postgres`) on which databases may be made.

use std::{
    ops::Deref,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::{
    app::App,
    config::Config,
    db::Db,
    master_key::{Given, Source},
};

/// A database of one test; the SQLite file goes with it.
pub(crate) struct TestDb {
    db: Db,
    folder: Option<PathBuf>,
}

impl Deref for TestDb {
    type Target = Db;
    fn deref(&self) -> &Db {
        &self.db
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

static COUNT: AtomicU32 = AtomicU32::new(0);

fn name() -> String {
    let random = u64::try_from(crate::clock::Clock::default().now()).unwrap();
    format!("kassa_unit_{}_{random}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) async fn sqlite() -> TestDb {
    let folder = std::env::temp_dir().join(name());
    std::fs::create_dir_all(&folder).unwrap();
    let db = Db::open(folder.join("kassa.db").to_str().unwrap()).await.unwrap();
    TestDb { db, folder: Some(folder) }
}

/// An empty database of each available kind.
pub(crate) async fn databases() -> Vec<TestDb> {
    let mut all = vec![sqlite().await];
    if let Ok(server) = std::env::var("KASSA_TEST_POSTGRES") {
        let name = name();
        let mut admin = PgConnection::connect(&server).await.unwrap();
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        let mut url: url::Url = server.parse().unwrap();
        url.set_path(&name);
        all.push(TestDb { db: Db::open(url.as_str()).await.unwrap(), folder: None });
    }
    all
}

/// An app over a database of its own.
pub(crate) struct TestApp {
    pub(crate) app: App,
    _db: TestDb,
}

impl Deref for TestApp {
    type Target = App;
    fn deref(&self) -> &App {
        &self.app
    }
}

pub(crate) async fn app_on(db: TestDb) -> TestApp {
    app_with(db, config()).await
}

/// The default configuration.
pub(crate) fn config() -> Config {
    Config::load(std::path::Path::new("/nonexistent"), false, std::iter::empty()).unwrap()
}

pub(crate) async fn app_with(db: TestDb, config: Config) -> TestApp {
    let given = Given::parse(Source::Variable, &"11".repeat(32)).unwrap();
    // Compiled plugins are the same for all tests: one folder for them.
    let data_dir = std::env::temp_dir().join("kassa-unit-tests");
    std::fs::create_dir_all(&data_dir).unwrap();
    let app = App::assemble((*db).clone(), given, config, &data_dir).await.unwrap();
    app.begin_simulated().await;
    TestApp { app, _db: db }
}

#[cfg(feature = "simulation")]
impl TestApp {
    /// The same app with this chain in place of all plugins.
    pub(crate) fn telling(mut self, chain: std::sync::Arc<dyn crate::host::scripted::Scripted>) -> Self {
        self.app.host = self.app.host.telling(chain);
        self
    }
}
