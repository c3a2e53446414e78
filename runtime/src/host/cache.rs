//! Compiled code on disk, so that a start takes milliseconds.
//!
//! Whoever can write a file here could run any code in this process, if it were simply loaded. So each file is
//! authenticated with a key that only this installation has, over what it is the code of and what it was
//! compiled for. What was verified is what is loaded, from the same bytes in memory: the file may change in
//! between. Anything else is deleted and compiled again; no code ever comes from outside.
//!
//! The folder has a bound. What was loaded longest ago makes room, but nothing that is in memory. At a start
//! [`sweep`] deletes what no process will ask for again: code for other engines, and files that somebody was killed
//! over while writing them. Whoever writes one holds a lock on it, which ends with its process. Each file can vanish
//! at any moment, and then its code is compiled again: so any number of processes may work here.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use wasmtime::{Engine, component::Component};

const MAC_LEN: usize = 32;
const CODE: &str = "cwasm";
/// Extension of a file that is being written.
const UNFINISHED: &str = "new";

/// The folder of compiled code.
pub(super) struct Cache {
    dir: PathBuf,
    keyed: Hmac<Sha256>,
    /// See [`super::engine::Runtime::compatibility`].
    compatibility: u64,
    /// Maximum size of all files of this engine together, bytes.
    bytes_max: u64,
}

impl Cache {
    pub(super) fn open(dir: &Path, key: [u8; 32], compatibility: u64, mib_max: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let keyed = Hmac::new_from_slice(&key).map_err(io::Error::other)?;
        Ok(Self { dir: dir.to_owned(), keyed, compatibility, bytes_max: mib_max.saturating_mul(1 << 20) })
    }

    fn file(&self, sha256: &str) -> PathBuf {
        self.dir.join(format!("{sha256}-{:016x}.{CODE}", self.compatibility))
    }

    fn mac(&self, sha256: &str, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        mac.update(sha256.as_bytes());
        mac.update(&self.compatibility.to_be_bytes());
        mac.update(code);
        mac
    }

