//! Master keys of this installation: the check that they are those that its database was sealed with, and the
//! replacement of an old one by a new one while everything runs.
//!
//! Nothing opens with a key that is not the database's: no API key is known, no webhook can be signed, and values
//! sealed in the meantime are lost when the right key comes back. So a start checks a canary first, and makes a new key
//! for a new database alone.
//!
//! A *rotation* goes like this:
//! 1. The new key is given: by [`MasterKeys::rotate`] into the file, or by the operator, who puts it before the old one
//!    in `KASSA_MASTER_KEY` and starts again. The database keeps each key sealed under the other
//!    ([`master_keys::Copy`]): whoever has one of them opens what either has sealed.
//! 2. Each replica learns of the new key at its next look ([`MasterKeys::follow`]), and seals with it from the look
//!    after that: by then all know it. Replicas whose key is in a file write the new one there.
//! 3. Values that the old key has sealed are resealed, row by row ([`sealed`]).
//! 4. [`MasterKeys::finish`] deletes the new key as the old one opens it. From then on the old one opens nothing but
//!    earlier backups; it stays, sealed under the new one, since hashes of API keys are made with the very first key.

mod known;

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::Context as _;

use self::known::{KeyRing, copy, known_as};
use crate::{
    db::{
        Conn, Db, DbError, installation,
        master_keys::{self, KnownKey},
        sealed,
    },
    domain::Millis,
    vault::{MasterKey, MasterKeyId, Vault, VaultError},
};

/// Name of the file in the data folder.
const FILE: &str = "master.key";
const VARIABLE: &str = "KASSA_MASTER_KEY";

/// Source of the keys of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Variable,
    File(PathBuf),
}

/// Keys given to a start: the newest first, at least one.
pub(crate) struct Given {
    source: Source,
    keys: Vec<Arc<MasterKey>>,
}

impl Given {
    /// Reads the keys from `KASSA_MASTER_KEY`, or from the file in the data folder, which is made if nothing in the
    /// database is sealed yet.
    pub(crate) async fn read(db: &Db, data_dir: &Path) -> anyhow::Result<Self> {
        if let Ok(text) = std::env::var(VARIABLE) {
            return Self::parse(Source::Variable, &text).context(VARIABLE);
        }
        let file = data_dir.join(FILE);
        match fs::read_to_string(&file) {
            Ok(text) => {
                return Self::parse(Source::File(file.clone()), &text).context(file.display().to_string());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context(file.display().to_string()),
        }
        if let Some(key) = master_keys::all(&mut db.read().await?).await?.last() {
            anyhow::bail!(
                "{} is not there, and what this database keeps is sealed with the master key {}. Put it back from its own \
                 backup, or set {VARIABLE}; without it no API key and no webhook secret can be used again",
                file.display(),
                key.id,
            );
        }
        let key = Arc::new(MasterKey::generate()?);
        write(&file, std::slice::from_ref(&key)).with_context(|| file.display().to_string())?;
        Ok(Self { source: Source::File(file), keys: vec![key] })
    }

    /// Parses keys of 64 hex digits each, with blanks or lines between them.
    pub(crate) fn parse(source: Source, text: &str) -> Result<Self, VaultError> {
        let keys: Vec<_> = text
            .split_whitespace()
            .map(|key| MasterKey::from_hex(key).map(Arc::new))
            .collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(VaultError::Malformed) } else { Ok(Self { source, keys }) }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RotationError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("{FILE} could not be written: {0}")]
    File(#[from] io::Error),
    #[error(
        "the master key of this server comes from {VARIABLE}. Put a new one (openssl rand -hex 32) before it, with a blank \
         between them, and start again, one replica after the other: what the old one has sealed is then sealed anew"
    )]
    Variable,
    #[error("a rotation is under way already: end it with `kassa key rotate-master --finish`")]
    UnderWay,
    #[error("no rotation is under way")]
    NotUnderWay,
    #[error(
        "{0} values are sealed with an older master key yet; they are sealed anew within half a minute: try again then"
    )]
    Left(i64),
    /// Another replica was faster, or there is no copy left of the newest key that this process could open.
    #[error(
        "the database has a newer master key than this server: try again in ten seconds, or start it with that one"
    )]
    Behind,
}

