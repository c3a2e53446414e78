//! Handlers touch no database: what is read and written stands in `flow`, and whoever commits an answer with its effect is
//! `http/idempotent.rs` alone. Of `db` a handler knows the types that it shows.

use super::{found, modules};

/// Files that may touch it, and why.
const MAY: &[(&str, &str)] = &[
    ("http/auth.rs", "it asks for a key before there is a handler; `keys` reads"),
    ("http/idempotent.rs", "it commits an answer with its effect"),
];

/// What may be asked of the database itself: its name, whether it takes writes, and the connections for requests.
const ABOUT_IT: &[&str] = &[".kind()", ".writes()", ".for_requests()"];

pub(super) fn handlers() {
    let broken = found(&["http"], MAY, touched);
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
    for (offset, field) in flat.match_indices(".db") {
        let after = &flat[offset + field.len()..];
        if !after.starts_with(is_word) && !ABOUT_IT.iter().any(|call| after.starts_with(call)) {
            found.push("it holds the database".to_owned());
        }
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
        "let db = &app.db;\nlet row = db.write(work).await?;",
        "let db = app.db.clone();",
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
        "let (database, writes) = (app.db.kind(), app.db.writes());",
        "struct Connections;\nfn count(app: &App) -> Connections { app.database.read() }",
    ] {
        assert!(touched("http/hooks/mod.rs", sound).is_empty(), "{sound}");
    }
}
