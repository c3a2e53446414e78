//! The compiler, in a process of its own.
//!
//! Running a guest is limited in every way; compiling it is not, nor is validating it, and what a hostile component
//! can make either do is not known. So each compilation is a child process of this same binary
//! (`kassa compile-component`), which limits its own memory and processor time, works at a lower priority, is the
//! first to go when the system has no memory left, and is killed when it takes too long. What it must not do is end
//! first to go when the system has no memory left, and is killed when it takes too long. It cannot end the server.
//!
//! Three queues compile one component each at a time, so that nobody waits long for one that is made to take long: the
//! operator's chain plugins have one of their own, and merchants' components of a size that compiles in a second are
//! first tried with little time. Those that need more wait with the large ones.

use std::{
    io::{Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, nice, setrlimit};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
    sync::Semaphore,
};
use wasmparser::Validator;
use wasmtime::Engine;

use crate::{
    domain::size::SizeClass,
    host::{
        engine::{self, Guests},
        error::AdmitError,
        services::text::one_line,
    },
};

/// Maximum time of a compilation. A Python component with its standard library takes 10 s of two cores, three times
/// that on a busy machine.
const TIME_MAX: Duration = Duration::from_secs(120);
/// Maximum address space of the child, bytes. Python takes 1.2 GiB.
const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// Maximum size of compiled code, bytes: code is at most three times the size of its component.
const CODE_BYTES_MAX: u64 = 256 << 20;
const WASM_BYTES_MAX: u64 = 64 << 20;
/// Maximum size of the child's last message that is kept, bytes.
const WORDS_BYTES_MAX: u64 = 4 << 10;
const WORDS_CHARS_MAX: usize = 200;
const PRIORITY: i32 = 10;
/// The file in which Linux reads whom to kill first when memory runs out, and the value for "this one".
const OOM_SCORE: (&str, &str) = ("/proc/self/oom_score_adj", "1000");
/// Exit code of the child for a component that is not valid.
const INVALID: u8 = 3;

/// Reason that there is no code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Failed(String),
    /// By its own limits, by the system's, or by an abort of its own when it got no memory; its message is of no use
    /// then.
    #[error("the compiler was stopped ({0}): it takes too much memory or time")]
    Stopped(ExitStatus),
}

impl Refused {
    /// Exit code of the child for this reason.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Invalid(_) => INVALID,
            Self::Failed(_) | Self::Stopped(_) => 1,
        }
    }
}

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

impl From<Refused> for AdmitError {
    fn from(refused: Refused) -> Self {
        let line = |why: String| one_line(&why, WORDS_CHARS_MAX);
        match refused {
            Refused::Invalid(why) => Self::Invalid(line(why)),
            stopped @ Refused::Stopped(_) => Self::Compile(stopped.to_string()),
            Refused::Failed(why) => Self::Compile(line(why)),
        }
    }
}

/// Maximum processor time of all threads together, seconds: twenty times that of honest components of this size.
fn cpu_max_s(bytes: usize) -> u64 {
    match SizeClass::of(bytes) {
        Some(SizeClass::Small) => 30,
        Some(SizeClass::Medium) => 60,
        _ => 120,
    }
}

/// Maximum processor time of a first try, seconds: four times that of honest components. `None` for large ones.
fn cpu_first_s(bytes: usize) -> Option<u64> {
    match SizeClass::of(bytes) {
        Some(SizeClass::Small) => Some(3),
        Some(SizeClass::Medium) => Some(8),
        _ => None,
    }
}

/// Compiles one component of a queue at a time: the compiler takes all cores by itself.
#[derive(Clone)]
pub(super) struct Compiler {
    /// Path of this binary. `None` compiles in this process, for unit tests, whose binary has no command line.
    program: Option<PathBuf>,
    /// Turns for chain plugins, for hooks that are tried with little time, and for the other hooks.
    chains: Arc<Semaphore>,
    quick: Arc<Semaphore>,
    slow: Arc<Semaphore>,
}

impl Compiler {
    pub(super) fn new() -> Self {
        let program = if cfg!(test) { None } else { std::env::current_exe().ok() };
        let turn = || Arc::new(Semaphore::new(1));
        Self { program, chains: turn(), quick: turn(), slow: turn() }
    }

