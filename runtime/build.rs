//! Builds the chain plugins for the sandbox and puts them into OUT_DIR, where `host::embedded` takes them from.
//!
//! Every folder of `chain-plugins` with a Cargo.toml is one: its crate `kassa-chain-<folder>` is built for
//! wasm32-unknown-unknown by a cargo of its own (with its own target folder, since the outer cargo holds the
//! lock of the other), and its core module is encoded as a component. Every `*.toml` beside it, except the
//! crate's and the plugin's own, is the manifest of a network that Kassa knows from the start.
//!
//! The SDKs and their templates go along too, for `kassa hook new`, and the database's migrations.

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const TARGET: &str = "wasm32-unknown-unknown";

/// The file that names the types of ids, each on a line with its prefix.
const IDS: &str = "runtime/src/domain/id.rs";

/// What a new hook is made of.
const SDK_FILES: [&str; 15] = [
    "wit",
    "sdk/rust/Cargo.toml",
    "sdk/rust/README.md",
    "sdk/rust/src",
    "sdk/rust/template",
    "sdk/js/README.md",
    "sdk/js/build.mjs",
    "sdk/js/component.mjs",
    "sdk/js/package.json",
    "sdk/js/src",
    "sdk/js/template",
    "sdk/python/README.md",
    "sdk/python/pyproject.toml",
    "sdk/python/kassa_sdk",
    "sdk/python/template",
];

/// What the outer cargo sets for native code or for a lint run. A guest built with these would be another one.
const NOT_FOR_GUESTS: [&str; 8] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CLIPPY_ARGS",
    "CARGO_TARGET_DIR",
];

fn main() -> Result<()> {
    let root = variable("CARGO_MANIFEST_DIR")?
        .parent()
        .ok_or("the runtime crate must lie in the workspace")?
        .to_path_buf();
    let out = variable("OUT_DIR")?;
    let inputs = ["chain-plugins", "Cargo.toml", "Cargo.lock", "runtime/build.rs", "runtime/migrations", IDS];
    for input in inputs.iter().chain(&SDK_FILES) {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }
    println!("cargo:rerun-if-env-changed=CARGO_TARGET_DIR");

    let folders = plugin_folders(&root)?;
    ensure_target()?;
    let target_dir = match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root.join(dir).join("guests"),
        None => root.join("target/guests"),
    };
    build(&root, &target_dir, &folders)?;

    let mut code = String::from("/// Each is one chain plugin.\npub(crate) const PLUGINS: &[&[u8]] = &[\n");
    for folder in &folders {
        let component = out.join(format!("{folder}.wasm"));
        encode(&target_dir, folder, &component)?;
        writeln!(code, "    include_bytes!({component:?}),")?;
    }
    code.push_str(
        "];\n/// Each is one network's manifest in TOML.\npub(crate) const NETWORK_MANIFESTS: &[&str] = &[\n",
    );
    for manifest in network_manifests(&root, &folders)? {
        writeln!(code, "    include_str!({manifest:?}),")?;
    }
    code.push_str("];\n");
    fs::write(out.join("embedded.rs"), code)?;
    fs::write(out.join("sdk.rs"), sdk(&root)?)?;
    fs::write(out.join("migrations.rs"), migrations(&root.join("runtime/migrations"))?)?;
    ids(&fs::read_to_string(root.join(IDS))?)
        .fold(utoipa_config::Config::new(), |config, id| config.alias_for(id, "String"))
        .write_to_file();
    Ok(())
}

/// The types of ids, which are plain strings in the OpenAPI document.
fn ids(text: &str) -> impl Iterator<Item = &str> {
    let names = text.lines().filter_map(|line| line.trim().split_once(" = \"")).map(|(name, _)| name);
    names.filter(|name| name.ends_with("Id") && !name.contains(' '))
}

/// Every file of the SDKs, as a list of its path in the repository and its text.
fn sdk(root: &Path) -> Result<String> {
    let mut files = BTreeSet::new();
    for path in SDK_FILES {
        collect(&root.join(path), &mut files)?;
    }
    let mut code = String::from(
        "/// Files by their path in the repository.\npub(super) const FILES: &[(&str, &str)] = &[\n",
    );
    for file in files {
        let name = file.strip_prefix(root)?.to_str().ok_or("a path that is not UTF-8")?;
        writeln!(code, "    ({name:?}, include_str!({file:?})),")?;
    }
    code.push_str("];\n");
    Ok(code)
}

