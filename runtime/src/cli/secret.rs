//! Secrets on a command line stand in the shell's history and in the list of processes. So wherever one is
//! taken, `@env:NAME` and `@file:PATH` say where to read it instead.

use anyhow::Context as _;

/// `text` itself, or the secret that it points to.
pub(super) fn read(text: &str) -> anyhow::Result<String> {
    if let Some(name) = text.strip_prefix("@env:") {
        return std::env::var(name).with_context(|| format!("@env:{name}: there is no such variable"));
    }
    if let Some(path) = text.strip_prefix("@file:") {
        let secret = std::fs::read_to_string(path).with_context(|| format!("@file:{path}"))?;
        return Ok(secret.trim_end_matches(['\r', '\n']).to_owned());
    }
    Ok(text.to_owned())
}

/// Parses `Name: value`, the value as [`read`] takes it.
pub(super) fn header(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = text.split_once(':').context("a header is written 'Name: value'")?;
    let (name, value) = (name.trim(), value.trim());
    anyhow::ensure!(!name.is_empty() && !value.is_empty(), "a header is written 'Name: value'");
    Ok((name.to_owned(), read(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_where_it_is() {
        let file = std::env::temp_dir().join(format!("kassa-secret-{}", std::process::id()));
        std::fs::write(&file, "s3cret\n").unwrap();
        let from = format!("Authorization: @file:{}", file.display());
        assert_eq!(header(&from).unwrap(), ("Authorization".to_owned(), "s3cret".to_owned()));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(header("X-Key: a:b").unwrap(), ("X-Key".to_owned(), "a:b".to_owned()));
        assert!(header(&from).is_err());
        for text in ["", "X-Key", "X-Key:", ": value", "X-Key: @env:KASSA_NO_SUCH_VARIABLE"] {
            assert!(header(text).is_err(), "{text}");
        }
    }
}
