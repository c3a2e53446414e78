//! `tests/run` itself: what judges everything must not call green what was never done.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use kassa_tests::Suite;

const SCRIPT: &str = include_str!("../run");

pub(crate) fn cases(suite: &mut Suite) {
    suite.once("scripts::an_interrupted_run_is_red", interrupted);
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

fn executable(path: &Path, text: &str) {
    write(path, text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("an executable");
}

/// A copy of the script where everything is set up, and its tools do nothing. The one that builds waits for `go`.
fn stage(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("kassa-run-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    executable(&folder.join("tests/run"), SCRIPT);
    for (source, copy) in [
        ("tests/node/package-lock.json", "tests/node/node_modules/.kassa-lock"),
        ("sdk/js/package-lock.json", "sdk/js/node_modules/.kassa-lock"),
        ("sdk/python/pyproject.toml", "sdk/python/.venv/.kassa-project"),
        ("tests/python/requirements.txt", "tests/python/.venv/.kassa-requirements"),
    ] {
        write(&folder.join(source), "");
        write(&folder.join(copy), "");
    }
    let wasm = folder.join("sysroot/lib/rustlib/wasm32-unknown-unknown");
    fs::create_dir_all(wasm).expect("a folder");
    let bin = folder.join("bin");
    for tool in ["npm", "node"] {
        executable(&bin.join(tool), "#!/bin/sh\n");
    }
    executable(&bin.join("rustc"), &format!("#!/bin/sh\necho {}/sysroot\n", folder.display()));
    // It takes a signal for its own and ends well, as some tools do.
    let waits =
        "#!/bin/sh\ntrap : HUP INT TERM\ntouch began\nwhile [ ! -e go ]; do sleep 0.05; done\nexit 0\n";
    executable(&bin.join("cargo"), waits);
    executable(&folder.join("target/debug/simulator"), "#!/bin/sh\n");
    folder
}

/// Runs it; `signal` comes while the first step is under way.
async fn run(name: &str, signal: Option<&str>) -> Output {
    let folder = stage(name);
    let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap_or_default());
    // Whoever runs the suite may ignore signals (`nohup`), which a shell could not trap then.
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP,INT,TERM").arg(folder.join("tests/run"));
    command.arg("quick").env("PATH", path).env_remove("CARGO_TARGET_DIR");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("a shell");
    kassa_tests::eventually("the first step", || async {
        if folder.join("began").exists() { Ok(()) } else { Err("it has not begun".to_owned()) }
    })
    .await;
    if let Some(signal) = signal {
        let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status();
        assert!(sent.expect("kill").success());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    write(&folder.join("go"), "");
    let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await;
    let output = output.expect("a thread").expect("an end");
    let _ = fs::remove_dir_all(&folder);
    output
}

async fn interrupted() {
    let calm = run("calm", None).await;
    let said = String::from_utf8_lossy(&calm.stdout).into_owned();
    assert!(calm.status.success() && said.contains("all passed"), "{said}\n{calm:?}");
    for (signal, status) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let output = run(signal, Some(signal)).await;
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(status), "{signal}: {said}");
        assert!(said.contains("FAILED") && !said.contains("all passed"), "{signal}: {said}");
    }
}
