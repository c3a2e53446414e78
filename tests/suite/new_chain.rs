//! A chain is one crate, and nothing else names it: the workspace and the build find it by its folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use kassa_tests::{Kassa, Suite, tests_folder};
use serde_json::Value;

pub(crate) fn cases(suite: &mut Suite) {
    suite.once("new_chain::a_folder_is_all_that_a_chain_takes", || async { folder_alone() });
}

/// What is built or installed.
const NO_SOURCES: [&str; 5] = ["target", "node_modules", ".venv", "__pycache__", ".git"];

/// Copies a folder with what is below it, its files' texts changed.
fn copy(from: &Path, to: &Path, change: &dyn Fn(&str) -> String) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).unwrap_or_else(|why| panic!("{}: {why}", from.display())) {
        let entry = entry.expect("an entry");
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if NO_SOURCES.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if path.is_dir() {
            copy(&path, &to, change);
        } else {
            match fs::read_to_string(&path) {
                Ok(text) => fs::write(to, change(&text)).expect("a file"),
                Err(_) => drop(fs::copy(path, to).expect("a file")),
            }
        }
    }
}

fn ran(command: &mut Command) -> Output {
    let output = command.env("CARGO_NET_OFFLINE", "true").output().expect("a program");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The build script of the server, as cargo has built it with the server.
fn build_script() -> PathBuf {
    let built = std::env::current_exe().expect("this program");
    let built = built.ancestors().nth(2).expect("target/debug").join("build");
    let scripts = fs::read_dir(&built).expect("the build scripts").flatten().filter(|entry| {
        let name = entry.file_name();
        let hash = name.to_str().and_then(|name| name.strip_prefix("kassa-"));
        hash.is_some_and(|hash| hash.bytes().all(|digit| digit.is_ascii_hexdigit()))
    });
    let scripts = scripts.map(|entry| entry.path().join("build-script-build")).filter(|path| path.is_file());
    let age = |path: &PathBuf| path.metadata().and_then(|file| file.modified()).expect("a time");
    scripts.max_by_key(age).unwrap_or_else(|| panic!("none in {}", built.display()))
}

/// The sandbox under another name, in a copy of the repository: cargo has it in the workspace, the server's build makes a
/// component of it that the server would admit, and takes up its network.
fn folder_alone() {
    let repository = tests_folder().parent().expect("the repository").to_owned();
    // Always at the same place, so that what was built of it is there again the next time.
    let root = repository.join("target/kassa-tests/new-chain");
    let _ = fs::remove_dir_all(root.join("sources"));
    let (copied, out) = (root.join("sources"), root.join("out"));
    copy(&repository, &copied, &str::to_owned);
    // The others would only take minutes.
    for chain in ["evm", "ton", "tron"] {
        fs::remove_dir_all(copied.join("chain-plugins").join(chain)).expect("a chain");
    }
    let (sandbox, chain) = (copied.join("chain-plugins/sandbox"), copied.join("chain-plugins/copy"));
    copy(&sandbox, &chain, &|text| text.replace("sandbox", "copy"));
    fs::rename(chain.join("sandbox.toml"), chain.join("copy.toml")).expect("its network");

    let metadata = ["metadata", "--no-deps", "--format-version", "1"];
    let metadata = ran(Command::new("cargo").args(metadata).current_dir(&copied));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.iter().any(|package| package["name"] == "kassa-chain-copy"), "not in the workspace");

    fs::create_dir_all(&out).expect("a folder");
    let mut check = Kassa::command("plugin");
    ran(Command::new(build_script())
        .current_dir(copied.join("runtime"))
        .env("CARGO_MANIFEST_DIR", copied.join("runtime"))
        .env("OUT_DIR", &out)
        .env("CARGO_TARGET_DIR", root.join("target"))
        // As fast as can be: nobody runs it for long.
        .env("CARGO_PROFILE_GUEST_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_GUEST_LTO", "off")
        .env("CARGO_PROFILE_GUEST_CODEGEN_UNITS", "16"));
    let embedded = fs::read_to_string(out.join("embedded.rs")).expect("what the build has found");
    for found in
        ["sandbox.wasm", "copy.wasm", "chain-plugins/sandbox/sandbox.toml", "chain-plugins/copy/copy.toml"]
    {
        assert!(embedded.contains(found), "{found} is not in {embedded}");
    }
    let admitted = ran(check.args(["check", "--json"]).arg(out.join("copy.wasm")));
    let admitted: Value = serde_json::from_slice(&admitted.stdout).expect("JSON");
    assert_eq!(admitted["manifest"]["name"], "copy", "{admitted}");
}
