//! The walls of the house, read from the sources: which layer may know of which, that no two modules know of each other in
//! a circle, that every file is in a module, that handlers touch no database, that tenants and ids go by type, and how large a
//! file may be.

mod handlers;
mod ids;
mod modules;
mod tenants;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use kassa_tests::{Suite, tests_folder};

/// A layer of `runtime/src`, the crates that it must not name, and the layers that it must not use.
struct Layer {
    /// A folder, or a file of the root.
    name: &'static str,
    crates: &'static [&'static str],
    layers: &'static [&'static str],
}

const LAYERS: &[Layer] = &[
    Layer {
        name: "domain",
        crates: &["sqlx", "axum", "tokio", "reqwest", "hyper", "wasmtime", "http"],
        layers: &[
            "db",
            "host",
            "http",
            "flow",
            "cli",
            "app",
            "server",
            "outbound",
            "upstreams",
            "networks",
            "clock",
            "config",
        ],
    },
    Layer {
        name: "db",
        crates: &["axum", "reqwest", "hyper", "wasmtime", "http"],
        layers: &["host", "http", "flow", "cli", "app", "server", "outbound", "upstreams"],
    },
    Layer { name: "host", crates: &["axum", "sqlx"], layers: &["http", "flow", "cli", "app", "server"] },
    Layer { name: "flow", crates: &["axum", "sqlx", "wasmtime"], layers: &["http", "cli", "server"] },
    Layer { name: "http", crates: &["sqlx", "wasmtime", "reqwest"], layers: &["cli", "server"] },
    // axum: the demo and the bench bring a merchant's server of their own, which is not the API.
    Layer { name: "cli", crates: &["sqlx"], layers: &[] },
    // The files of the root. What they are made of stands below them, and who starts them above.
    Layer { name: "app.rs", crates: ROOT_CRATES, layers: &["http", "cli", "server"] },
    Layer { name: "server.rs", crates: &["sqlx", "axum", "wasmtime"], layers: &["cli"] },
    Layer { name: "clock.rs", crates: ROOT_CRATES, layers: ABOVE_ROOT },
    Layer { name: "config.rs", crates: ROOT_CRATES, layers: ABOVE_ROOT },
    Layer { name: "keys.rs", crates: ROOT_CRATES, layers: ABOVE_ROOT },
    Layer { name: "master_key", crates: ROOT_CRATES, layers: ABOVE_ROOT },
    Layer { name: "metrics.rs", crates: ROOT_CRATES, layers: ABOVE_ROOT },
    Layer { name: "networks.rs", crates: ROOT_CRATES, layers: ABOVE_ROOT },
    Layer { name: "outbound", crates: &["sqlx", "axum", "wasmtime"], layers: ABOVE_ROOT },
    Layer { name: "shares.rs", crates: ROOT_CRATES, layers: ABOVE_ROOT },
    Layer { name: "upstreams", crates: ROOT_CRATES, layers: ABOVE_ROOT },
    Layer { name: "vault.rs", crates: ROOT_CRATES, layers: ABOVE_ROOT },
    Layer { name: "wake.rs", crates: ROOT_CRATES, layers: ABOVE_ROOT },
];

const ROOT_CRATES: &[&str] = &["sqlx", "axum", "wasmtime", "reqwest", "hyper"];
const ABOVE_ROOT: &[&str] = &["app", "server", "flow", "http", "cli", "simulation"];
/// Files of the root that know everything: they are the crate's face, its tests' and the simulator's.
const FREE: &[&str] = &["lib.rs", "main.rs", "testing.rs", "simulation"];

/// Files that may be longer than [`LINES_MAX`], each with its reason.
const LONG: &[(&str, &str)] = &[];
/// Without tests.
const LINES_MAX: usize = 400;

