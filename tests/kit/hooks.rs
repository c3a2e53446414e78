//! Merchants' hooks: built from their sources by `kassa hook build`, as authors do.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, OnceLock},
    time::SystemTime,
};

use reqwest::Method;
use serde_json::Value;

use crate::{Answer, Api, Kassa, tests_folder, text};

/// Sources of a hook: a folder with a `plugin.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// An example of the Rust SDK.
    Rust(&'static str),
    /// An example of the JavaScript SDK.
    JavaScript(&'static str),
    /// An example of the Python SDK.
    Python(&'static str),
    /// A hostile hook in Rust, from tests/hostile.
    Hostile(&'static str),
}

impl Source {
    fn folder(self) -> PathBuf {
        let tests = tests_folder();
        let sdk = tests.join("../sdk");
        match self {
            Self::Rust(name) => sdk.join("rust/examples").join(name),
            Self::JavaScript(name) => sdk.join("js/examples").join(name),
            Self::Python(name) => sdk.join("python/examples").join(name),
            Self::Hostile(name) => tests.join("hostile").join(name),
        }
    }

    fn file(self) -> String {
        match self {
            Self::Rust(name) => format!("rust-{name}.wasm"),
            Self::JavaScript(name) => format!("js-{name}.wasm"),
            Self::Python(name) => format!("python-{name}.wasm"),
            Self::Hostile(name) => format!("hostile-{name}.wasm"),
        }
    }
}

/// Components that are built already, each under a lock of its own.
static BUILT: OnceLock<Mutex<HashMap<Source, Arc<Vec<u8>>>>> = OnceLock::new();

/// The component of these sources, built once.
#[must_use]
pub fn component(source: Source) -> Arc<Vec<u8>> {
    let mut built =
        BUILT.get_or_init(Mutex::default).lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    built.entry(source).or_insert_with(|| Arc::new(build(source))).clone()
}

fn build(source: Source) -> Vec<u8> {
    let target = tests_folder().join("../target");
    let folder = target.join("kassa-tests/hooks");
    std::fs::create_dir_all(&folder).expect("a folder for hooks");
    let out = folder.join(source.file());
    let is_rust = matches!(source, Source::Rust(_) | Source::Hostile(_));
    // cargo rebuilds by itself what has changed; an interpreter is put around a hook each time.
    let sdk = source.folder().join("../..");
    let fresh =
        !is_rust && newest(&out).is_some_and(|made| newest(&sdk).is_some_and(|changed| changed < made));
    if !fresh {
        let built = Kassa::command("hook")
            .arg("build")
            .arg(source.folder())
            .arg("--out")
            .arg(&out)
            .env("CARGO_TARGET_DIR", target.join("guests/hooks"))
            .output()
            .expect("kassa hook build");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{source:?} does not build: {said}");
    }
    std::fs::read(&out).expect("the component")
}

/// Time of the newest change in a folder.
fn newest(path: &Path) -> Option<SystemTime> {
    if path.is_file() {
        return path.metadata().ok()?.modified().ok();
    }
    let skipped = ["node_modules", ".venv", "__pycache__"];
    let entries = std::fs::read_dir(path).ok()?.flatten();
    let kept = entries.filter(|entry| !skipped.iter().any(|name| entry.file_name() == *name));
    kept.filter_map(|entry| newest(&entry.path())).max()
}

/// A JavaScript hook with some of its text replaced: another version of it, mostly one with a defect.
#[must_use]
pub fn patched(name: &str, patches: &[(&str, &str)]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    for file in ["plugin.toml", "hook.js"] {
        let from = Source::JavaScript("").folder().join(name).join(file);
        let mut text =
            std::fs::read_to_string(&from).unwrap_or_else(|why| panic!("{}: {why}", from.display()));
        for (old, new) in patches {
            text = text.replace(old, new);
        }
        std::fs::write(folder.path().join(file), text).expect("a file");
    }
    let built = Command::new("node")
        .arg(tests_folder().join("../sdk/js/build.mjs"))
        .arg(folder.path())
        .output()
        .expect("Node.js");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    std::fs::read(folder.path().join(format!("{name}.wasm"))).expect("the component")
}

/// A merchant's actions with hooks.
pub struct Hooks(pub Api);

impl Hooks {
    pub async fn try_upload(&self, wasm: &[u8], activate: bool) -> Answer {
        let path = format!("/v1/hooks?activate={activate}");
        let kind = [("content-type", "application/wasm")];
        self.0.send(Method::POST, &path, &kind, Some(wasm.to_vec())).await
    }

    /// The answer that an upload would get; nothing is kept.
    pub async fn validate(&self, wasm: &[u8]) -> Answer {
        let kind = [("content-type", "application/wasm")];
        self.0.send(Method::POST, "/v1/hooks/validate", &kind, Some(wasm.to_vec())).await
    }

    /// Uploads a hook. Returns its id and the version's.
    pub async fn upload(&self, source: Source, activate: bool) -> (String, String) {
        let made = self.try_upload(&component(source), activate).await.ok();
        (text(&made["hook"]["id"]), text(&made["version"]["id"]))
    }

    pub async fn put(&self, hook: &str, path: &str, body: &Value) -> Value {
        self.0.put(&format!("/v1/hooks/{hook}/{path}"), body).await.ok()
    }

    pub async fn post(&self, hook: &str, path: &str, body: &Value) -> Value {
        self.0.post(&format!("/v1/hooks/{hook}/{path}"), body).await.ok()
    }

    /// The runs of a hook, the newest first.
    pub async fn runs(&self, hook: &str) -> Vec<Value> {
        crate::list(&self.0.get(&format!("/v1/hook_runs?limit=100&hook_id={hook}")).await.ok())
    }

    pub async fn run(&self, id: &Value) -> Value {
        self.0.get(&format!("/v1/hook_runs/{}", text(id))).await.ok()
    }

    /// Questions that a matcher was asked, the newest first. Waits until there are `count`.
    pub async fn matches(&self, hook: &str, count: usize) -> Vec<Value> {
        crate::eventually(&format!("{count} questions"), || async {
            let asked = crate::list(&self.0.get(&format!("/v1/hooks/{hook}/matches?limit=100")).await.ok());
            if asked.len() >= count { Ok(asked) } else { Err(format!("{asked:?}")) }
        })
        .await
    }

    /// Waits until `count` runs of a hook are in this state. Returns them.
    pub async fn wait_for(&self, hook: &str, state: &str, count: usize) -> Vec<Value> {
        crate::eventually(&format!("{count} runs that are {state}"), || async {
            let runs = self.runs(hook).await;
            let found: Vec<_> = runs.iter().filter(|run| run["state"] == state).cloned().collect();
            if found.len() >= count { Ok(found) } else { Err(format!("{runs:?}")) }
        })
        .await
    }
}
