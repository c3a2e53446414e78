//! The server as operators run it: the binary, in a process that can be killed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{Api, Database, eventually, process::Process};

/// The operator's key that is given to the first start.
const OPERATOR_KEY: &str = "op_suitesuitesuitesuitesuitesuite23";
/// Master key of all servers of the suite, so that one of them compiles the plugins and the others find the code, which
/// is authenticated with this key.
pub const MASTER_KEY: &str = "5a17e5a17e5a17e5a17e5a17e5a17e5a17e5a17e5a17e5a17e5a17e5a17e5a17";
/// Options of a server's start.
#[derive(Debug, Clone, Default)]
pub struct KassaOptions {
    /// Further `KASSA_…` variables.
    pub env: Vec<(&'static str, String)>,
    /// True if the server finds [`MASTER_KEY`] in its folder, and not in a variable.
    pub key_in_file: bool,
}

impl KassaOptions {
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }
}

/// A server and its data folder. The process is killed when this is dropped.
pub struct Kassa {
    folder: PathBuf,
    database_url: String,
    options: KassaOptions,
    process: Option<Process>,
    url: String,
    deaths: u32,
}

impl Kassa {
    /// Starts a server on an empty database and waits until it is ready.
    pub async fn start(database: &Database, options: KassaOptions) -> Self {
        let mut kassa = Self::new(database, options);
        kassa.spawn(&[]);
        kassa.ready().await;
        kassa
    }

    /// A server that does not run yet.
    #[must_use]
    pub fn new(database: &Database, options: KassaOptions) -> Self {
        Self {
            folder: database.folder().join("data"),
            database_url: database.url().to_owned(),
            options,
            process: None,
            url: String::new(),
            deaths: 0,
        }
    }

    /// Another replica on the same database (PostgreSQL only) with a data folder of its own. It does not run yet.
    #[must_use]
    pub fn replica(database: &Database, options: KassaOptions, number: usize) -> Self {
        let folder = database.folder().join(format!("data-{number}"));
        fs::create_dir_all(&folder).expect("a data folder");
        Self { folder, ..Self::new(database, options) }
    }

    /// Starts the process, with variables for this start alone, and does not wait.
    pub fn spawn(&mut self, once: &[(&str, &str)]) {
        assert!(self.process.is_none(), "it runs already");
        let _ = fs::remove_file(self.address_file());
        share_compiled(&self.folder);
        let mut command = Self::command("serve");
        command
            .arg("--data")
            .arg(&self.folder)
            .env("KASSA_LISTEN", "127.0.0.1:0")
            .env("KASSA_DATABASE", &self.database_url)
            .env("KASSA_OPERATOR_KEY", OPERATOR_KEY)
            .env("KASSA_MASTER_KEY", MASTER_KEY)
            .env("KASSA_WEBHOOKS__ALLOW_PRIVATE", "true")
            .env("KASSA_LOG_FORMAT", "json")
            // A failure should show the workers' lines: cases ask for an invoice very often.
            .env("KASSA_LOG_FILTER", "info,kassa::access=warn")
            // Claims and leases of a killed server hold up its successor, but not for long here.
            .env("KASSA_WATCH__LEASE_MS", "1000")
            .env("KASSA_WEBHOOKS__TIMEOUT_S", "3")
            .envs(self.options.env.iter().map(|(name, value)| (*name, value.as_str())))
            .envs(once.iter().copied());
        if self.options.key_in_file {
            command.env_remove("KASSA_MASTER_KEY");
            let file = self.folder.join("master.key");
            if !file.exists() {
                fs::write(file, MASTER_KEY).expect("a master key");
            }
        }
        self.process = Some(Process::start("kassa", &mut command, &self.folder.join("kassa.log")));
    }

