//! The database's knowledge of master keys, and of those that open others.

use std::sync::Arc;

use crate::{
    db::{
        Conn, DbError,
        master_keys::{self, Copy, KnownKey},
    },
    domain::Millis,
    vault::{MasterKey, MasterKeyId, VaultError},
};

/// Purpose and text of the canary.
const CANARY: (&str, &[u8]) = ("canary", b"kassa");

/// Master keys known to the database, and the copies that show which opens which.
pub(super) struct KeyRing {
    /// Oldest first.
    pub(super) keys: Vec<KnownKey>,
    copies: Vec<Copy>,
}

impl KeyRing {
    pub(super) async fn read(conn: &mut Conn) -> Result<Self, DbError> {
        Ok(Self { keys: master_keys::all(conn).await?, copies: master_keys::copies(conn).await? })
    }

    pub(super) fn newest(&self) -> Option<MasterKeyId> {
        self.keys.last().map(|key| key.id)
    }

    /// All keys of the database that the given ones open, the oldest first.
    pub(super) fn opened_by(&self, given: &[Arc<MasterKey>]) -> Vec<Arc<MasterKey>> {
        let mut opened: Vec<Arc<MasterKey>> = Vec::new();
        for key in given {
            let row = self.keys.iter().find(|row| row.id == key.id());
            let fits =
                row.is_some_and(|row| key.open(CANARY.0, &row.canary).is_ok_and(|says| *says == CANARY.1));
            if fits && opened.iter().all(|other| other.id() != key.id()) {
                opened.push(Arc::clone(key));
            }
        }
        let mut looked_at = 0;
        while let Some(by) = opened.get(looked_at).cloned() {
            looked_at += 1;
            for copy in self.copies.iter().filter(|copy| copy.under == by.id()) {
                let is_new = opened.iter().all(|key| key.id() != copy.id);
                if let Some(key) = unseal(copy, &by).filter(|_| is_new) {
                    opened.push(Arc::new(key));
                }
            }
        }
        opened.sort_by_key(|key| self.keys.iter().position(|row| row.id == key.id()));
        opened
    }

    /// True if an older key still opens the newest one.
    pub(super) fn is_under_way(&self) -> bool {
        self.copies.iter().any(|copy| Some(copy.id) == self.newest())
    }
}

/// The key of a copy; `None` if `by` does not open it.
fn unseal(copy: &Copy, by: &MasterKey) -> Option<MasterKey> {
    let text = by.open(&copy.sealed_for(), &copy.sealed).ok()?;
    let key = MasterKey::from_hex(std::str::from_utf8(&text).ok()?).ok()?;
    (key.id() == copy.id).then_some(key)
}

/// A key sealed under another one.
pub(super) fn copy(key: &MasterKey, under: &MasterKey) -> Result<Copy, VaultError> {
    let mut copy = Copy { id: key.id(), under: under.id(), sealed: Vec::new() };
    copy.sealed = under.seal(&copy.sealed_for(), key.to_hex().as_bytes())?;
    Ok(copy)
}

/// A key as the database records it.
pub(super) fn known_as(key: &MasterKey, now: Millis) -> Result<KnownKey, VaultError> {
    Ok(KnownKey { id: key.id(), canary: key.seal(CANARY.0, CANARY.1)?, created_at: now })
}
