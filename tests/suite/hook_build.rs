//! `kassa hook build` with a mistake in the hook: what the compiler of its language says of it is what its author reads.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use kassa_tests::{Kassa, Suite, tests_folder};

pub(crate) fn cases(suite: &mut Suite) {
    suite.once("hook_build::rust_says_where_the_mistake_is", || async { rust() });
    suite.once("hook_build::a_component_names_no_folder_of_its_author", || async { folders() });
    suite.once("hook_build::javascript_says_where_the_mistake_is", || async { javascript() });
    suite.once("hook_build::python_says_where_the_mistake_is", || async { python() });
}

fn repository() -> PathBuf {
    tests_folder().parent().expect("the repository").to_owned()
}

/// A new hook in this folder, as its author makes one.
fn made(folder: &Path, language: &str) -> PathBuf {
    let made =
        Kassa::command("hook").args(["new", "my-hook", "--lang", language]).current_dir(folder).output();
    let made = made.expect("kassa hook new");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder.join("my-hook")
}

fn change(file: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(file).expect("a source file");
    assert!(text.contains(old), "{} has no {old}", file.display());
    fs::write(file, text.replace(old, new)).expect("a source file");
}

/// Builds a hook. Returns whether it could be built, and what the command says.
fn built(hook: &Path) -> (bool, String) {
    // What the workspace is made of is there; the hook is made of some of that.
    let target = repository().join("target/guests/hooks");
    let mut command = Kassa::command("hook");
    command.arg("build").arg(hook).env("CARGO_TARGET_DIR", target).env("CARGO_NET_OFFLINE", "true");
    let built = command.output().expect("kassa hook build");
    (built.status.success(), String::from_utf8_lossy(&built.stderr).into_owned())
}

/// What the build of a hook that cannot be built says.
fn said(hook: &Path) -> String {
    let (done, said) = built(hook);
    assert!(!done, "it has a mistake: {said}");
    said
}

/// All of it is said, the last of it after the rest.
fn has(said: &str, expected: &[&str]) {
    let mut rest = said;
    for part in expected {
        let at = rest.find(part).unwrap_or_else(|| panic!("no {part} where it belongs in:\n{said}"));
        rest = &rest[at + part.len()..];
    }
}

fn rust() {
    let folder = tempfile::tempdir().expect("a folder");
    let hook = made(folder.path(), "rust");
    fs::copy(repository().join("Cargo.lock"), hook.join("Cargo.lock")).expect("a lock file");
    change(&hook.join("src/lib.rs"), "invoice.order()))", "invoice.oder()))");
    let last = "error: the hook does not build; what cargo says is above";
    has(&said(&hook), &["no method named `oder` found", "src/lib.rs:31:", last]);
}

fn folders() {
    let folder = tempfile::tempdir().expect("a folder");
    let hook = made(folder.path(), "rust");
    fs::copy(repository().join("Cargo.lock"), hook.join("Cargo.lock")).expect("a lock file");
    let (done, said) = built(&hook);
    assert!(done, "{said}");
    let component = fs::read(hook.join("my-hook.wasm")).expect("the component");
    let names = |name: &[u8]| component.windows(name.len()).any(|part| part == name);
    assert!(names(b"/cargo/registry/"), "it says where it panicked");
    let home = std::env::home_dir().expect("a home");
    for own in [folder.path(), &home] {
        let own = format!("{}/", own.display());
        assert!(!names(own.as_bytes()), "{own}");
    }
}

fn javascript() {
    let folder = tempfile::tempdir().expect("a folder");
    let hook = made(folder.path(), "js");
    let installed = hook.join("node_modules/@kassa");
    fs::create_dir_all(&installed).expect("a folder");
    symlink(repository().join("sdk/js"), installed.join("sdk")).expect("the SDK");
    change(&hook.join("hook.js"), "import { done }", "import { don }");
    let last = "error: the hook does not build; what node says is above";
    has(&said(&hook), &["No matching export", "for import \"don\"", "hook.js:1:9", last]);
}

fn python() {
    let folder = tempfile::tempdir().expect("a folder");
    let hook = made(folder.path(), "python");
    symlink(repository().join("sdk/python/.venv"), hook.join(".venv")).expect("the SDK");
    change(&hook.join("hook.py"), "def fulfill", "RATE = 2 * PRICE\n\n\ndef fulfill");
    let (location, last) = ("my-hook/hook.py\", line 4", "/python says is above");
    has(
        &said(&hook),
        &[location, "NameError: name 'PRICE' is not defined", "error: the hook does not build", last],
    );
}