/// The master keys of this process, and their source.
pub(crate) struct MasterKeys {
    /// The workers' connection: a check of everything that is sealed must not be cut short.
    db: Db,
    source: Source,
    vault: Arc<Vault>,
    /// Number of looks in a row that found nothing to reseal. A single one may have come before a slower replica's last
    /// value.
    clean: AtomicU32,
    /// Ids of the keys in the file, if the keys come from one.
    in_file: Mutex<Vec<MasterKeyId>>,
}

/// State of the keys and of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RotationState {
    /// Oldest first.
    pub(crate) keys: Vec<KnownKey>,
    /// True if an older key opens the newest.
    pub(crate) under_way: bool,
    /// Number of values that older keys have sealed.
    pub(crate) left: i64,
}

impl MasterKeys {
    /// Opens the database's keys with the given ones. Errors if the database was not sealed with them. A new database
    /// is sealed with them from now on; a new key before an old one begins a rotation.
    pub(crate) async fn open(db: &Db, given: Given, now: Millis) -> anyhow::Result<Self> {
        let Given { source, keys } = given;
        let ids: Vec<_> = keys.iter().map(|key| key.id()).collect();
        let opened = db
            .write::<_, RotationError, _>(move |conn| Box::pin(async move { opened(conn, &keys, now).await }))
            .await?;
        match opened {
            Ok((known, seals)) => {
                let vault = Arc::new(Vault::new(known, seals));
                Ok(Self { db: db.clone(), source, vault, clean: AtomicU32::new(0), in_file: Mutex::new(ids) })
            }
            Err(theirs) => anyhow::bail!(
                "what this database keeps is sealed with the master key {theirs}, and this one is {}. Start with the right \
                 one: its file is {FILE} in the data folder, or the variable {VARIABLE}; replicas share it",
                ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "),
            ),
        }
    }

    /// The keys of a vault, which never change.
    #[cfg(feature = "simulation")]
    pub(crate) fn fixed(db: Db, vault: Arc<Vault>) -> Self {
        Self { db, source: Source::Variable, vault, clean: AtomicU32::new(0), in_file: Mutex::default() }
    }

    pub(crate) fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Makes a new key and begins a rotation to it. Returns its id.
    pub(crate) async fn rotate(&self, now: Millis) -> Result<MasterKeyId, RotationError> {
        let Source::File(file) = &self.source else { return Err(RotationError::Variable) };
        let (new, newest) = (Arc::new(MasterKey::generate()?), self.vault.newest());
        if KeyRing::read(&mut self.db.read().await?).await?.is_under_way() {
            return Err(RotationError::UnderWay);
        }
        // Before the database has it: a start with both keys goes on with either.
        self.write_file(file, &[Arc::clone(&new), Arc::clone(&newest)])?;
        let (id, older) = (new.id(), self.vault.known());
        self.db
            .write::<_, RotationError, _>(move |conn| {
                Box::pin(async move {
                    installation::alone(conn).await?;
                    let there = KeyRing::read(conn).await?;
                    if there.is_under_way() {
                        return Err(RotationError::UnderWay);
                    }
                    if there.newest() != Some(newest.id()) {
                        return Err(RotationError::Behind);
                    }
                    begin(conn, &new, &newest, &older, now).await
                })
            })
            .await?;
        tracing::info!(key = %id, "a new master key: what is sealed is sealed anew with it");
        Ok(id)
    }