pub(crate) fn cases(suite: &mut Suite) {
    suite.once("layers::no_layer_uses_what_it_must_not_know", || async { imports() });
    suite.once("layers::every_file_of_the_root_is_in_a_layer", || async { roots() });
    suite.once("layers::no_modules_know_each_other_in_a_circle", || async { modules::circles() });
    suite.once("layers::every_file_is_in_a_module", || async { modules::orphans() });
    suite.once("layers::sql_stands_in_db_alone", || async { sql() });
    suite.once("layers::handlers_touch_no_database", || async { handlers::handlers() });
    suite.once("layers::a_handler_that_touches_it_is_seen", || async { handlers::are_seen() });
    suite.once("layers::tenants_go_by_type", || async { tenants::tenants() });
    suite.once("layers::a_tenant_in_parts_is_seen", || async { tenants::are_seen() });
    suite.once("layers::ids_go_by_type", || async { ids::ids() });
    suite.once("layers::an_id_that_is_text_is_seen", || async { ids::are_seen() });
    suite.once("layers::files_fit_on_a_few_pages", || async { lengths() });
    suite.once("layers::the_reader_of_sources_reads_them", || async { reader() });
    suite.once("layers::the_simulators_faults_can_be_put_back", || async { faults() });
}

fn repository() -> PathBuf {
    tests_folder().parent().expect("the repository").to_owned()
}

/// All Rust files below a folder, sorted.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display())) {
            let path = entry.expect("an entry").path();
            let skipped = path.ends_with("node_modules") || path.ends_with("target");
            if path.is_dir() && !skipped {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What `look` finds in the product's files of these folders of `runtime/src`, by `file` or `file: what`, but for what may
/// be, each with its reason; and exceptions that nothing needs.
fn found(folders: &[&str], may: &[(&str, &str)], look: impl Fn(&str, &str) -> Vec<String>) -> Vec<String> {
    let source = repository().join("runtime/src");
    let (mut broken, mut used) = (Vec::new(), BTreeSet::new());
    let files = folders.iter().flat_map(|folder| rust_files(&source.join(folder)));
    for path in files.filter(|path| !is_test(path)) {
        let file = path.strip_prefix(&source).expect("below src").display().to_string();
        for what in look(&file, &code(&fs::read_to_string(&path).expect("a source file"))) {
            let line = format!("{file}: {what}");
            match may.iter().find(|(excepted, _)| *excepted == file || *excepted == line) {
                Some((excepted, _)) => drop(used.insert(*excepted)),
                None => broken.push(line),
            }
        }
    }
    let idle = may.iter().filter(|(excepted, _)| !used.contains(excepted));
    broken.extend(idle.map(|(excepted, _)| format!("{excepted} needs no exception: take it off the list")));
    broken
}

/// Whether a file holds tests only.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs")
}

/// The lines that are compiled into the product: what stands before the unit tests.
fn product(text: &str) -> Vec<&str> {
    text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).collect()
}

/// The product's code without comments.
fn code(text: &str) -> String {
    let bare = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    product(text).into_iter().map(bare).collect::<Vec<_>>().join("\n")
}

/// The first names after `crate::`, in paths and in `use` groups.
fn used_layers(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(group) => found.extend(members(group)),
            None => found.extend(name(after)),
        }
    }
    found
}

