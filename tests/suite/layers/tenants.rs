//! Tenants by type: a merchant and a mode go together as one `Tenant`, so that no query can be asked for the one
//! without the other, or with the wrong one; and a mode is never a bool.

use super::found;

/// Files that may say a mode as a bool, or hold the two side by side, and why.
const MAY: &[(&str, &str)] = &[
    ("cli/key.rs", "the option --test"),
    ("domain/network.rs", "the manifest's own field; who asks for a mode asks `Manifest::mode`"),
    ("domain/tenant.rs", "the type itself"),
    ("domain/view.rs", "the API's `test` of an invoice"),
    ("http/merchants.rs", "the API's `test` of a key"),
    ("http/networks/mod.rs", "the API's `test` of a network"),
];

pub(super) fn tenants() {
    let broken = found(&[""], MAY, |_, code| loose(code));
    assert!(broken.is_empty(), "a Tenant in parts:\n{}", broken.join("\n"));
}

/// What is wrong with the signatures and structs of some code.
fn loose(code: &str) -> Vec<String> {
    let signatures = declared(code, "fn ", &["{", ";\n"]);
    let structs = declared(code, "struct ", &["\n}", "\n    }", ";\n"]);
    let mut found = Vec::new();
    for declaration in signatures.into_iter().chain(structs) {
        let has = |wanted: &str| {
            declaration.match_indices(wanted).any(|(offset, _)| {
                !declaration[..offset].ends_with(|sign: char| sign.is_alphanumeric() || sign == '_')
            })
        };
        let name = declaration.split(['(', '<', '{', ' ']).next().unwrap_or_default();
        if has("test: bool") {
            found.push(format!("{name} takes a mode as a bool"));
        } else if (has("merchant_id: ") || has("merchant: ")) && (has("mode: Mode") || has("test: ")) {
            found.push(format!("{name} takes a merchant and a mode apart"));
        }
    }
    found
}

/// What follows each of these keywords, up to the first of these ends.
fn declared<'c>(code: &'c str, keyword: &str, ends: &[&str]) -> Vec<&'c str> {
    let starts = code
        .match_indices(keyword)
        .filter(|(offset, _)| !code[..*offset].ends_with(|sign: char| sign.is_alphanumeric() || sign == '_'));
    starts
        .map(|(offset, _)| &code[offset + keyword.len()..])
        .map(|rest| &rest[..ends.iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len())])
        .collect()
}

pub(super) fn are_seen() {
    for broken in [
        "async fn get(conn: &mut Conn, merchant_id: &str, test: bool) -> Found {\n}",
        "fn step(app: &App, test: bool) {\n}",
        "fn list(\n    merchant_id: &str,\n    mode: Mode,\n) {\n}",
        "pub(crate) struct Row {\n    pub(crate) merchant_id: String,\n    pub(crate) mode: Mode,\n}",
        "struct Row {\n    id: String,\n    test: bool,\n}",
    ] {
        assert_eq!(loose(broken).len(), 1, "{broken}");
    }
    for sound in [
        "fn get(conn: &mut Conn, tenant: &Tenant, id: &str) {\n    let test: bool = true;\n}",
        "fn of_merchants(conn: &mut Conn, mode: Mode) {\n}\nfn taken(merchant_id: &str) {\n}",
        "struct A {\n    merchant_id: String,\n}\nstruct B {\n    mode: Mode,\n}",
        "fn expand(latest: bool) {\n}",
    ] {
        assert!(loose(sound).is_empty(), "{sound}");
    }
}
