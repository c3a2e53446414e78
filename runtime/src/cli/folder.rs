//! The data folder: access to it, and the one process that works in it.

use std::{
    fs::{self, File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

const LOCK: &str = "kassa.lock";
const ADDRESS: &str = "kassa.addr";

/// A data folder that this process alone works in, until this is dropped or the process ends in whatever way.
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder if it is missing (for its owner only) and locks it.
    pub(super) fn lock(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("cannot make the data folder {shown}"))?;
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK))
            .with_context(|| format!("cannot write in the data folder {shown}"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim();
                let process = if holder.is_empty() { String::new() } else { format!(" (process {holder})") };
                anyhow::bail!(
                    "another kassa{process} works in {shown}; stop it first, or name another folder with --data"
                );
            }
            Err(TryLockError::Error(why)) => {
                return Err(why).with_context(|| format!("cannot lock {shown}/{LOCK}"));
            }
        }
        // For the message above only; the lock is what counts.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Self { path: path.to_owned(), _lock: file })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Tells clients on this machine the server's address, until this is dropped.
    pub(super) fn announce(&self, address: SocketAddr) -> anyhow::Result<()> {
        let file = self.path.join(ADDRESS);
        // Atomically, since somebody may be waiting for it.
        let new = self.path.join(format!("{ADDRESS}.new"));
        fs::write(&new, address.to_string())
            .and_then(|()| fs::rename(&new, &file))
            .with_context(|| format!("cannot write {}", file.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Before the lock is released: the next server's file is not ours to remove.
        let _ = fs::remove_file(self.path.join(ADDRESS));
    }
}

/// Address of the server of this data folder, if one is running.
pub(super) fn announced(path: &Path) -> Option<SocketAddr> {
    fs::read_to_string(path.join(ADDRESS)).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let path = std::env::temp_dir().join(format!("kassa-folder-{}", std::process::id()));
        let folder = Folder::lock(&path).unwrap();
        let refused = Folder::lock(&path).err().unwrap().to_string();
        assert!(refused.contains(&format!("(process {})", std::process::id())), "{refused}");

        folder.announce("127.0.0.1:7".parse().unwrap()).unwrap();
        assert_eq!(announced(&path).unwrap().port(), 7);
        drop(folder);
        assert_eq!(announced(&path), None);
        drop(Folder::lock(&path).unwrap());
        fs::remove_dir_all(&path).unwrap();
    }
}
