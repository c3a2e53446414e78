//! `kassa hook build`: makes a component with its manifest from a folder with sources.
//!
//! The folder tells the language: Cargo.toml, hook.py, or else JavaScript. Rust is built here; the others by their SDK,
//! which wraps an interpreter around a hook. The compilers' output is shown as it is.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::Context as _;
use serde_json::Value;

use crate::cli::{print, progress};

const TARGET: &str = "wasm32-unknown-unknown";

/// Cargo's release profile for hooks. Small counts more than fast, since a hook runs once for an event; and settings
/// for native code must not apply.
const RUST_PROFILE: [(&str, &str); 5] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s"),
    ("CARGO_PROFILE_RELEASE_LTO", "true"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_STRIP", "true"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
];
const NOT_FOR_GUESTS: [&str; 4] =
    ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET"];

/// Builds the hook of a folder into `out`, or into `<name>.wasm` there. Returns the file.
pub(in crate::cli) fn build(folder: &Path, out: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let folder = folder.canonicalize().with_context(|| format!("there is no folder {}", folder.display()))?;
    let manifest = folder.join("plugin.toml");
    let text = fs::read_to_string(&manifest)
        .with_context(|| format!("{}: a hook's folder has its manifest", manifest.display()))?;
    let table: toml::Table = text.parse().with_context(|| manifest.display().to_string())?;
    let name = table.get("name").and_then(toml::Value::as_str).context("plugin.toml has no name")?;
    let usual = folder.join(format!("{name}.wasm"));
    if folder.join("Cargo.toml").is_file() {
        let out = out.unwrap_or(usual);
        let component = rust(&folder)?;
        fs::write(&out, component).with_context(|| format!("cannot write {}", out.display()))?;
        return Ok(out);
    }
    let by_sdk = if folder.join("hook.py").is_file() { python } else { javascript };
    by_sdk(&folder)?;
    anyhow::ensure!(usual.is_file(), "the SDK made no {}", usual.display());
    let Some(out) = out else { return Ok(usual) };
    fs::rename(&usual, &out)
        .or_else(|_| fs::copy(&usual, &out).and_then(|_| fs::remove_file(&usual)))
        .with_context(|| format!("cannot write {}", out.display()))?;
    Ok(out)
}

fn rust(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--release", "--lib", "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics"])
        .args(["--config", &format!("target.{TARGET}.rustflags={}", toml::Value::from(same_paths()))])
        .current_dir(folder)
        .envs(RUST_PROFILE);
    for name in NOT_FOR_GUESTS {
        cargo.env_remove(name);
    }
    // It writes to a pipe, whose other end may be a terminal.
    if console::colors_enabled_stderr() && std::env::var_os("CARGO_TERM_COLOR").is_none() {
        cargo.env("CARGO_TERM_COLOR", "always");
    }
    let messages = run(&mut cargo, "cargo", "install Rust from https://rustup.rs")?;
    let module =
        artefact(&messages, folder).context("the crate makes no cdylib: crate-type = [\"cdylib\"]")?;
    let module = fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
    wit_component::ComponentEncoder::default()
        .module(&module)
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|error| anyhow::anyhow!("it is no component: {error:#}"))
}

/// Flags by which a component names its sources without the folders of whoever built it.
fn same_paths() -> Vec<String> {
    let home = std::env::home_dir();
    let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = cargo.or_else(|| home.as_ref().map(|home| home.join(".cargo")));
    // The last one that fits is taken.
    let folders = [(home, "/home"), (cargo, "/cargo")];
    let told = folders.into_iter().filter_map(|(folder, name)| Some((folder?, name)));
    told.map(|(folder, name)| format!("--remap-path-prefix={}={name}", folder.display())).collect()
}

/// The wasm file that cargo reports for the crate in this folder.
fn artefact(messages: &[u8], folder: &Path) -> Option<PathBuf> {
    let manifest = folder.join("Cargo.toml");
    let messages = messages.split(|byte| *byte == b'\n');
    let messages = messages.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let own = messages.filter(|message| {
        message["reason"] == "compiler-artifact"
            && message["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest)
    });
    let mut files = own.flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default());
    let wasm = files.find(|file| file.as_str().is_some_and(|file| file.ends_with(".wasm")))?;
    Some(PathBuf::from(wasm.as_str()?))
}

fn javascript(folder: &Path) -> anyhow::Result<()> {
    let installed = folder.ancestors().map(|parent| parent.join("node_modules/@kassa/sdk/build.mjs"));
    let beside = folder.ancestors().map(|parent| parent.join("build.mjs"));
    let script = installed.chain(beside).find(|script| script.is_file()).with_context(|| {
        format!(
            "{} has neither Cargo.toml nor hook.py, and no @kassa/sdk is installed for it: npm install",
            folder.display()
        )
    })?;
    let mut command = Command::new("node");
    run(command.arg(script).arg(folder), "node", "install Node.js from https://nodejs.org").map(drop)
}

fn python(folder: &Path) -> anyhow::Result<()> {
    let venv =
        folder.ancestors().map(|parent| parent.join(".venv/bin/python")).find(|python| python.is_file());
    let python = venv.unwrap_or_else(|| PathBuf::from("python3"));
    let mut command = Command::new(&python);
    command.args(["-m", "kassa_sdk", "build"]).arg(folder);
    let hint = "install it and the SDK: python3 -m venv .venv && .venv/bin/pip install kassa-sdk";
    run(&mut command, &python.display().to_string(), hint).map(drop)
}

/// Runs a compiler and returns its stdout. Its stderr is shown line by line, above a line with the time that it has
/// been at work.
fn run(command: &mut Command, name: &str, hint: &str) -> anyhow::Result<Vec<u8>> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut compiler = command.spawn().with_context(|| format!("{name} does not start; {hint}"))?;
    let spinner = progress::spinner("building the hook …");
    let mut answer = Vec::new();
    thread::scope(|scope| {
        if let Some(stderr) = compiler.stderr.take() {
            let lines = BufReader::new(stderr).split(b'\n').map_while(Result::ok);
            let show = |line: Vec<u8>| spinner.suspend(|| print::note(String::from_utf8_lossy(&line)));
            scope.spawn(move || lines.for_each(show));
        }
        compiler.stdout.take().map_or(Ok(0), |mut stdout| stdout.read_to_end(&mut answer))
    })?;
    let status = compiler.wait()?;
    spinner.finish_and_clear();
    anyhow::ensure!(status.success(), "the hook does not build; what {name} says is above");
    Ok(answer)
}