    /// Follows what other replicas have done, and updates the file. During a rotation, values of older keys are
    /// resealed once all replicas know the new key.
    pub(crate) async fn follow(&self) -> Result<(), RotationError> {
        let there = KeyRing::read(&mut self.db.read().await?).await?;
        let before = self.vault.known();
        let known = there.opened_by(&before);
        let Some(newest) = known.last().filter(|key| Some(key.id()) == there.newest()).cloned() else {
            return Err(RotationError::Behind);
        };
        let is_news = before.iter().all(|key| key.id() != newest.id());
        // A key that is new here may be new elsewhere too: it seals from the next look on.
        let seals = if is_news { self.vault.seals() } else { Arc::clone(&newest) };
        let all_know = seals.id() == newest.id();
        let previous = known.iter().rev().nth(1).filter(|_| there.is_under_way()).cloned();
        self.vault.set(known, seals);
        if let Source::File(file) = &self.source {
            self.write_file(file, &[Some(newest), previous].into_iter().flatten().collect::<Vec<_>>())?;
        }
        if is_news {
            self.clean.store(0, Ordering::Relaxed);
        } else if there.is_under_way() && all_know && self.clean.load(Ordering::Relaxed) < 2 {
            let renewed = sealed::renew(&self.db, &self.vault).await?;
            let clean = if renewed == 0 { self.clean.load(Ordering::Relaxed) + 1 } else { 0 };
            self.clean.store(clean, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(crate) async fn standing(&self) -> Result<RotationState, RotationError> {
        let mut conn = self.db.read().await?;
        let there = KeyRing::read(&mut conn).await?;
        let newest = there.newest().ok_or(RotationError::Behind)?;
        let left = sealed::left(&mut conn, newest).await?;
        Ok(RotationState { under_way: there.is_under_way(), keys: there.keys, left })
    }

    /// Ends a rotation: from now on no older key opens the newest.
    pub(crate) async fn finish(&self) -> Result<(), RotationError> {
        let newest = self.vault.seals().id();
        let there = KeyRing::read(&mut self.db.read().await?).await?;
        if !there.is_under_way() {
            return Err(RotationError::NotUnderWay);
        }
        if there.newest() == Some(newest) {
            sealed::renew(&self.db, &self.vault).await?;
        }
        let left = self.standing().await?.left;
        if left > 0 {
            return Err(RotationError::Left(left));
        }
        self.db
            .write::<_, RotationError, _>(move |conn| {
                Box::pin(async move {
                    installation::alone(conn).await?;
                    if KeyRing::read(conn).await?.newest() != Some(newest) {
                        return Err(RotationError::Behind);
                    }
                    Ok(master_keys::forget_copies_of(conn, newest).await?)
                })
            })
            .await?;
        tracing::info!(key = %newest, "older master keys open nothing any more");
        self.follow().await
    }

    /// Rewrites the file, atomically and readable for its owner alone, unless it holds these keys already.
    fn write_file(&self, file: &Path, keys: &[Arc<MasterKey>]) -> io::Result<()> {
        let ids: Vec<_> = keys.iter().map(|key| key.id()).collect();
        let mut in_file = self.in_file.lock().unwrap_or_else(PoisonError::into_inner);
        if *in_file != ids {
            write(file, keys)?;
            *in_file = ids;
        }
        Ok(())
    }
}

type Opened = (Vec<Arc<MasterKey>>, Arc<MasterKey>);

/// The database's keys that the given ones open, and the one that seals; or the id of the newest, if they do not open
/// it.
async fn opened(
    conn: &mut Conn,
    given: &[Arc<MasterKey>],
    now: Millis,
) -> Result<Result<Opened, MasterKeyId>, RotationError> {
    installation::alone(conn).await?;
    let there = KeyRing::read(conn).await?;
    let first = given.first().ok_or(VaultError::Malformed)?;
    let Some(newest) = there.newest() else {
        master_keys::keep(conn, known_as(first, now)?).await?;
        return Ok(Ok((vec![Arc::clone(first)], Arc::clone(first))));
    };
    let opened = there.opened_by(given);
    let Some(seals) = opened.iter().find(|key| key.id() == newest).cloned() else { return Ok(Err(newest)) };
    let is_new = there.keys.iter().all(|row| row.id != first.id());
    if is_new {
        begin(conn, first, &seals, &opened, now).await?;
    }
    Ok(Ok((opened, seals)))
}

/// Adds a key to those of the database: it opens all older ones, and the present one opens it.
async fn begin(
    conn: &mut Conn,
    new: &MasterKey,
    newest: &MasterKey,
    older: &[Arc<MasterKey>],
    now: Millis,
) -> Result<(), RotationError> {
    master_keys::keep(conn, known_as(new, now)?).await?;
    for key in older {
        master_keys::keep_copy(conn, copy(key, new)?).await?;
    }
    master_keys::keep_copy(conn, copy(new, newest)?).await?;
    Ok(())
}

fn write(file: &Path, keys: &[Arc<MasterKey>]) -> io::Result<()> {
    let next = file.with_extension("key.new");
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut written = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
    for key in keys {
        written.write_all(key.to_hex().as_bytes())?;
        written.write_all(b"\n")?;
    }
    written.sync_all()?;
    fs::rename(&next, file)?;
    if let Some(folder) = file.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}
