//! Compiled code on disk, so that a start takes milliseconds.
//!
//! Whoever can write a file here could run any code in this process, if it were simply loaded. So each file is
//! authenticated with a key that only this installation has, over what it is the code of and what it was
//! compiled for. What was verified is what is loaded, from the same bytes in memory: the file may change in
//! between. Anything else is deleted and compiled again; no code ever comes from outside.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use wasmtime::{Engine, component::Component};

const MAC_LEN: usize = 32;

/// The folder of compiled code.
pub(super) struct Cache {
    dir: PathBuf,
    keyed: Hmac<Sha256>,
    /// See [`super::engine::Runtime::compatibility`].
    compatibility: u64,
}

impl Cache {
    pub(super) fn open(dir: &Path, key: [u8; 32], compatibility: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let keyed = Hmac::new_from_slice(&key).map_err(io::Error::other)?;
        Ok(Self { dir: dir.to_owned(), keyed, compatibility })
    }

    fn file(&self, sha256: &str) -> PathBuf {
        self.dir.join(format!("{sha256}-{:016x}.cwasm", self.compatibility))
    }

    fn mac(&self, sha256: &str, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        mac.update(sha256.as_bytes());
        mac.update(&self.compatibility.to_be_bytes());
        mac.update(code);
        mac
    }

    /// The compiled form of an artefact, if it is there and this installation wrote it.
    pub(super) fn load(&self, engine: &Engine, sha256: &str) -> Option<Component> {
        let file = self.file(sha256);
        let bytes = fs::read(&file).ok()?;
        let component = self.verify(sha256, &bytes).and_then(|code| deserialize(engine, code).ok());
        if component.is_none() {
            tracing::warn!(file = %file.display(), "compiled code does not verify; it is deleted and made again");
            let _ = fs::remove_file(&file);
        }
        component
    }

    fn verify<'b>(&self, sha256: &str, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let (mac, code) = bytes.split_at_checked(MAC_LEN)?;
        self.mac(sha256, code).verify_slice(mac).ok()?;
        Some(code)
    }

    /// The artefacts whose compiled form is here, by sha256.
    pub(super) fn kept(&self) -> Vec<String> {
        let suffix = format!("-{:016x}.cwasm", self.compatibility);
        let files = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let names = files.filter_map(|file| file.file_name().into_string().ok());
        names.filter_map(|name| name.strip_suffix(&suffix).map(str::to_owned)).collect()
    }

    /// Deletes the compiled form of an artefact.
    pub(super) fn forget(&self, sha256: &str) {
        let _ = fs::remove_file(self.file(sha256));
    }

    /// Keeps the compiled form. A cache that cannot be written costs a compilation at the next start.
    pub(super) fn store(&self, sha256: &str, code: &[u8]) {
        if let Err(error) = self.try_store(sha256, code) {
            tracing::warn!(dir = %self.dir.display(), %error, "compiled code cannot be kept");
        }
    }

    fn try_store(&self, sha256: &str, code: &[u8]) -> io::Result<()> {
        let file = self.file(sha256);
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let beside = file.with_extension(format!("{}.new", hex::encode(random)));
        let written = write_private(&beside, &self.mac(sha256, code).finalize().into_bytes(), code)
            .and_then(|()| fs::rename(&beside, &file));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written
    }
}

fn write_private(file: &Path, mac: &[u8], code: &[u8]) -> io::Result<()> {
    // No sync: a file that a crash cut short does not verify.
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(mac)?;
    file.write_all(code)
}

/// What the compiler made, ready to be linked. Only for code that came from [`super::compiler`] just now, or
/// whose MAC was verified.
///
/// # Errors
/// The code is another engine's, or its instances would not fit into this engine's.
#[allow(unsafe_code)]
pub(super) fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` was made by this installation's compiler and has not changed since: it came over a pipe from
    // a process of this binary, or its MAC was verified over these very bytes, and they are copied from here.
    // That it is for this engine is checked by wasmtime itself.
    unsafe { Component::deserialize(engine, code) }
}
