//! Modules, as the sources of a crate declare and use them.
//!
//! Two modules that know each other are one: neither can be read, tested or moved alone. So the files of the runtime are a
//! graph, by the paths that they name (`crate::…`, `super::…`), and a circle in it is allowed only inside a *unit*: a file or
//! folder of the root, or of a layer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::{code, is_test, repository, rust_files};

/// Folders of the root whose parts are units of their own.
const LAYERS: [&str; 6] = ["domain", "db", "host", "flow", "http", "cli"];

type Module = Vec<String>;

pub(super) fn circles() {
    let source = repository().join("runtime/src");
    let found = circles_in(&sources(&source));
    assert!(found.is_empty(), "modules that know each other in a circle:\n{}", found.join("\n"));
    // That it sees one, and only across units.
    let crossed = [("flow/a.rs", "use crate::db::b::C;"), ("db/b.rs", "use crate::flow::a::D;")];
    assert_eq!(circles_in(&told(&crossed)).len(), 1);
    let by_parents = [
        ("flow/a.rs", "use super::b::x::y;"),
        ("flow/b/mod.rs", "mod x;"),
        ("flow/b/x.rs", "fn f() { super::super::a::g() }"),
    ];
    assert_eq!(circles_in(&told(&by_parents)).len(), 1);
    let inside = [("flow/b/mod.rs", "mod x; use self::x::y;"), ("flow/b/x.rs", "use super::Z;")];
    assert!(circles_in(&told(&inside)).is_empty());
    let grouped = [
        ("db/b.rs", "use crate::{\n    domain::c,\n    flow::{a::E, d},\n};"),
        ("flow/a.rs", "crate::db::b::f();"),
    ];
    assert_eq!(circles_in(&told(&grouped)).len(), 1);
}