    /// Compiles a component to machine code for engines of these guests.
    pub(super) async fn compile(
        &self,
        engine: &Engine,
        guests: Guests,
        wasm: Arc<[u8]>,
    ) -> Result<Vec<u8>, AdmitError> {
        let Some(program) = &self.program else {
            let turn = self.slow.clone().acquire_owned().await;
            let engine = engine.clone();
            let work = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                translate(&engine, &wasm)
            });
            let broke_off = |_| Err(Refused::Failed("the compiler broke off".to_owned()));
            return Ok(work.await.unwrap_or_else(broke_off)?);
        };
        let (name, turn) = match guests {
            Guests::Chains => ("chains", &self.chains),
            Guests::Hooks => ("hooks", &self.slow),
        };
        if let (Guests::Hooks, Some(cpu_s)) = (guests, cpu_first_s(wasm.len())) {
            let tried = in_turn(&self.quick, program, name, cpu_s, &wasm).await;
            if !matches!(tried, Err(Refused::Stopped(_))) {
                return Ok(tried?);
            }
        }
        Ok(in_turn(turn, program, name, cpu_max_s(wasm.len()), &wasm).await?)
    }
}

/// Compiles in a child when it is its turn, with at most `cpu_s` seconds of processor time.
async fn in_turn(
    turn: &Semaphore,
    program: &Path,
    guests: &str,
    cpu_s: u64,
    wasm: &[u8],
) -> Result<Vec<u8>, Refused> {
    // The semaphore is never closed.
    let _turn = turn.acquire().await;
    let mut child = Command::new(program);
    child.arg("compile-component").arg(guests).arg(cpu_s.to_string());
    let worked = tokio::time::timeout(TIME_MAX, work(child, wasm)).await;
    let too_long = |_| Err(format!("it takes longer than {} s", TIME_MAX.as_secs()).into());
    worked.unwrap_or_else(too_long)
}

/// Feeds the child and reads its output. The child is killed if this future is dropped.
async fn work(mut command: Command, wasm: &[u8]) -> Result<Vec<u8>, Refused> {
    let broke = |error: std::io::Error| format!("the compiler does not start: {error}");
    let mut child = command
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(broke)?;
    let (Some(mut input), Some(output), Some(errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err("the compiler has no pipes".to_owned().into());
    };
    let feed = async move {
        // A child that ended early has given its reason.
        let _ = input.write_all(wasm).await;
    };
    let ((), code, words) = tokio::join!(feed, drain(output, CODE_BYTES_MAX), drain(errors, WORDS_BYTES_MAX));
    let status = child.wait().await.map_err(broke)?;
    if let (true, Ok(code)) = (status.success(), code) {
        return Ok(code);
    }
    if status.signal().is_some() {
        return Err(Refused::Stopped(status));
    }
    let words = String::from_utf8_lossy(&words.unwrap_or_default()).trim().to_owned();
    Err(if status.code() == Some(INVALID.into()) { Refused::Invalid(words) } else { Refused::Failed(words) })
}

/// Reads at most `bytes_max` bytes, then closes the pipe: a child that would write more ends too.
async fn drain(pipe: impl AsyncRead + Unpin, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.take(bytes_max).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// The child's work: reads a component, writes machine code, in at most `cpu_s` seconds of processor time.
pub(crate) fn child(guests: Guests, cpu_s: u64) -> Result<(), Refused> {
    let limit = |resource, max| {
        setrlimit(resource, Rlimit { current: Some(max), maximum: Some(max) })
            .map_err(|error| format!("cannot limit the compiler: {error}"))
    };
    limit(Resource::As, MEMORY_BYTES_MAX)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Cpu, cpu_s)?;
    // Nothing is lost if these are not allowed.
    let _ = nice(PRIORITY);
    let _ = std::fs::write(OOM_SCORE.0, OOM_SCORE.1);
    let mut wasm = Vec::new();
    let broke = |error: std::io::Error| format!("a pipe broke: {error}");
    std::io::stdin().take(WASM_BYTES_MAX).read_to_end(&mut wasm).map_err(broke)?;
    let engine = engine::compiling(guests).map_err(|error| format!("{error:#}"))?;
    let code = translate(&engine, &wasm)?;
    let mut output = std::io::stdout().lock();
    Ok(output.write_all(&code).and_then(|()| output.flush()).map_err(broke)?)
}

fn translate(engine: &Engine, wasm: &[u8]) -> Result<Vec<u8>, Refused> {
    // The compiler validates too, but has no error of its own that says so.
    let valid = Validator::new_with_features(engine.get_wasm_features()).validate_all(wasm);
    valid.map_err(|error| Refused::Invalid(error.to_string()))?;
    engine.precompile_component(wasm).map_err(|error| Refused::Failed(format!("{error:#}")))
}
