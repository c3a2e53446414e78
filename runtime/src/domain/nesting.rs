//! How deep what strangers write is nested. It is read, checked and dropped by functions that call themselves, and their
//! stack is the server's; and what is stored has to be readable again.

/// Maximum number of levels of arrays, objects and tables in anything that comes from outside.
pub(crate) const DEPTH_MAX: usize = 32;

/// Number of levels of arrays and objects in a JSON text.
#[must_use]
pub(crate) fn of_json(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                // Skips the string: a quotation mark behind a backslash does not end it.
                while let Some(byte) = bytes.next().filter(|byte| *byte != b'"') {
                    if byte == b'\\' {
                        bytes.next();
                    }
                }
            }
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Upper bound of the number of levels of tables and arrays in a TOML text: each dot and each bracket is one, and a dot
/// of a header two, since what stands before it may be a list of tables.
#[must_use]
pub(crate) fn of_toml(text: &str) -> usize {
    use toml_parser::lexer::TokenKind;

    // Levels of the last header, of the brackets open at this token, and at this token in all.
    let (mut header, mut open, mut depth) = (1_usize, Vec::new(), 1_usize);
    let (mut in_header, mut begins, mut deepest) = (false, true, 1);
    for token in toml_parser::Source::new(text).lex() {
        match token.kind() {
            TokenKind::Whitespace => continue,
            TokenKind::Dot => depth += if in_header { 2 } else { 1 },
            TokenKind::LeftSquareBracket if begins => (in_header, depth) = (true, 2),
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => {
                if !in_header {
                    open.push(depth);
                }
                depth += 1;
            }
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket if !in_header => {
                depth = open.pop().unwrap_or(header);
            }
            TokenKind::Comma => depth = open.last().map_or(depth, |around| around + 1),
            TokenKind::Newline if open.is_empty() => {
                if in_header {
                    header = depth;
                }
                (in_header, depth) = (false, header);
            }
            _ => {}
        }
        begins = open.is_empty() && token.kind() == TokenKind::Newline;
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_json() {
        for (text, depth) in [
            ("1", 0),
            ("{}", 1),
            (r#"{"a":[{}]}"#, 3),
            (r#"{"[[[[":"\"[[[[\\"}"#, 1),
            ("[[],[[]],[]]", 3),
            ("[[[", 3),
            (r#"["[["#, 1),
        ] {
            assert_eq!(of_json(text), depth, "{text}");
        }
    }

    #[test]
    fn levels_of_toml() {
        for (text, depth) in [
            ("a = 1", 1),
            ("a.b.c = 1\nd = 2", 3),
            ("[a.b]\nc = 1\nd.e = { f.g = [1] }\n", 8),
            ("[a.b]\n[c]\nd = 1", 4),
            ("[[a.b]]\nc = '[[[.'", 5),
            ("a = '''\n[x.y.z.w]\n'''\n# [x.y.z.w]\nb = \"[[[\"", 1),
            ("a = [\n  { b.c = 1 },\n  { b = 1 },\n]\nd = 1", 4),
            ("[\"a.b\"]\nc = 1", 2),
        ] {
            assert_eq!(of_toml(text), depth, "{text}");
        }
        let deep = |tables: usize, dots: usize| {
            let key = vec!["a"; dots].join(".");
            format!("{}1{}", format!("{key} = {{ ").repeat(tables), " }".repeat(tables))
        };
        assert!(of_toml(&deep(78, 26)) >= 78 * 26);
        assert!(of_toml(&"[".repeat(100)) >= 100);
        assert!(of_toml(&format!("[a] b = {}", "{".repeat(100))) >= 100);
    }

    #[test]
    fn what_is_counted_is_never_less_than_what_is_there() {
        fn depth(value: &toml::Value) -> usize {
            match value {
                toml::Value::Table(table) => 1 + table.values().map(depth).max().unwrap_or(0),
                toml::Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
                _ => 0,
            }
        }
        for text in [
            "a.b.c = 1",
            "[a.b]\nc = { d.e = 1, f = [[1], { g = 2 }] }\n[[a.x.y]]\nz = 1\n[[a.x.y]]\n[a.x.w.v]\nq.r = []",
            "[a]\n[a.b.c.d]\n[e]\nf = [[[]]]",
            "a = { b = { c = { d = { } } } }",
            "[[a]]\n[[a.b]]\n[[a.b.c]]\nd = 1",
            "[[a]]\n[a.b]\nc = 1",
        ] {
            let there = depth(&toml::Value::Table(text.parse().unwrap()));
            assert!(of_toml(text) >= there, "{text}: {there}");
        }
    }
}