    /// Loads the compiled form of an artefact; `None` if it is missing or was not written by this installation.
    pub(super) fn load(&self, engine: &Engine, sha256: &str) -> Option<Component> {
        let file = self.file(sha256);
        let bytes = fs::read(&file).ok()?;
        let component = self.verify(sha256, &bytes).and_then(|code| deserialize(engine, code).ok());
        if component.is_some() {
            // Files in use are kept longest. One that cannot be marked is compiled again earlier than others.
            let _ = File::open(&file).and_then(|file| file.set_modified(SystemTime::now()));
        } else {
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

    /// SHA-256 hashes of the artefacts whose compiled form is here.
    pub(super) fn kept(&self) -> Vec<String> {
        self.files().into_iter().map(|(_, _, sha256)| sha256).collect()
    }

    /// The files of this engine: time of last use, size in bytes, and SHA-256 of the artefact.
    fn files(&self) -> Vec<(SystemTime, u64, String)> {
        let files = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let ours = files.filter_map(|file| {
            let name = Name::read(file.file_name().to_str()?)?;
            let metadata = file.metadata().ok()?;
            let ours = name.finished && name.compatibility == self.compatibility;
            ours.then(|| Some((metadata.modified().ok()?, metadata.len(), name.sha256)))?
        });
        ours.collect()
    }

    /// Deletes the compiled form of an artefact.
    pub(super) fn forget(&self, sha256: &str) {
        let _ = fs::remove_file(self.file(sha256));
    }

    /// Stores the compiled form and evicts the least recently used ones, but nothing in `in_use` (by SHA-256). A cache
    /// that cannot be written costs a compilation at the next start.
    pub(super) fn store(&self, sha256: &str, code: &[u8], in_use: &HashSet<String>) {
        if let Err(error) = self.try_store(sha256, code) {
            tracing::warn!(dir = %self.dir.display(), %error, "compiled code cannot be kept");
        }
        let mut files = self.files();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        files.sort_unstable();
        for (_, freed, other) in files {
            if bytes <= self.bytes_max {
                return;
            }
            if other != sha256 && !in_use.contains(&other) {
                self.forget(&other);
                bytes -= freed;
            }
        }
    }

    fn try_store(&self, sha256: &str, code: &[u8]) -> io::Result<()> {
        let file = self.file(sha256);
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let beside = file.with_extension(format!("{}.{UNFINISHED}", hex::encode(random)));
        let written = write_private(&beside, &self.mac(sha256, code).finalize().into_bytes(), code)
            // The lock ends once the file has its name.
            .and_then(|_locked| fs::rename(&beside, &file));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written
    }
}

fn write_private(file: &Path, mac: &[u8], code: &[u8]) -> io::Result<File> {
    // No sync: a file that a crash truncated does not verify.
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.try_lock()?;
    file.write_all(mac)?;
    file.write_all(code)?;
    Ok(file)
}

/// The parts of a file's name.
struct Name {
    sha256: String,
    compatibility: u64,
    finished: bool,
}

impl Name {
    /// Parses a file's name; `None` if the file is not one of ours.
    fn read(name: &str) -> Option<Self> {
        let is_hex = |text: &str, len| {
            text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let (stem, extension) = name.split_once('.')?;
        let (sha256, engine) = stem.split_once('-')?;
        let unfinished =
            extension.split_once('.').is_some_and(|(random, end)| is_hex(random, 16) && end == UNFINISHED);
        if !is_hex(sha256, 64) || !is_hex(engine, 16) || !(unfinished || extension == CODE) {
            return None;
        }
        let compatibility = u64::from_str_radix(engine, 16).ok()?;
        Some(Self { sha256: sha256.to_owned(), compatibility, finished: !unfinished })
    }
}

/// Deletes files that nobody will ask for again: code for engines other than `engines` (by
/// [`super::engine::Runtime::compatibility`]), and files that nobody is writing any more. Leaves everything else in the
/// folder alone.
pub(super) fn sweep(dir: &Path, engines: &[u64]) {
    let mut swept = 0_u32;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let file = entry.path();
        let Some(name) = entry.file_name().to_str().and_then(Name::read) else { continue };
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let is_left = match name.finished {
            true => !engines.contains(&name.compatibility),
            false => File::open(&file).is_ok_and(|file| file.try_lock().is_ok()),
        };
        if is_left && fs::remove_file(&file).is_ok() {
            swept += 1;
        }
    }
    if swept > 0 {
        tracing::info!(dir = %dir.display(), files = swept, "compiled code that is of no more use was deleted");
    }
}

/// Loads the compiler's output, ready to be linked. Only for code that came from [`super::compiler`] just now, or whose
/// MAC was verified.
///
/// # Errors
/// The code is another engine's, or its instances would not fit into this engine's.
#[allow(unsafe_code)]
pub(super) fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` was made by this installation's compiler and has not changed since: it came over a pipe from
    // a process of this binary, or its MAC was verified over these very bytes, and they are copied from here.
    // That it is for this engine is checked by wasmtime.
    unsafe { Component::deserialize(engine, code) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ENGINE: u64 = 7;

    fn cache(dir: &Path, mib_max: u64) -> Cache {
        Cache::open(dir, [1; 32], ENGINE, mib_max).unwrap()
    }

    fn sha256(number: u8) -> String {
        hex::encode([number; 32])
    }

    /// Sorted names of all files in the folder.
    fn names(dir: &Path) -> Vec<String> {
        let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = files.collect();
        names.sort();
        names
    }

    #[test]
    fn a_start_sweeps_what_is_of_no_use_and_leaves_alone_what_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let (ours, other) = (cache(dir.path(), 1), Cache::open(dir.path(), [1; 32], 8, 1).unwrap());
        let none = HashSet::new();
        ours.store(&sha256(1), b"code", &none);
        other.store(&sha256(1), b"code", &none);
        Cache::open(dir.path(), [1; 32], 9, 1).unwrap().store(&sha256(1), b"code", &none);
        let unfinished = |number: u8| format!("{}-{ENGINE:016x}.{}.new", sha256(number), "0123456789abcdef");
        // The writer of the first was killed; the second is being written.
        write_private(&at(&unfinished(2)), b"mac", b"cod").unwrap();
        let writing = write_private(&at(&unfinished(3)), b"mac", b"cod").unwrap();
        let foreign = [
            "notes.txt".to_owned(),
            "notes.new".to_owned(),
            format!("{}.cwasm", sha256(1)),
            format!("{}-{:016x}.cwasm.bak", sha256(1), 9),
            format!("{}-{:016x}.cwasm", sha256(0xab).to_uppercase(), 9),
            format!("{}-{ENGINE:016x}.new", sha256(1)),
        ];
        for name in &foreign {
            fs::write(at(name), "theirs").unwrap();
        }
        let folder = format!("{}-{:016x}.cwasm", sha256(4), 9);
        fs::create_dir(at(&folder)).unwrap();
        sweep(dir.path(), &[ENGINE, 8]);
        let engine = |engine: u64| format!("{}-{engine:016x}.cwasm", sha256(1));
        let mut left = vec![engine(ENGINE), engine(8), unfinished(3), folder];
        left.extend(foreign);
        left.sort();
        assert_eq!(names(dir.path()), left);
        drop(writing);
        sweep(dir.path(), &[ENGINE, 8]);
        assert!(!at(&unfinished(3)).exists());
        // A missing folder is nothing to sweep.
        sweep(&at("none"), &[ENGINE]);
    }

    #[test]
    fn what_was_used_longest_ago_makes_room_and_what_is_in_use_stays() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path(), 1);
        let code = vec![0; 400 << 10];
        let used = |number: u8, seconds_ago| {
            let at = SystemTime::now() - Duration::from_secs(seconds_ago);
            File::open(cache.file(&sha256(number))).unwrap().set_modified(at).unwrap();
        };
        let kept = || {
            let mut kept = cache.kept();
            kept.sort();
            kept
        };
        let none = HashSet::new();
        // Another engine's files do not count, and are not touched.
        Cache::open(dir.path(), [1; 32], 8, 1).unwrap().store(&sha256(9), &code, &none);
        cache.store(&sha256(1), &code, &none);
        cache.store(&sha256(2), &code, &none);
        used(1, 10);
        used(2, 20);
        cache.store(&sha256(3), &code, &none);
        assert_eq!(kept(), [sha256(1), sha256(3)]);
        used(3, 5);
        cache.store(&sha256(4), &code, &HashSet::from([sha256(1)]));
        assert_eq!(kept(), [sha256(1), sha256(4)], "the oldest is in use");
        // The newest stays, whatever its size: it is about to be called.
        cache.store(&sha256(5), &vec![0; 2 << 20], &HashSet::from([sha256(4)]));
        assert_eq!(kept(), [sha256(4), sha256(5)]);
        assert_eq!(names(dir.path()).len(), 3);
    }
}
