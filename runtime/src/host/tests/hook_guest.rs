//! A hook for tests: a fulfiller in the text format, made a component.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A fulfiller that answers `done("")`.
pub(crate) struct HookGuest {
    manifest: String,
    start: &'static str,
}

const MANIFEST: &str = r#"
name = "hook"
version = "0.1.0"
description = "A hook of a test"
roles = ["fulfiller"]

[grants]
storage_kib = 4
"#;

impl HookGuest {
    pub(crate) fn new() -> Self {
        Self { manifest: MANIFEST.to_owned(), start: "" }
    }

    pub(crate) fn named(self, name: &str, version: &str) -> Self {
        let manifest = self.manifest.replace("\"hook\"", &format!("{name:?}"));
        Self { manifest: manifest.replace("0.1.0", version), ..self }
    }

    /// Sets the storage that it asks for.
    pub(crate) fn grants(self, storage_kib: u32) -> Self {
        let granted = format!("storage_kib = {storage_kib}");
        Self { manifest: self.manifest.replace("storage_kib = 4", &granted), ..self }
    }

    /// Appends lines to the manifest.
    pub(crate) fn asking(self, lines: &str) -> Self {
        Self { manifest: format!("{}\n{lines}", self.manifest), ..self }
    }

    /// Sets code that runs at instantiation.
    pub(crate) fn starting(self, start: &'static str) -> Self {
        Self { start, ..self }
    }

    pub(crate) fn component(&self) -> Vec<u8> {
        let manifest = &self.manifest;
        let start = match self.start {
            "" => String::new(),
            body => format!("(func $start {body}) (start $start)"),
        };
        let text = format!(
            r#"(module
                (memory (export "memory") 2)
                (global $next (mut i32) (i32.const 8192))
                (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
                    (local $at i32)
                    (local.set $at (global.get $next))
                    (global.set $next
                        (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
                    (local.get $at))
                {start}
                (func (export "kassa:plugin/fulfiller@0.1.0#fulfill")
                    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32) (result i32) i32.const 1024)
                (@custom "kassa:manifest" {manifest:?}))"#
        );
        let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut resolve = Resolve::default();
        let (kassa, _) = resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap();
        let world = resolve.select_world(&[kassa], Some("kassa:plugin/fulfiller-hook@0.1.0")).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
    }
}
