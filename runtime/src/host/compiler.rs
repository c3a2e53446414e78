//! The compiler, in a process of its own.
//!
//! Running a guest is limited in every way; compiling it is not, and what a hostile component can make a compiler
//! do is not known. So each compilation is a child process of this same binary (`kassa compile-component`), which
//! limits its own memory and processor time before it reads anything, works at a lower priority, and is killed
//! when it takes too long. What it must not do is end the server.

use std::{
    io::{Read as _, Write as _},
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, nice, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
    sync::Semaphore,
};
use wasmtime::Engine;

use super::{
    admit::AdmitError,
    engine::{self, Guests},
    services::text::one_line,
};

/// A Python component with its standard library takes 10 s of two cores, on a busy machine thrice that.
const TIME_MAX: Duration = Duration::from_secs(120);
/// Of all its threads.
const CPU_MAX_S: u64 = 120;
/// Address space of the child. Python takes 1.2 GiB of it.
const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// Compiled code: three times the component, at the most.
const CODE_BYTES_MAX: u64 = 256 << 20;
const WASM_BYTES_MAX: u64 = 64 << 20;
/// What is kept of its last words.
const WORDS_BYTES_MAX: u64 = 4 << 10;
const WORDS_CHARS_MAX: usize = 200;
const PRIORITY: i32 = 10;

/// Compiles, one component at a time: the compiler takes all cores by itself.
#[derive(Clone)]
pub(super) struct Compiler {
    /// This binary; none: in this process, for unit tests, whose binary has no command line.
    program: Option<PathBuf>,
    turn: Arc<Semaphore>,
}

impl Compiler {
    pub(super) fn new() -> Self {
        let program = if cfg!(test) { None } else { std::env::current_exe().ok() };
        Self { program, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Machine code for engines of these guests.
    pub(super) async fn compile(
        &self,
        engine: &Engine,
        guests: Guests,
        wasm: Arc<[u8]>,
    ) -> Result<Vec<u8>, AdmitError> {
        let turn = self.turn.clone().acquire_owned().await;
        let Some(program) = &self.program else {
            let engine = engine.clone();
            let work = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                engine.precompile_component(&wasm).map_err(|error| format!("{error:#}"))
            });
            let done = work.await.unwrap_or_else(|_| Err("the compiler broke off".to_owned()));
            return done.map_err(|why| AdmitError::Compile(one_line(&why, WORDS_CHARS_MAX)));
        };
        let mut child = Command::new(program);
        child.arg("compile-component").arg(match guests {
            Guests::Chains => "chains",
            Guests::Hooks => "hooks",
        });
        let worked = tokio::time::timeout(TIME_MAX, work(child, &wasm)).await;
        worked
            .unwrap_or_else(|_| Err(format!("it takes longer than {} s", TIME_MAX.as_secs())))
            .map_err(|why| AdmitError::Compile(one_line(&why, WORDS_CHARS_MAX)))
    }
}

/// Feeds the child and takes what it says. It is killed if this is given up.
async fn work(mut command: Command, wasm: &[u8]) -> Result<Vec<u8>, String> {
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
        return Err("the compiler has no pipes".to_owned());
    };
    let (mut code, mut words) = (Vec::new(), Vec::new());
    let (mut output, mut errors) = (output.take(CODE_BYTES_MAX), errors.take(WORDS_BYTES_MAX));
    let fed = async {
        // A child that ended early has said why.
        let _ = input.write_all(wasm).await;
        drop(input);
    };
    let (_, read, _) = tokio::join!(fed, output.read_to_end(&mut code), errors.read_to_end(&mut words));
    let status = child.wait().await.map_err(broke)?;
    if status.success() && read.is_ok() {
        return Ok(code);
    }
    let words = String::from_utf8_lossy(&words);
    Err(match words.trim() {
        // Killed: by its own limits, or by the system's for want of memory.
        "" => format!("the compiler was stopped ({status}): it takes too much memory or time"),
        words => words.to_owned(),
    })
}

/// What the child does: reads a component, writes machine code. An error goes to stderr as it is.
pub(crate) fn child(guests: Guests) -> Result<(), String> {
    let limit = |resource, max| {
        setrlimit(resource, Rlimit { current: Some(max), maximum: Some(max) })
            .map_err(|error| format!("cannot limit the compiler: {error}"))
    };
    limit(Resource::As, MEMORY_BYTES_MAX)?;
    limit(Resource::Cpu, CPU_MAX_S)?;
    limit(Resource::Core, 0)?;
    // Where it is not allowed it is no loss.
    let _ = nice(PRIORITY);
    let mut wasm = Vec::new();
    let broke = |error: std::io::Error| format!("a pipe broke: {error}");
    std::io::stdin().take(WASM_BYTES_MAX).read_to_end(&mut wasm).map_err(broke)?;
    let engine = engine::compiling(guests).map_err(|error| format!("{error:#}"))?;
    let code = engine.precompile_component(&wasm).map_err(|error| format!("{error:#}"))?;
    let mut output = std::io::stdout().lock();
    output.write_all(&code).and_then(|()| output.flush()).map_err(broke)
}
