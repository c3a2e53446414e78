//! Guests for tests: a core module in the text format, made a component of the world that it is for.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A guest whose functions all answer with zeros (which every result of the roles allows), unless a test says
/// otherwise.
pub(super) struct Guest {
    world: &'static str,
    /// WIT packages and the world itself, beside `kassa:plugin`.
    wit: String,
    manifests: Vec<String>,
    imports: &'static str,
    items: &'static str,
    start: &'static str,
    normalize: &'static str,
    scan: &'static str,
    /// Body of `find`, if it has the role `finder`.
    find: Option<&'static str>,
    /// Body that reads balances, and its answer to whether that is needed, if it has the role `balances`.
    balances: Option<(&'static str, bool)>,
    simulator: bool,
}

pub(super) const MANIFEST: &str = r#"
name = "test"
version = "0.1.0"
description = "A guest of a test"
roles = ["chain"]

[grants]
storage_kib = 4
"#;

/// Address of the guest's zeros.
const ZEROS: &str = "i32.const 1024";

impl Guest {
    pub(super) fn new() -> Self {
        Self {
            world: "kassa:plugin/chain-plugin@0.1.0",
            wit: String::new(),
            manifests: vec![MANIFEST.to_owned()],
            imports: "",
            items: "",
            start: "",
            normalize: ZEROS,
            scan: ZEROS,
            find: None,
            balances: None,
            simulator: false,
        }
    }

    /// A guest whose `scan` has this body, which leaves the address of its result on the stack.
    pub(super) fn scanning(scan: &'static str) -> Self {
        Self { scan, ..Self::new() }
    }

    pub(super) fn normalizing(self, normalize: &'static str) -> Self {
        Self { normalize, ..self }
    }

    /// Sets core imports, as `(import …)`.
    pub(super) fn imports(self, imports: &'static str) -> Self {
        Self { imports, ..self }
    }

    /// Sets globals, tables and functions that the bodies use.
    pub(super) fn items(self, items: &'static str) -> Self {
        Self { items, ..self }
    }

    /// Sets code that runs at instantiation.
    pub(super) fn starting(self, start: &'static str) -> Self {
        Self { start, ..self }
    }

    pub(super) fn named(self, name: &str, version: &str) -> Self {
        self.manifest(&MANIFEST.replace("\"test\"", &format!("{name:?}")).replace("0.1.0", version))
    }

    /// The same manifest with another version.
    pub(super) fn named_also(self, version: &str) -> Self {
        let manifests = self.manifests.iter().map(|text| text.replace("0.1.0", version)).collect();
        Self { manifests, ..self }
    }

    pub(super) fn manifest(self, manifest: &str) -> Self {
        Self { manifests: vec![manifest.to_owned()], ..self }
    }

    pub(super) fn manifests(self, manifests: &[&str]) -> Self {
        Self { manifests: manifests.iter().map(|text| (*text).to_owned()).collect(), ..self }
    }

    /// A guest that also finds transactions, with this body; `None` finds nothing.
    pub(super) fn finding(self, find: Option<&'static str>) -> Self {
        let manifest = MANIFEST.replace("[\"chain\"]", "[\"chain\", \"finder\"]");
        let world = "kassa:plugin/finding-chain-plugin@0.1.0";
        Self { world, find: Some(find.unwrap_or(ZEROS)), ..self }.manifest(&manifest)
    }

    /// A guest that finds nothing and reads balances with this body; `needed` is its answer to whether they are
    /// compared.
    pub(super) fn comparing(self, read: &'static str, needed: bool) -> Self {
        let manifest = MANIFEST.replace("[\"chain\"]", "[\"chain\", \"finder\", \"balances\"]");
        let world = "kassa:plugin/comparing-chain-plugin@0.1.0";
        Self { world, balances: Some((read, needed)), ..self.finding(None) }.manifest(&manifest)
    }

    pub(super) fn simulating(self) -> Self {
        Self { world: "kassa:plugin/sandbox-plugin@0.1.0", simulator: true, ..self }
    }

    /// Sets another world, and the packages that it needs.
    pub(super) fn world(self, world: &'static str, wit: &str) -> Self {
        Self { world, wit: wit.to_owned(), ..self }
    }

    fn module(&self) -> Vec<u8> {
        let Self { imports, items, normalize, scan, .. } = self;
        let manifests: String =
            self.manifests.iter().map(|text| format!("(@custom \"kassa:manifest\" {text:?})\n")).collect();
        let start = match self.start {
            "" => String::new(),
            body => format!("(func $start {body}) (start $start)"),
        };
        let simulator = if self.simulator {
            "(func (export \"kassa:plugin/simulator@0.1.0#simulate\")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) i32.const 1024)"
        } else {
            ""
        };
        let finder = self.find.map(|find| {
            format!(
                "(func (export \"kassa:plugin/finder@0.1.0#find\")
                    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {find})"
            )
        });
        let finder = finder.unwrap_or_default();
        let balances = self.balances.map(|(read, needed)| {
            format!(
                "(func (export \"kassa:plugin/balances@0.1.0#needed\")
                    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
                    (i32.store8 (i32.const 3076) (i32.const {})) i32.const 3072)
                (func (export \"kassa:plugin/balances@0.1.0#read\")
                    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {read})",
                u8::from(needed)
            )
        });
        let balances = balances.unwrap_or_default();
        let text = format!(
            r#"(module
                {imports}
                (memory (export "memory") 2)
                (global $next (mut i32) (i32.const 8192))
                (func (export "cabi_realloc") (param $old i32) (param i32) (param i32) (param $size i32) (result i32)
                    (local $at i32)
                    (local.set $at (global.get $next))
                    (global.set $next
                        (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
                    (local.get $at))
                {items}
                {start}
                (func (export "kassa:plugin/chain@0.1.0#describe")
                    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) i32.const 1024)
                (func (export "kassa:plugin/chain@0.1.0#normalize-address")
                    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {normalize})
                (func (export "kassa:plugin/chain@0.1.0#derive-address")
                    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) i32.const 1024)
                (func (export "kassa:plugin/chain@0.1.0#payment-link") (param i32) (result i32)
                    i32.const 1024)
                (func $scan (export "kassa:plugin/chain@0.1.0#scan")
                    (param i32) (result i32)
                    {scan})
                {finder}
                {balances}
                {simulator}
                {manifests})"#
        );
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    pub(super) fn component(&self) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let (kassa, _) = resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap();
        let mut packages = vec![kassa];
        if !self.wit.is_empty() {
            packages.push(resolve.push_str("test.wit", &self.wit).unwrap());
        }
        let world = resolve.select_world(&packages, Some(self.world)).unwrap();
        let mut module = self.module();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
    }
}