/// Every migration (`0001_first_tables.sql`), in order. sqlx has a macro for it, for which all of sqlx and both databases
/// would be compiled a second time.
fn migrations(folder: &Path) -> Result<String> {
    let mut code =
        String::from("/// Version, description and SQL of each.\nconst FILES: &[(i64, &str, &str)] = &[\n");
    let files: std::result::Result<BTreeSet<_>, _> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect();
    for file in files?.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "sql"))
    {
        let name = file.file_stem().and_then(|name| name.to_str()).ok_or("a name that is not UTF-8")?;
        let (version, description) = name.split_once('_').ok_or(format!("{name} has no number"))?;
        let (version, description) = (version.parse::<i64>()?, description.replace('_', " "));
        writeln!(code, "    ({version}, {description:?}, include_str!({file:?})),")?;
    }
    code.push_str("];\n");
    Ok(code)
}

fn collect(path: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    let name = path.file_name().unwrap_or_default();
    if path.is_file() {
        // What a build has left there is not of the SDK.
        if path.extension().is_none_or(|extension| extension != "wasm" && extension != "pyc") {
            files.insert(path.to_owned());
        }
    } else if name != "__pycache__" && name != "target" {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    }
    Ok(())
}

fn variable(name: &str) -> Result<PathBuf> {
    Ok(env::var_os(name).ok_or(format!("cargo did not set {name}"))?.into())
}

fn plugin_folders(root: &Path) -> Result<BTreeSet<String>> {
    let mut folders = BTreeSet::new();
    for entry in fs::read_dir(root.join("chain-plugins"))? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            folders.insert(entry.file_name().into_string().map_err(|name| format!("not UTF-8: {name:?}"))?);
        }
    }
    Ok(folders)
}

fn network_manifests(root: &Path, folders: &BTreeSet<String>) -> Result<BTreeSet<PathBuf>> {
    let mut manifests = BTreeSet::new();
    for folder in folders {
        for entry in fs::read_dir(root.join("chain-plugins").join(folder))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default();
            if path.extension().is_some_and(|extension| extension == "toml")
                && name != "Cargo.toml"
                && name != "plugin.toml"
            {
                manifests.insert(path);
            }
        }
    }
    Ok(manifests)
}

/// The standard library for the sandbox, fetched once if it is not there.
fn ensure_target() -> Result<()> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let there = || -> Result<bool> {
        let asked = Command::new(&rustc).args(["--print", "target-libdir", "--target", TARGET]).output()?;
        let dir = String::from_utf8(asked.stdout)?;
        Ok(asked.status.success() && Path::new(dir.trim()).is_dir())
    };
    if there()? {
        return Ok(());
    }
    let added = Command::new("rustup").args(["target", "add", TARGET]).status();
    if added.is_ok_and(|status| status.success()) && there()? {
        return Ok(());
    }
    Err(format!(
        "the Rust target {TARGET} is missing and `rustup target add {TARGET}` did not bring it. \
         Chain plugins are built for it: install it (with rustup: that command, online; with a \
         distribution's Rust: its package for wasm32) and build again."
    )
    .into())
}

fn build(root: &Path, target_dir: &Path, folders: &BTreeSet<String>) -> Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(["build", "--profile", "guest", "--target", TARGET, "--target-dir"]);
    command.arg(target_dir);
    for folder in folders {
        command.args(["--package", &format!("kassa-chain-{folder}")]);
    }
    for name in NOT_FOR_GUESTS {
        command.env_remove(name);
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", same_paths(root).join("\x1f"));
    if !command.status()?.success() {
        return Err("a chain plugin does not build for the sandbox; its compiler's messages are above".into());
    }
    Ok(())
}

/// Flags by which a guest names its sources as on any other machine, so that it is the same component.
fn same_paths(root: &Path) -> Vec<String> {
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = cargo_home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let folders = [(Some(root.to_owned()), "/kassa"), (home, "/cargo")];
    let told = folders.into_iter().filter_map(|(folder, name)| Some((folder?, name)));
    told.map(|(folder, name)| format!("--remap-path-prefix={}={name}", folder.display())).collect()
}

fn encode(target_dir: &Path, folder: &str, component: &Path) -> Result<()> {
    let module = target_dir.join(TARGET).join("guest").join(format!("kassa_chain_{folder}.wasm"));
    let module = fs::read(&module).map_err(|error| format!("{}: {error}", module.display()))?;
    let encoded = wit_component::ComponentEncoder::default()
        .module(&module)
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|error| format!("chain-plugins/{folder} is no component: {error:#}"))?;
    fs::write(component, encoded)?;
    Ok(())
}
