//! Hostile components: those of tests/hostile in the text format, turned into fulfillers, and the other parts of
//! hostile uploads.

use std::fmt::Write as _;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::tests_folder;

/// Ids of the sections of a component that hold a module or a component, and of custom sections.
const MODULE_SECTION: u8 = 1;
const COMPONENT_SECTION: u8 = 4;
const CUSTOM_SECTION: u8 = 0;

/// Parts of a module that the text does not bring itself. An instance lives for one call, so nothing is ever freed. The
/// zeros at 1024 are the outcome `done("")`.
const MEMORY: &str = r#"(memory (export "memory") 2)"#;
const REALLOC: &str = r#"
    (global $next (mut i32) (i32.const 8192))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.get $next)
        (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7)) (i32.const -8))))"#;
const EXPORT: &str = r#"
    (func (export "kassa:plugin/fulfiller@0.1.0#fulfill")
        (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32) (result i32)
        (call $fulfill))"#;

/// A component of tests/hostile that is written in the text format: its file is the inside of a module with a function
/// `$fulfill` that returns the address of its outcome, or a whole component.
#[must_use]
pub fn hostile(name: &str) -> Vec<u8> {
    hostile_as(name, name)
}

/// The same as a version of the hook with another name.
#[must_use]
pub fn hostile_as(hook: &str, name: &str) -> Vec<u8> {
    fulfiller(hook, &file(name), "")
}

fn file(name: &str) -> String {
    let file = tests_folder().join(format!("hostile/{name}.wat"));
    std::fs::read_to_string(&file).unwrap_or_else(|why| panic!("{}: {why}", file.display()))
}

/// A hook of this name with this text as its code, and with more lines in its manifest.
fn fulfiller(name: &str, text: &str, more: &str) -> Vec<u8> {
    let roles: Vec<&str> = ["fulfiller", "matcher", "rates", "form"]
        .into_iter()
        .filter(|role| *role == "fulfiller" || text.contains(&format!("kassa:plugin/{role}@0.1.0#")))
        .collect();
    let component = if text.contains("\n(component") {
        assembled(text)
    } else {
        let with = |text: &str, part: &'static str, name: &str| if text.contains(name) { "" } else { part };
        let module =
            [text, with(text, MEMORY, "\"memory\""), with(text, REALLOC, "\"cabi_realloc\""), EXPORT]
                .concat();
        let mut world = "package suite:hostile; world w { include kassa:plugin/hook@0.1.0; ".to_owned();
        for role in &roles {
            let _ = write!(world, "export kassa:plugin/{role}@0.1.0; ");
        }
        let mut resolve = Resolve::default();
        resolve.push_dir(tests_folder().join("../wit")).expect("the WIT package");
        componentize(&format!("(module {module})"), resolve, &(world + "}"))
    };
    with_manifest(name, &roles, more, &component)
}

fn with_manifest(name: &str, roles: &[&str], more: &str, component: &[u8]) -> Vec<u8> {
    let manifest = format!(
        "name = {name:?}
version = \"0.1.0\"
description = \"Means harm\"
roles = {roles:?}
events = [\"invoice.paid\"]
{more}
"
    );
    with_custom(component, "kassa:manifest", &manifest)
}

fn with_custom(component: &[u8], name: &str, content: &str) -> Vec<u8> {
    with_section(component, CUSTOM_SECTION, &[&leb(name.len()), name.as_bytes(), content.as_bytes()].concat())
}

/// Makes a component of a module, for the world in this WIT text.
fn componentize(module: &str, mut resolve: Resolve, world: &str) -> Vec<u8> {
    let package = resolve.push_str("hostile.wit", world).expect("a WIT text");
    let world = resolve.select_world(&[package], None).expect("its world");
    let mut module = wat::parse_str(module).unwrap_or_else(|why| panic!("{why}\n{module}"));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("a section");
    let encoded = ComponentEncoder::default().module(&module).and_then(|mut encoder| encoder.encode());
    encoded.unwrap_or_else(|why| panic!("{why:?}"))
}

/// A quiet hook that also contains this module or component. Nothing uses it, but what checks and compiles has to look
/// at it.
#[must_use]
pub fn carrying(name: &str, text: &str) -> Vec<u8> {
    let is_module = text.starts_with("(module");
    with_section(&quiet(name), if is_module { MODULE_SECTION } else { COMPONENT_SECTION }, &assembled(text))
}

/// A hook with this inside of a module, as in the files of tests/hostile.
#[must_use]
pub fn doing(name: &str, text: &str) -> Vec<u8> {
    fulfiller(name, text, "")
}

/// The same component with a section that only makes it a different one.
#[must_use]
pub fn numbered(component: &[u8], number: u128) -> Vec<u8> {
    with_custom(component, "number", &number.to_string())
}

/// Assembles a text of WebAssembly.
#[must_use]
pub fn assembled(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|why| panic!("{why}"))
}

/// tests/hostile/straight.wat with its call repeated `times` times.
#[must_use]
pub fn straight(times: usize) -> Vec<u8> {
    let text = file("straight");
    let call = text.lines().find(|line| line.contains("(call $write")).expect("a call");
    fulfiller("straight", &text.replace(call, &format!("{call}\n").repeat(times)), "")
}

/// A hook that does nothing.
#[must_use]
pub fn quiet(name: &str) -> Vec<u8> {
    asking(name, "")
}

/// A hook that does nothing, with more lines in its manifest.
#[must_use]
pub fn asking(name: &str, more: &str) -> Vec<u8> {
    fulfiller(name, "(func $fulfill (result i32) i32.const 1024)", more)
}

/// A fulfiller of a version that never existed: the same names, other types.
#[must_use]
pub fn stale(name: &str) -> Vec<u8> {
    let wit = "package kassa:plugin@0.1.0;
        interface fulfiller { fulfill: func(event: string, attempt: u64) -> bool; }
        world w { export fulfiller; }";
    let module = format!(
        "(module {MEMORY} {REALLOC}
            (func (export \"kassa:plugin/fulfiller@0.1.0#fulfill\") (param i32 i32 i64) (result i32) i32.const 1))"
    );
    with_manifest(name, &["fulfiller"], "", &componentize(&module, Resolve::default(), wit))
}

fn with_section(component: &[u8], id: u8, content: &[u8]) -> Vec<u8> {
    [component, &[id], &leb(content.len()), content].concat()
}

/// A length in WebAssembly's encoding (LEB128).
fn leb(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(length & 0x7F).expect("seven bits");
        length >>= 7;
        if length == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
