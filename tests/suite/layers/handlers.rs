//! Handlers touch no database: what is read and written stands in `flow`, and whoever commits an answer with its effect is
//! `http/idempotent.rs` alone. Of `db` a handler knows the types that it shows.

use std::{collections::BTreeSet, fs};

use super::{code, is_test, modules, repository, rust_files};

/// Files that may hold a connection, and why.
const MAY: &[(&str, &str)] = &[("http/idempotent.rs", "it commits an answer with its effect")];

pub(super) fn handlers() {
    let source = repository().join("runtime/src");
    let (mut broken, mut used) = (Vec::new(), BTreeSet::new());
    for path in rust_files(&source.join("http")).into_iter().filter(|path| !is_test(path)) {
        let shown = path.strip_prefix(&source).expect("below src").display().to_string();
        let touched = touched(&shown, &code(&fs::read_to_string(&path).expect("a source file")));
        if !touched.is_empty() && MAY.iter().any(|(file, _)| *file == shown) {
            used.insert(shown);
        } else {
            broken.extend(touched.into_iter().map(|what| format!("{shown}: {what}")));
        }
    }
    let idle = MAY.iter().filter(|(file, _)| !used.contains(*file));
    broken.extend(idle.map(|(file, _)| format!("{file} needs no exception: take it off the list")));
    assert!(broken.is_empty(), "handlers that touch the database:\n{}", broken.join("\n"));
}

/// What of the database some code of a file touches.
fn touched(file: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let is_word = |sign: char| sign.is_alphanumeric() || sign == '_';
    let holds = code.match_indices("Conn").any(|(offset, word)| {
        !code[..offset].ends_with(is_word) && !code[offset + word.len()..].starts_with(is_word)
    });
    if holds {
        found.push("it holds a connection".to_owned());
    }
    // A call may begin on a line of its own.
    let flat: String = code.split_whitespace().collect();
    for call in [".db.read(", ".db.write(", ".db.write::"].iter().filter(|call| flat.contains(**call)) {
        found.push(format!("it calls {call}"));
    }
    for path in modules::used(file, code).into_iter().filter(|path| path[0] == "db") {
        if !path.iter().any(|part| part.starts_with(|sign: char| sign.is_uppercase())) {
            found.push(format!("{} is no type", path.join("::")));
        }
    }
    found
}

pub(super) fn are_seen() {
    for broken in [
        "async fn found(conn: &mut Conn, id: &str) {}",
        "let row = get(&mut app.db.read().await?, id);",
        "let row = app\n    .db\n    .write::<_, Problem, _>(move |conn| work(conn));",
        "let row = app.db.write(work).await?;",
        "use crate::db::hooks;",
        "use crate::db::hooks::{self, Hook};",
        "use crate::{\n    app::App,\n    db::{\n        DbError, hooks::{Hook, get as found},\n    },\n};",
        "let row = crate::db::hooks::get(x, id).await?;",
        "let row = super::super::db::hooks::get(x, id).await?;",
    ] {
        assert_eq!(touched("http/hooks/mod.rs", broken).len(), 1, "{broken}");
    }
    for sound in [
        "use crate::{\n    db::{\n        DbError, hooks::{Hook, forms::NoForm as None},\n    },\n    flow::hooks,\n};",
        "let limit = crate::db::disk::DiskLimit::of_mib(1);",
        "struct Connections;\nfn count(app: &App) -> Connections { app.database.read() }",
    ] {
        assert!(touched("http/hooks/mod.rs", sound).is_empty(), "{sound}");
    }
}
