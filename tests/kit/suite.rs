//! The list of cases, and the setup for all of them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::{Builder, Runtime};

use crate::database::{Database, Kind, Postgres};

/// Maximum time of a case. One that takes longer hangs: it ends with a message instead of holding up everything.
const CASE_MAX: Duration = Duration::from_secs(600);
/// Number of cases that run at once, per core. A case mostly waits for its node; each runs a server, a node and a
/// database of its own.
const CASES_PER_CORE: usize = 3;
/// Number of cases whose times are printed at the end.
const SLOWEST_SAID: usize = 15;

/// All cases. `cargo test -p kassa-tests -- evm_reorgs` runs those whose name contains the word, `_sqlite`
/// and `_postgres` select the database.
pub struct Suite {
    trials: Vec<Trial>,
    runtime: Arc<Runtime>,
    postgres: Arc<Postgres>,
    /// Lock of the running cases: held shared by each, and exclusively by one that runs alone.
    running: Arc<RwLock<()>>,
    /// Time that each case took.
    took: Arc<Mutex<Vec<(Duration, String)>>>,
}

impl Suite {
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it installs process-wide state")]
    pub fn new() -> Self {
        // Only plain HTTP is used here, but the client wants a TLS provider. A second install is refused and harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Builder::new_multi_thread().enable_all().build().expect("a runtime");
        Self {
            trials: Vec::new(),
            runtime: Arc::new(runtime),
            postgres: Arc::default(),
            running: Arc::default(),
            took: Arc::default(),
        }
    }

    /// Adds a case that runs on SQLite and on PostgreSQL, each time with an empty database.
    pub fn both<F, Fut>(&mut self, name: &str, case: F)
    where
        F: Fn(Database) -> Fut + Copy + Send + 'static,
        Fut: Future<Output = ()>,
    {
        for kind in [Kind::Sqlite, Kind::Postgres] {
            self.on(kind, name, case);
        }
    }

    /// Adds a case that runs on one of them, since other cases show that both behave alike.
    pub fn on<F, Fut>(&mut self, kind: Kind, name: &str, case: F)
    where
        F: FnOnce(Database) -> Fut + Send + 'static,
        Fut: Future<Output = ()>,
    {
        let postgres = self.postgres.clone();
        self.once(&format!("{name}_{}", kind.word()), move || async move {
            let database = Database::create(kind, &postgres).await;
            case(database).await;
        });
    }

    /// Adds a case on SQLite that measures times: no other case runs beside it.
    pub fn alone<F, Fut>(&mut self, name: &str, case: F)
    where
        F: FnOnce(Database) -> Fut + Send + 'static,
        Fut: Future<Output = ()>,
    {
        let (name, postgres) = (format!("{name}_{}", Kind::Sqlite.word()), self.postgres.clone());
        self.trial(&name, true, move || async move {
            let database = Database::create(Kind::Sqlite, &postgres).await;
            case(database).await;
        });
    }

    /// Adds a case that needs no database, or opens its own.
    pub fn once<F, Fut>(&mut self, name: &str, case: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()>,
    {
        self.trial(name, false, case);
    }

    fn trial<F, Fut>(&mut self, name: &str, alone: bool, case: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()>,
    {
        let (runtime, running) = (self.runtime.clone(), self.running.clone());
        let (took, called) = (Arc::clone(&self.took), name.to_owned());
        self.trials.push(Trial::test(name, move || {
            let _alone = alone.then(|| running.write().unwrap_or_else(PoisonError::into_inner));
            let _beside = (!alone).then(|| running.read().unwrap_or_else(PoisonError::into_inner));
            let began = Instant::now();
            let run = || runtime.block_on(async { tokio::time::timeout(CASE_MAX, case()).await });
            let ended = catch_unwind(AssertUnwindSafe(run));
            took.lock().unwrap_or_else(PoisonError::into_inner).push((began.elapsed(), called));
            match ended {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(Failed::from(format!("did not end within {CASE_MAX:?}"))),
                Err(panic) => Err(Failed::from(words_of(panic.as_ref()))),
            }
        }));
    }

    /// Runs the cases that the command line selects, and cleans up.
    #[must_use]
    pub fn run(self) -> ExitCode {
        // One line at once; the whole message comes with the list of failures.
        std::panic::set_hook(Box::new(|panic| {
            let location = panic.location().map(ToString::to_string).unwrap_or_default();
            eprintln!("failed at {location}");
        }));
        let mut arguments = Arguments::from_args();
        if arguments.test_threads.is_none() {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            arguments.test_threads = Some(cores * CASES_PER_CORE);
        }
        let conclusion = libtest_mimic::run(&arguments, self.trials);
        self.postgres.stop();
        if let Some(word) = &arguments.filter
            && !arguments.list
            && conclusion.num_passed + conclusion.num_failed == 0
        {
            println!("FAILED: no case is called like {word}");
            return ExitCode::FAILURE;
        }
        let mut took = std::mem::take(&mut *self.took.lock().unwrap_or_else(PoisonError::into_inner));
        if took.len() > SLOWEST_SAID {
            took.sort_unstable_by(|a, b| b.cmp(a));
            println!("the slowest:");
            for (time, name) in took.iter().take(SLOWEST_SAID) {
                println!("  {:>5.1} s  {name}", time.as_secs_f64());
            }
        }
        conclusion.exit_code()
    }
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked".to_owned())
}