pub(super) fn orphans() {
    let root = repository();
    let mut found = Vec::new();
    let mut crates = vec!["runtime", "sdk/rust", "tests/simulator"]
        .into_iter()
        .map(|path| root.join(path))
        .collect::<Vec<_>>();
    for folder in ["chain-plugins", "sdk/rust/examples"] {
        crates.extend(fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    for one in crates.iter().filter(|path| path.join("Cargo.toml").is_file()) {
        let source = one.join("src");
        let files = rust_files(&source);
        assert!(!files.is_empty(), "{} has no sources", one.display());
        let declared: BTreeSet<PathBuf> =
            files.iter().flat_map(|file| declared_by(file, &fs::read_to_string(file).unwrap())).collect();
        let is_root = |file: &PathBuf| {
            file.parent() == Some(source.as_path()) && (file.ends_with("lib.rs") || file.ends_with("main.rs"))
        };
        found.extend(files.into_iter().filter(|file| !is_root(file) && !declared.contains(file)));
    }
    let shown: Vec<String> = found.iter().map(|file| file.display().to_string()).collect();
    assert!(shown.is_empty(), "in no module:\n{}", shown.join("\n"));
}

/// Where the modules may be that a file declares (`mod name;`), after a `#[path]` of theirs if there is one.
fn declared_by(file: &Path, text: &str) -> Vec<PathBuf> {
    let folder = match file.file_stem().and_then(|stem| stem.to_str()) {
        Some("mod" | "lib" | "main") => file.parent().unwrap().to_owned(),
        _ => file.with_extension(""),
    };
    let (mut found, mut path) = (Vec::new(), None);
    for line in text.lines().map(str::trim) {
        if let Some(told) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) {
            path = Some(file.parent().unwrap().join(told));
        }
        let declared = line.strip_suffix(';').and_then(|line| line.rsplit_once("mod "));
        if let Some((_, name)) = declared.filter(|(before, _)| before.is_empty() || before.starts_with("pub"))
        {
            match path.take() {
                Some(path) => found.push(path),
                None => found.extend([folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")]),
            }
        }
    }
    found
}

/// The code of each module, without tests.
fn sources(source: &Path) -> BTreeMap<Module, String> {
    let files = rust_files(source).into_iter().filter(|file| !is_test(file) && !file.ends_with("testing.rs"));
    files
        .map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            (module(file.strip_prefix(source).unwrap()), code(&text))
        })
        .collect()
}

fn told(files: &[(&str, &str)]) -> BTreeMap<Module, String> {
    files.iter().map(|(path, text)| (module(Path::new(path)), code(text))).collect()
}

/// `flow/b/mod.rs` is `flow::b`.
fn module(path: &Path) -> Module {
    let mut parts: Module =
        path.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    parts.pop_if(|last| last == "mod");
    parts
}

/// What counts as one: its parts may know each other.
fn unit(module: &[String]) -> &[String] {
    let depth = if module.first().is_some_and(|first| LAYERS.contains(&first.as_str())) { 2 } else { 1 };
    &module[..depth.min(module.len())]
}

/// A line for each circle that leaves its unit.
fn circles_in(modules: &BTreeMap<Module, String>) -> Vec<String> {
    let mut uses: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
    for (from, code) in modules.iter().filter(|(module, _)| !module.starts_with(&["lib".to_owned()])) {
        for path in paths(from, code) {
            // The longest part of the path that is a module; what follows is an item of it.
            let known = (1..=path.len()).rev().find_map(|len| modules.get_key_value(&path[..len]));
            if let Some((to, _)) = known.filter(|(to, _)| *to != from) {
                uses.entry(from).or_default().insert(to);
            }
        }
    }
    let reach = |start: &Module| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![start]);
        while let Some(module) = next.pop() {
            for to in uses.get(module).into_iter().flatten() {
                if seen.insert(*to) {
                    next.push(to);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        modules.keys().map(|module| (module, reach(module))).collect();
    let mut circles = BTreeSet::new();
    for (module, to) in &reached {
        let circle: Vec<&Module> =
            to.iter().copied().filter(|other| reached[other].contains(module)).collect();
        let units: BTreeSet<&[String]> = circle.iter().map(|module| unit(module)).collect();
        if units.len() > 1 {
            circles.insert(circle.iter().map(|module| module.join("::")).collect::<Vec<_>>().join(", "));
        }
    }
    circles.into_iter().collect()
}

/// The paths into the crate that some code of a file names, from the crate's root.
pub(super) fn used(file: &str, code: &str) -> Vec<Module> {
    paths(&module(Path::new(file)), code)
}

/// The paths into the crate that some code of a module names, from the crate's root.
fn paths(module: &[String], code: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (offset, _) in code.match_indices(start) {
            let before = &code[..offset];
            // `pub(in crate::http)` says who may know of it, and knows of nobody.
            let is_longer = before.ends_with(|sign: char| sign.is_alphanumeric() || "_:".contains(sign));
            if is_longer || before.ends_with("pub(in ") {
                continue;
            }
            tree(&mut Vec::new(), &code[offset..], &mut found);
        }
    }
    found.into_iter().filter_map(|path| absolute(module, &path)).collect()
}

/// Takes in a path, or all paths of a group; answers what follows it.
fn tree<'t>(head: &mut Module, text: &'t str, found: &mut Vec<Module>) -> &'t str {
    let depth = head.len();
    let mut rest = text.trim_start();
    loop {
        if let Some(mut group) = rest.strip_prefix('{') {
            loop {
                group = tree(head, group, found).trim_start();
                match group.strip_prefix(',') {
                    Some(more) if !more.trim_start().starts_with('}') => group = more,
                    Some(more) => group = more.trim_start(),
                    None => break,
                }
                if group.starts_with('}') {
                    break;
                }
            }
            rest = group.strip_prefix('}').unwrap_or(group);
            break;
        }
        let end = rest.find(|sign: char| !sign.is_alphanumeric() && sign != '_').unwrap_or(rest.len());
        head.push(rest[..end].to_owned());
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(more) => rest = more,
            None => {
                found.push(head.clone());
                // `a as b`
                rest = rest.strip_prefix(" as ").map_or(rest, |alias| {
                    alias.trim_start_matches(|sign: char| sign.is_alphanumeric() || sign == '_')
                });
                break;
            }
        }
    }
    head.truncate(depth);
    rest
}

/// A path from the crate's root.
fn absolute(module: &[String], path: &[String]) -> Option<Module> {
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        _ => {
            let ups = path.iter().take_while(|part| *part == "super").count();
            let base = module.len().checked_sub(ups)?;
            Some([&module[..base], &path[ups..]].concat())
        }
    }
}
