//! `kassa hook new`: a folder to begin with, which includes the SDK that this Kassa was built with. So a new hook needs
//! no release of the SDK, and fits the server that it is for.

use std::{fs, path::Path};

use anyhow::Context as _;
use clap::ValueEnum;

mod sdk {
    include!(concat!(env!("OUT_DIR"), "/sdk.rs"));
}

/// Name of the hook in the templates.
const PLACEHOLDER: &str = "my-hook";
/// Folder of the SDK in the new folder.
const SDK: &str = "kassa-sdk";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Language {
    Rust,
    Js,
    Python,
}

impl Language {
    /// Name in folders and figures.
    pub(in crate::cli) fn word(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Js => "js",
            Self::Python => "python",
        }
    }

    /// Command to run once before the first build.
    pub(super) fn first(self) -> Option<&'static str> {
        match self {
            Self::Rust => None,
            Self::Js => Some("npm install"),
            Self::Python => Some("python3 -m venv .venv && .venv/bin/pip install ./kassa-sdk"),
        }
    }
}

/// Makes the folder of a hook with this name. Errors if it exists.
pub(super) fn make(folder: &Path, name: &str, language: Language) -> anyhow::Result<()> {
    let name_ok = (1..=40).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    anyhow::ensure!(name_ok, "a hook's name has 1 to 40 of a-z, 0-9 and -");
    anyhow::ensure!(!folder.exists(), "{} is there already", folder.display());
    let of_sdk = format!("sdk/{}/", language.word());
    for (path, text) in sdk::FILES {
        let (path, text) = if let Some(path) = path.strip_prefix("wit/") {
            let inside = if language == Language::Python { "kassa_sdk/wit" } else { "wit" };
            (format!("{SDK}/{inside}/{path}"), (*text).to_owned())
        } else if let Some(path) = path.strip_prefix(&of_sdk) {
            match path.strip_prefix("template/") {
                Some(path) => (path.to_owned(), own(path, text, name)),
                None => (format!("{SDK}/{path}"), standing_alone(path, text)),
            }
        } else {
            continue;
        };
        let file = folder.join(path);
        let written = file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&file, text));
        written.with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// A file of the template, with the hook's own name and the SDK in its folder.
fn own(path: &str, text: &str, name: &str) -> String {
    let text = text.replace(PLACEHOLDER, name);
    match path {
        "package.json" => text.replace(r#""@kassa/sdk": "0.1.0""#, r#""@kassa/sdk": "file:kassa-sdk""#),
        _ => text,
    }
}

/// A file of the SDK, without the repository around it.
fn standing_alone(path: &str, text: &str) -> String {
    match path {
        "Cargo.toml" => crate_alone(text),
        "src/bindings.rs" => text.replace("../../wit", "wit"),
        // The contract lies inside the package here.
        "pyproject.toml" => {
            text.split_once("# The contract is copied").map_or(text, |(before, _)| before).to_owned()
        }
        _ => text.to_owned(),
    }
}

/// A crate's Cargo.toml with the workspace's values written out.
fn crate_alone(text: &str) -> String {
    let written_out = [
        ("rust-version.workspace = true", concat!("rust-version = \"", env!("CARGO_PKG_RUST_VERSION"), "\"")),
        ("version.workspace = true", concat!("version = \"", env!("CARGO_PKG_VERSION"), "\"")),
        ("edition.workspace = true", "edition = \"2024\""),
        ("license.workspace = true", "license = \"Apache-2.0\""),
        ("publish.workspace = true", "publish = false"),
        ("[lints]\nworkspace = true\n\n", ""),
        ("serde.workspace = true", "serde = { version = \"1\", features = [\"derive\"] }"),
        ("serde_json.workspace = true", "serde_json = \"1\""),
        (
            "wit-bindgen.workspace = true",
            "wit-bindgen = { version = \"0.61.1\", default-features = false, features = [\"macros\", \"realloc\", \"std\"] }",
        ),
    ];
    written_out.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_hook_needs_no_repository() {
        let dir = tempfile::tempdir().unwrap();
        for language in [Language::Rust, Language::Js, Language::Python] {
            let folder = dir.path().join(language.word());
            make(&folder, "shop-hook", language).unwrap();
            let manifest = fs::read_to_string(folder.join("plugin.toml")).unwrap();
            assert!(manifest.contains("name = \"shop-hook\""), "{manifest}");
            let mut files = Vec::new();
            walk(&folder, &mut files);
            assert!(files.iter().any(|file| file.ends_with("hooks.wit")));
            let crates =
                files.iter().filter(|file| file.ends_with("Cargo.toml") || file.ends_with("bindings.rs"));
            for file in crates {
                let text = fs::read_to_string(file).unwrap();
                for outside in ["workspace = true", "../../wit", PLACEHOLDER] {
                    assert!(!text.contains(outside), "{}: {outside}", file.display());
                }
            }
            assert!(make(&folder, "shop-hook", language).is_err(), "it is there already");
        }
        assert!(make(&dir.path().join("x"), "Shop Hook", Language::Rust).is_err());
    }

    fn walk(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, files) } else { files.push(path) }
        }
    }
}