    /// A command of the binary, without any settings from outside the suite.
    #[must_use]
    pub fn command(name: &str) -> Command {
        let mut command = Command::new(binary());
        command.arg(name);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KASSA_")) {
            command.env_remove(name);
        }
        command
    }

    /// Gives this server its own folder of compiled code, with a copy of the shared one. Returns the files. For cases
    /// that corrupt them.
    #[must_use]
    pub fn own_compiled(&self) -> Vec<PathBuf> {
        let folder = self.folder.join("compiled");
        let shared = folder.canonicalize().expect("a folder of compiled code");
        fs::remove_file(&folder).expect("a link to it");
        fs::create_dir(&folder).expect("a folder");
        let mut files = Vec::new();
        for entry in fs::read_dir(shared).expect("the shared folder").flatten() {
            let own = folder.join(entry.file_name());
            // Another server may be writing or removing it just now.
            let complete = own.extension().is_some_and(|extension| extension == "cwasm");
            if complete && fs::copy(entry.path(), &own).is_ok() {
                files.push(own);
            }
        }
        files
    }

    /// Waits until the server is ready.
    pub async fn ready(&mut self) {
        let url = self.try_ready().await;
        url.unwrap_or_else(|why| panic!("kassa did not start: {why}"));
    }

    /// Waits until the server is ready. Errors with the end of its output if it ends before that.
    pub async fn try_ready(&mut self) -> Result<(), String> {
        let address_file = self.address_file();
        let client = crate::client().build().expect("a client");
        let process = self.process.as_mut().expect("a started process");
        let url = eventually("kassa to be ready", || {
            let ended =
                process.ended().map(|status| format!("{status}; its output ends:\n{}", process.tail()));
            let (address, client) = (fs::read_to_string(&address_file), &client);
            async move {
                if let Some(ended) = ended {
                    return Ok(Err(ended));
                }
                let url = format!("http://{}", address.map_err(|why| format!("kassa.addr: {why}"))?.trim());
                let answer =
                    client.get(format!("{url}/ready")).send().await.map_err(|why| why.to_string())?;
                if answer.status().is_success() { Ok(Ok(url)) } else { Err(answer.status().to_string()) }
            }
        })
        .await?;
        self.url = url;
        Ok(())
    }

    /// Sends SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Sends SIGTERM and waits for the end. Returns true if it ended by itself with status 0.
    pub async fn stop(&mut self) -> bool {
        let Some(mut process) = self.process.take() else { return true };
        let _ = Command::new("kill").arg("-TERM").arg(process.id().to_string()).status();
        let status = eventually("kassa to stop", || {
            let ended = process.ended().ok_or_else(|| process.tail());
            async move { ended }
        })
        .await;
        status.success()
    }

    /// Restarts the server on the same data, and waits until it is ready.
    pub async fn restart(&mut self) {
        self.kill();
        self.spawn(&[]);
        self.ready().await;
    }

    /// True if the process has ended by itself, by a crash point for instance.
    pub fn has_ended(&mut self) -> bool {
        if self.process.as_mut().is_some_and(|process| process.ended().is_some()) {
            self.process = None;
            self.deaths += 1;
        }
        self.process.is_none()
    }

    /// Number of times that [`Kassa::has_ended`] found the process ended.
    #[must_use]
    pub fn deaths(&self) -> u32 {
        self.deaths
    }

    /// Sends a signal: stops the process where it is (`STOP`) or lets it go on (`CONT`).
    pub fn signal(&self, signal: &str) {
        let process = self.process.as_ref().expect("a running process");
        let status = Command::new("kill").arg(format!("-{signal}")).arg(process.id().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{signal}");
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The log of all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("kassa.log")).unwrap_or_default()
    }

    /// The operator's API.
    #[must_use]
    pub fn operator(&self) -> Api {
        Api::new(&self.url, OPERATOR_KEY)
    }

    fn address_file(&self) -> PathBuf {
        self.folder.join("kassa.addr")
    }
}

/// Links a data folder's compiled code to the folder that all servers share.
fn share_compiled(folder: &Path) {
    let shared = target_folder().join("kassa-tests/compiled");
    fs::create_dir_all(&shared).expect("a folder in target");
    // It exists already after a restart.
    let _ = std::os::unix::fs::symlink(shared, folder.join("compiled"));
}

/// The folder that cargo builds into, found from the path of this very program (`target/debug/deps`).
pub(crate) fn target_folder() -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    let profile = program.parent().and_then(Path::parent).expect("target/<profile>/deps");
    profile.parent().expect("target").to_owned()
}

/// The server's binary with crash points. It is built if it is not up to date, unless `KASSA_TESTS_SERVER` names one.
///
/// A link of its own is kept for this run: a build beside it may replace cargo's.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(named) = std::env::var_os("KASSA_TESTS_SERVER") {
            return named.into();
        }
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let built = Command::new(cargo)
            // The same selection as in tests/run, or cargo would build the dependencies once more.
            .args([
                "build",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--features",
                "kassa/crash-points,kassa/bench",
            ])
            .arg("--target-dir")
            .arg(target_folder())
            .current_dir(crate::tests_folder())
            .output()
            .expect("cargo");
        assert!(
            built.status.success(),
            "the server does not build: {}",
            String::from_utf8_lossy(&built.stderr)
        );
        let own = target_folder().join("kassa-tests").join(format!("kassa-{}", std::process::id()));
        fs::create_dir_all(own.parent().expect("a folder")).expect("a folder in target");
        for old in fs::read_dir(own.parent().expect("a folder")).into_iter().flatten().flatten() {
            let name = old.file_name();
            let of = name.to_str().and_then(|name| name.strip_prefix("kassa-"));
            if of.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = fs::remove_file(old.path());
            }
        }
        fs::hard_link(target_folder().join("debug/kassa"), &own).expect("a link to the server's binary");
        own
    })
}
