//! The ready hooks of the checkout, built as `kassa hook build` builds them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;

use crate::cli::hook::build;

pub(super) use crate::cli::hook::new::Language;

/// Path that the SDK of a language cannot build without, and the command that makes it.
fn needs(language: Language) -> Option<(&'static str, &'static str)> {
    match language {
        Language::Rust => None,
        Language::Js => Some(("node_modules", "npm --prefix sdk/js ci")),
        Language::Python => Some((
            ".venv",
            "python3 -m venv sdk/python/.venv && sdk/python/.venv/bin/pip install -e sdk/python",
        )),
    }
}

/// A component, or the reason that there is none.
pub(super) type Component = Result<Arc<[u8]>, String>;

/// The measured hooks: the one that sells license keys, in each language, and a matcher.
pub(super) struct Components {
    pub(super) fulfillers: Vec<(Language, Component)>,
    pub(super) matcher: Component,
}

impl Components {
    /// The hook that sells license keys.
    pub(super) fn of(&self, language: Language) -> &Component {
        let found = self.fulfillers.iter().find(|(of, _)| *of == language);
        found.map_or(&self.matcher, |(_, component)| component)
    }

    /// Builds all of them into this folder.
    pub(super) async fn build(into: PathBuf) -> anyhow::Result<Self> {
        let built = tokio::task::spawn_blocking(move || {
            let build = |language, name| ready_hook(language, name, &into);
            let fulfillers = [Language::Rust, Language::Js, Language::Python]
                .map(|language| (language, build(language, "license-keys")));
            Self { fulfillers: fulfillers.into(), matcher: build(Language::Rust, "tolerance") }
        });
        Ok(built.await?)
    }
}

fn ready_hook(language: Language, name: &str, into: &Path) -> Component {
    let folder = checkout().ok_or("the hooks are in Kassa's source tree (sdk); run this in a checkout")?;
    let sdk = format!("sdk/{}", language.word());
    let sdk_folder = folder.join(&sdk);
    if let Some((needed, how)) = needs(language)
        && !sdk_folder.join(needed).exists()
    {
        return Err(format!("{sdk}/{needed} is missing; run: {how}"));
    }
    let out = into.join(format!("{name}-{}.wasm", language.word()));
    let built = build::build(&sdk_folder.join("examples").join(name), Some(out))
        .and_then(|out| std::fs::read(&out).with_context(|| format!("cannot read {}", out.display())));
    built.map(Arc::from).map_err(|error| format!("{error:#}"))
}

/// The source tree that contains the working folder or this program.
fn checkout() -> Option<PathBuf> {
    let starts = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    let above = starts.iter().flatten().flat_map(|path| path.ancestors());
    above.map(Path::to_owned).find(|folder| folder.join("sdk/rust/examples").is_dir())
}
