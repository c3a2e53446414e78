//! Ids by type: what is called an id is an `InvoiceId`, a `HookId`, …, never text, so that one cannot be given where
//! another is meant.

use super::found;

/// The layers whose ids are typed. `http` reads them from text, `host` says them to components, `cli` to people.
const LAYERS: &[&str] = &["domain", "db", "flow"];

/// Ids that are no ids of rows: a network's or a merchant's own names.
const NAMES: &[&str] = &["asset_id", "chain_id", "order_id", "unique_id"];

/// Ids that are text, by their files, and why.
const MAY: &[(&str, &str)] = &[
    ("db/hooks/secrets.rs: id", "`db::sealed` names rows of any table by text"),
    ("db/hooks/shadows.rs: run_id", "of a run, or of a question"),
    ("domain/signature.rs: id", "what is signed: Standard Webhooks has messages of any origin"),
];

pub(super) fn ids() {
    let broken = found(LAYERS, MAY, |_, code| loose(code));
    assert!(broken.is_empty(), "ids that are text:\n{}", broken.join("\n"));
}

/// The parameters and fields of some code that are called an id and are text.
fn loose(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (offset, _) in code.match_indices(": ") {
        let before = &code[..offset];
        let start = before.rfind(|sign: char| !sign.is_alphanumeric() && sign != '_').map_or(0, |at| at + 1);
        let name = &before[start..];
        let single = name.strip_suffix('s').unwrap_or(name);
        let is_id = single == "id" || single.ends_with("_id");
        if is_id && !NAMES.contains(&single) && is_text(&code[offset + 2..]) {
            found.push(name.to_owned());
        }
    }
    found
}

/// Whether a type that begins here is text, or several texts, or perhaps one.
fn is_text(of: &str) -> bool {
    let end = of.find([',', ';', ')', '=', '{', '}', '\n']).unwrap_or(of.len());
    let words = of[..end].split(|sign: char| !sign.is_alphanumeric());
    let mut words = words.filter(|word| {
        !matches!(*word, "" | "Option" | "Vec" | "BTreeSet" | "HashSet" | "Arc" | "static" | "a")
    });
    matches!(words.next(), Some("str" | "String"))
}

pub(super) fn are_seen() {
    for broken in [
        "fn get(conn: &mut Conn, id: &str) {\n}",
        "fn get(\n    invoice_id: String,\n) {\n}",
        "pub(crate) struct Row {\n    pub(crate) hook_id: Option<String>,\n}",
        "struct Row<'a> {\n    id: &'a str,\n}",
        "fn all(transfer_ids: &[String]) {\n}",
        "fn all(ids: Vec<String>) {\n}",
        "struct Lane {\n    endpoint_id: Arc<str>,\n}",
    ] {
        assert_eq!(loose(broken).len(), 1, "{broken}");
    }
    for sound in [
        "fn get(conn: &mut Conn, id: &InvoiceId, why: &str) {\n}",
        "fn made(order_id: Option<String>, asset_id: &str) {\n}",
        "fn scan(valid: &str, grid: String) {\n}",
        "let row = Row { id: id.clone(), note: String::new() };",
    ] {
        assert!(loose(sound).is_empty(), "{sound}");
    }
}