/// The first name of each member of a group, up to its closing brace.
fn members(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (offset, sign) in group.char_indices() {
        match sign {
            '{' => depth += 1,
            '}' if depth == 0 => {
                found.extend(name(&group[start..offset]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.extend(name(&group[start..offset]));
                start = offset + 1;
            }
            _ => {}
        }
    }
    found
}

fn name(text: &str) -> Option<String> {
    let name: String =
        text.trim_start().chars().take_while(|sign| sign.is_alphanumeric() || *sign == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// Whether the code names another crate: `name::` that is no part of a longer path or word.
fn names_crate(code: &str, name: &str) -> bool {
    let needle = format!("{name}::");
    code.match_indices(&needle).any(|(offset, _)| {
        let before = code[..offset].chars().next_back();
        let own_module = code[..offset].ends_with("crate::") || code[..offset].ends_with("super::");
        !own_module
            && !before.is_some_and(|sign| sign.is_alphanumeric() || sign == '_' || sign == ':')
            && is_path_start(code, offset)
    })
}

/// In a `use crate::{…}` group, `http::x` is the layer and not the crate.
fn is_path_start(code: &str, offset: usize) -> bool {
    let statement = code[..offset].rfind(';').map_or(0, |end| end + 1);
    !code[statement..offset].contains("use crate::{") && !code[statement..offset].contains("use super::{")
}

fn imports() {
    let source = repository().join("runtime/src");
    let mut broken = Vec::new();
    for layer in LAYERS {
        let root = source.join(layer.name);
        let files = if root.is_dir() { rust_files(&root) } else { vec![root.clone()] };
        assert!(root.exists() && !files.is_empty(), "{} has moved: this case has to follow", root.display());
        for path in files.into_iter().filter(|path| !is_test(path)) {
            let code = code(&fs::read_to_string(&path).expect("a source file"));
            let used = used_layers(&code);
            let shown = path.strip_prefix(&source).expect("below src").display();
            for other in layer.layers.iter().filter(|other| used.contains(**other)) {
                broken.push(format!("{shown}: {} must not use {other}", layer.name));
            }
            for other in layer.crates.iter().filter(|other| names_crate(&code, other)) {
                broken.push(format!("{shown}: {} must not use the crate {other}", layer.name));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// A new file or folder beside the layers has to say what it may know of.
fn roots() {
    let known: BTreeSet<&str> = LAYERS.iter().map(|layer| layer.name).chain(FREE.iter().copied()).collect();
    let source = repository().join("runtime/src");
    let found: Vec<String> = fs::read_dir(source)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !known.contains(name.as_str()))
        .collect();
    assert!(found.is_empty(), "in no layer: {}", found.join(", "));
}

fn sql() {
    let source = repository().join("runtime/src");
    let words = ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM "];
    let mut broken = Vec::new();
    for path in rust_files(&source) {
        if is_test(&path) || path.starts_with(source.join("db")) {
            continue;
        }
        let code = code(&fs::read_to_string(&path).expect("a source file"));
        for word in words.iter().filter(|word| code.contains(&format!("\"{word}"))) {
            broken.push(format!("{}: {word}", path.display()));
        }
    }
    assert!(broken.is_empty(), "SQL outside of db:\n{}", broken.join("\n"));
}

fn lengths() {
    let root = repository();
    let mut broken = Vec::new();
    let mut long = BTreeSet::new();
    for part in ["runtime", "chain-plugins", "sdk/rust", "tests"] {
        for path in rust_files(&root.join(part)) {
            let lines = product(&fs::read_to_string(&path).expect("a source file")).len();
            if lines <= LINES_MAX {
                continue;
            }
            let shown = path.strip_prefix(&root).expect("below the repository").display().to_string();
            if LONG.iter().all(|(known, _)| *known != shown) {
                broken.push(format!("{shown}: {lines} lines"));
            }
            long.insert(shown);
        }
    }
    for (path, _) in LONG.iter().filter(|(path, _)| !long.contains(*path)) {
        broken.push(format!("{path} is no longer long: take it off the list"));
    }
    assert!(broken.is_empty(), "files over {LINES_MAX} lines:\n{}", broken.join("\n"));
}

fn reader() {
    let text = "use crate::{\n    app::App,\n    db::{self, x::Y},\n    http,\n};\n// crate::cli\nlet a = crate::flow::b();\n#[cfg(test)]\nuse crate::host;";
    let code = code(text);
    let used: Vec<String> = used_layers(&code).into_iter().collect();
    assert_eq!(used, ["app", "db", "flow", "http"]);
    assert!(names_crate("use axum::Router;", "axum"));
    assert!(names_crate("let a: http::StatusCode = b;", "http"));
    assert!(!names_crate("use crate::http::Problem;", "http"));
    assert!(!names_crate("use crate::{a, http::Problem};", "http"));
    assert!(!names_crate("use kassa_sqlx::X;", "sqlx"));
}

/// The patches of faults.sh change what stands in the sources: nobody runs them with every commit.
fn faults() {
    let folder = repository().join("tests/simulator/faults");
    let mut hunks = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let patch = entry.unwrap().path();
        let text = fs::read_to_string(&patch).unwrap();
        for file in text.split("\n--- a/").skip(1) {
            let (name, rest) = file.split_once('\n').unwrap();
            let source = fs::read_to_string(repository().join(name)).unwrap();
            for hunk in rest.split("\n@@ ").skip(1) {
                let lines = hunk.lines().skip(1).take_while(|line| !line.starts_with("diff "));
                let old: Vec<&str> = lines
                    .filter_map(|line| match line.split_at_checked(1) {
                        Some((" " | "-", line)) => Some(line),
                        // An empty line without its blank.
                        None => Some(""),
                        Some(_) => None,
                    })
                    .collect();
                assert!(source.contains(&old.join("\n")), "{} does not apply to {name}", patch.display());
                hunks += 1;
            }
        }
    }
    assert!(hunks >= 18, "{hunks} hunks");
}
