//! The contract of plugins changes only by what the table of wit/README.md allows: what was frozen is there unchanged, and
//! what is new breaks no component that was compiled against it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use kassa_tests::{Suite, tests_folder};
use wit_parser::{Function, Handle, Interface, Resolve, SourceMap, Type, TypeDefKind, WorldItem, WorldKey};

pub(crate) fn cases(suite: &mut Suite) {
    suite.once("contract::what_was_frozen_is_there_unchanged", frozen);
    suite.once("contract::each_change_that_breaks_plugins_is_found", breaking);
    suite.once("contract::each_change_that_breaks_none_is_let_through", harmless);
}

/// The files of a version, by their names.
type Files = BTreeMap<String, String>;

fn files(folder: &Path) -> Files {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wit"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// The folders of the frozen versions.
fn versions() -> Vec<PathBuf> {
    let folder = tests_folder().join("frozen/wit");
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn current() -> Files {
    files(&tests_folder().join("../wit"))
}

async fn frozen() {
    let current = Contract::parse(&current());
    let versions = versions();
    assert!(!versions.is_empty());
    for version in versions {
        let broken = current.breaks(&Contract::parse(&files(&version)));
        assert!(broken.is_empty(), "since {}:\n{}", version.display(), broken.join("\n"));
    }
}

/// Edits in memory, each of a kind that the table forbids, and what is found.
async fn breaking() {
    for (file, old, new, found) in [
        ("hooks.wit", "        tag: string,\n", "", "matcher.candidate"),
        (
            "hooks.wit",
            "        tag: string,\n",
            "        tag: string,\n        new: u8,\n",
            "matcher.candidate",
        ),
        (
            "hooks.wit",
            "        created-ms: u64,\n        expires-ms: u64,\n",
            "        expires-ms: u64,\n        created-ms: u64,\n",
            "matcher.candidate",
        ),
        ("hooks.wit", "        decimals: u8,\n", "        decimals: u16,\n", "matcher.context"),
        ("hooks.wit", "        order-id: string,\n", "        order: string,\n", "matcher.candidate"),
        ("hooks.wit", "        pass,\n", "        pass,\n        wait,\n", "matcher.decision"),
        ("hooks.wit", "        pass,\n", "", "matcher.decision"),
        ("hooks.wit", "        review(string),\n", "        review,\n", "matcher.decision"),
        ("hooks.wit", "        unknown-pair,\n", "        unknown,\n", "rates.rates-error"),
        ("types.wit", "    variant method {\n        get,\n", "    variant method {\n", "types.method"),
        (
            "hooks.wit",
            "price-of: func(pair: pair, context: context)",
            "price-of: func(pair: pair)",
            "rates.price-of",
        ),
        (
            "hooks.wit",
            "price-of: func(pair: pair, context: context)",
            "price-of: func(of: pair, context: context)",
            "rates.price-of",
        ),
        ("hooks.wit", "price-of: func(", "price-of: async func(", "rates.price-of"),
        ("hooks.wit", "-> result<price, rates-error>", "-> result<price>", "rates.price-of"),
        (
            "hooks.wit",
            "interface fulfiller {",
            "interface fulfiller {\n    undo: func();",
            "fulfiller.undo: a new function in a role",
        ),
        ("hooks.wit", "    fulfill: func(", "    carry-out: func(", "fulfiller.fulfill"),
        ("*", "clock", "time", "clock: it is gone"),
        (
            "worlds.wit",
            "    export form;",
            "    export form;\n    @since(version = 0.1.0)\n    export rates;",
            "world form-hook exports",
        ),
        (
            "worlds.wit",
            "    @since(version = 0.1.0)\n    import secrets;\n",
            "",
            "world form-hook imports secrets",
        ),
        ("worlds.wit", "world form-hook", "world forms-hook", "world form-hook"),
        ("*", "kassa:plugin@0.1.0", "kassa:plugin@0.2.0", "package"),
    ] {
        let frozen = Contract::parse(&current());
        let broken = Contract::parse(&edited(file, old, new)).breaks(&frozen);
        assert!(broken.iter().any(|one| one.contains(found)), "{file}: {old:?} as {new:?}: {broken:?}");
    }
}

async fn harmless() {
    for (file, old, new) in [
        ("hooks.wit", "/// Role `form`:", "/// The role `form`:"),
        ("services.wit", "interface clock {", "interface clock {\n    ticks: func() -> u64;"),
        (
            "services.wit",
            "interface clock {",
            "interface clock {\n    record tick { at: u64 }\n    next: func() -> tick;",
        ),
        (
            "services.wit",
            "@since(version = 0.1.0)\ninterface clock",
            "interface queue { push: func(item: string); }\n@since(version = 0.1.0)\ninterface clock",
        ),
        ("hooks.wit", "/// Role `form`:", "interface judge { judge: func() -> bool; }\n/// Role `form`:"),
        (
            "worlds.wit",
            "    export form;",
            "    export form;\n    @since(version = 0.1.0)\n    import random;",
        ),
        ("*", "kassa:plugin@0.1.0", "kassa:plugin@0.1.7"),
    ] {
        let frozen = Contract::parse(&current());
        let broken = Contract::parse(&edited(file, old, new)).breaks(&frozen);
        assert!(broken.is_empty(), "{file}: {old:?} as {new:?}: {broken:?}");
    }
}

/// The current files with one of them, or all, changed.
fn edited(file: &str, old: &str, new: &str) -> Files {
    let mut files = current();
    let mut is_changed = false;
    for (_, text) in files.iter_mut().filter(|(name, _)| file == "*" || name.as_str() == file) {
        is_changed |= text.contains(old);
        *text = text.replace(old, new);
    }
    assert!(is_changed, "{file} has no {old:?}");
    files
}

/// A version of the package, as far as components depend on it: each item by its name, written out.
struct Contract {
    /// Versions with the same one fit together.
    package: String,
    interfaces: BTreeSet<String>,
    /// Interfaces that a component implements.
    roles: BTreeSet<String>,
    types: BTreeMap<String, String>,
    functions: BTreeMap<String, String>,
    /// Of each world, its imports and its exports.
    worlds: BTreeMap<String, [BTreeSet<String>; 2]>,
}

impl Contract {
    fn parse(files: &Files) -> Self {
        let mut sources = SourceMap::default();
        for (name, text) in files {
            sources.push(Path::new(name), text.clone());
        }
        let group = sources.parse().unwrap_or_else(|(_, why)| panic!("{why}"));
        let mut resolve = Resolve::default();
        let package = resolve.push_group(group).unwrap_or_else(|why| panic!("{why}"));
        let package = &resolve.packages[package];
        let version = package.name.version.as_ref().expect("a version");
        let name = &package.name;
        let package_name = format!("{}:{}@{}.{}", name.namespace, name.name, version.major, version.minor);
        let mut contract = Self {
            package: package_name,
            interfaces: package.interfaces.keys().cloned().collect(),
            roles: BTreeSet::new(),
            types: BTreeMap::new(),
            functions: BTreeMap::new(),
            worlds: BTreeMap::new(),
        };
        for (name, id) in &package.worlds {
            let world = &resolve.worlds[*id];
            let named = |items: &mut dyn Iterator<Item = (&WorldKey, &WorldItem)>| {
                items.map(|(key, _)| key_name(&resolve, key)).collect::<BTreeSet<_>>()
            };
            let [imports, exports] = [named(&mut world.imports.iter()), named(&mut world.exports.iter())];
            contract.roles.extend(exports.iter().cloned());
            contract.worlds.insert(name.clone(), [imports, exports]);
        }
        for (name, id) in &package.interfaces {
            contract.take(&resolve, name, &resolve.interfaces[*id]);
        }
        contract
    }

    fn take(&mut self, resolve: &Resolve, name: &str, interface: &Interface) {
        for (item, id) in &interface.types {
            let written = kind(resolve, &resolve.types[*id].kind);
            self.types.insert(format!("{name}.{item}"), written);
        }
        for (item, of) in &interface.functions {
            self.functions.insert(format!("{name}.{item}"), function(resolve, of));
        }
    }

    /// What in this contract breaks components that were made for the one before.
    fn breaks(&self, before: &Self) -> Vec<String> {
        let mut broken = Vec::new();
        if self.package != before.package {
            broken.push(format!("the package is {} and was {}", self.package, before.package));
        }
        broken
            .extend(before.interfaces.difference(&self.interfaces).map(|gone| format!("{gone}: it is gone")));
        for (was, is) in [(&before.types, &self.types), (&before.functions, &self.functions)] {
            for (name, was) in was {
                match is.get(name) {
                    None => broken.push(format!("{name}: it is gone")),
                    Some(is) if is != was => broken.push(format!("{name}: it is {is}, and was {was}")),
                    Some(_) => {}
                }
            }
        }
        for name in self.functions.keys().filter(|name| !before.functions.contains_key(*name)) {
            let interface = name.split('.').next().unwrap_or_default();
            if before.roles.contains(interface) {
                broken.push(format!("{name}: a new function in a role"));
            }
        }
        for (name, [imports, exports]) in &before.worlds {
            let Some([imports_now, exports_now]) = self.worlds.get(name) else {
                broken.push(format!("the world {name} is gone"));
                continue;
            };
            // A component may import all that its world had; what comes to it, no old one imports.
            let gone = imports.difference(imports_now);
            broken.extend(gone.map(|gone| format!("the world {name} imports {gone} no more")));
            if exports != exports_now {
                broken.push(format!("the world {name} exports {exports_now:?}, and exported {exports:?}"));
            }
        }
        broken
    }
}

fn key_name(resolve: &Resolve, key: &WorldKey) -> String {
    match key {
        WorldKey::Name(name) => name.clone(),
        WorldKey::Interface(id) => resolve.interfaces[*id].name.clone().unwrap_or_default(),
    }
}

fn function(resolve: &Resolve, function: &Function) -> String {
    let params =
        function.params.iter().map(|param| format!("{}: {}", param.name, written(resolve, &param.ty)));
    let params = params.collect::<Vec<_>>().join(", ");
    let result = function.result.as_ref().map(|result| written(resolve, result));
    format!("{:?}({params}) -> {}", function.kind, result.unwrap_or_default())
}

/// A type as it is used: by its name, if it has one.
fn written(resolve: &Resolve, of: &Type) -> String {
    let Type::Id(id) = of else { return format!("{of:?}") };
    let definition = &resolve.types[*id];
    match &definition.name {
        Some(name) => name.clone(),
        None => kind(resolve, &definition.kind),
    }
}

/// A type as it is defined, in the order of its parts.
fn kind(resolve: &Resolve, kind: &TypeDefKind) -> String {
    let some = |of: &Type| written(resolve, of);
    let any = |of: &Option<Type>| of.as_ref().map_or_else(|| "_".to_owned(), some);
    let list = |parts: Vec<String>| parts.join(", ");
    match kind {
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter().map(|field| format!("{}: {}", field.name, some(&field.ty)));
            format!("record {{{}}}", list(fields.collect()))
        }
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter().map(|case| format!("{}({})", case.name, any(&case.ty)));
            format!("variant {{{}}}", list(cases.collect()))
        }
        TypeDefKind::Enum(cases) => {
            format!("enum {{{}}}", list(cases.cases.iter().map(|case| case.name.clone()).collect()))
        }
        TypeDefKind::Flags(flags) => {
            format!("flags {{{}}}", list(flags.flags.iter().map(|flag| flag.name.clone()).collect()))
        }
        TypeDefKind::Tuple(tuple) => format!("tuple<{}>", list(tuple.types.iter().map(some).collect())),
        TypeDefKind::Option(of) => format!("option<{}>", some(of)),
        TypeDefKind::List(of) => format!("list<{}>", some(of)),
        TypeDefKind::FixedLengthList(of, length) => format!("list<{}, {length}>", some(of)),
        TypeDefKind::Map(key, value) => format!("map<{}, {}>", some(key), some(value)),
        TypeDefKind::Result(result) => format!("result<{}, {}>", any(&result.ok), any(&result.err)),
        TypeDefKind::Future(of) => format!("future<{}>", any(of)),
        TypeDefKind::Stream(of) => format!("stream<{}>", any(of)),
        TypeDefKind::Handle(Handle::Own(id)) => format!("own<{}>", some(&Type::Id(*id))),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", some(&Type::Id(*id))),
        // Of another interface: which one, and under which name it stands there.
        TypeDefKind::Type(of) => format!("{} of {}", some(of), home(resolve, of)),
        TypeDefKind::Resource | TypeDefKind::Unknown => kind.as_str().to_owned(),
    }
}

/// The interface that a type was taken from.
fn home(resolve: &Resolve, of: &Type) -> String {
    let Type::Id(id) = of else { return String::new() };
    match resolve.types[*id].owner {
        wit_parser::TypeOwner::Interface(id) => resolve.interfaces[id].name.clone().unwrap_or_default(),
        wit_parser::TypeOwner::World(_) | wit_parser::TypeOwner::None => String::new(),
    }
}
