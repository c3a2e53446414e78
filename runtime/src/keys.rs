//! API keys: their form, their making and their lookup.
//!
//! A key is `live_`, `test_` or `op_` and 32 random letters and digits (160 bits), so a plain keyed hash is
//! enough to store it by. [`Keys`] remembers for two seconds what it read, so that a busy key costs no query;
//! a revocation is felt at once by the process that made it, and by other replicas within those two seconds.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    db::{
        Conn, Db, DbError,
        api_keys::{self, ApiKey, KeyMode, Presented},
    },
    domain::{Millis, id::ApiKeyId, tenant::Tenant},
    vault::{Vault, VaultError},
};

const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const RANDOM_LEN: usize = 32;
/// Number of characters of a key that a list shows: its mode, and enough to tell two apart.
const SHOWN_LEN: usize = 10;
const REMEMBERED_MS: Millis = 2_000;
/// Maximum number of distinct keys remembered; more are looked up each time.
const REMEMBERED_MAX: usize = 100_000;

fn prefix(mode: KeyMode) -> &'static str {
    match mode {
        KeyMode::Operator => "op_",
        KeyMode::Live => "live_",
        KeyMode::Test => "test_",
    }
}

/// True if `text` has the form of a key; other texts are not looked up.
#[must_use]
pub(crate) fn is_well_formed(text: &str) -> bool {
    [KeyMode::Operator, KeyMode::Live, KeyMode::Test]
        .into_iter()
        .filter_map(|mode| text.strip_prefix(prefix(mode)))
        .any(|random| random.len() == RANDOM_LEN && random.bytes().all(|byte| ALPHABET.contains(&byte)))
}

pub(crate) fn generate(mode: KeyMode) -> Result<String, VaultError> {
    let mut random = [0_u8; RANDOM_LEN];
    getrandom::fill(&mut random).map_err(|_| VaultError::NoRandom)?;
    let mut key = prefix(mode).to_owned();
    key.extend(random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])));
    Ok(key)
}

/// A key to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewKey {
    /// `None` for an operator's key.
    pub(crate) tenant: Option<Tenant>,
    pub(crate) name: String,
    pub(crate) expires_at: Option<Millis>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Makes and stores a key. The text is shown once and cannot be recovered.
pub(crate) async fn issue(
    conn: &mut Conn,
    vault: &Vault,
    new: NewKey,
    now: Millis,
) -> Result<(ApiKey, String), IssueError> {
    let text = generate(KeyMode::of(new.tenant.as_ref()))?;
    issue_text(conn, vault, new, text, now).await
}

/// Stores a key as [`issue`] does, with a given text that is random and well formed.
pub(crate) async fn issue_text(
    conn: &mut Conn,
    vault: &Vault,
    new: NewKey,
    text: String,
    now: Millis,
) -> Result<(ApiKey, String), IssueError> {
    let key = ApiKey {
        id: ApiKeyId::new(now),
        tenant: new.tenant,
        name: new.name,
        prefix: text.chars().take(SHOWN_LEN).collect(),
        created_at: now,
        expires_at: new.expires_at,
        revoked_at: None,
    };
    api_keys::insert(conn, &key, vault.hash_api_key(&text)).await?;
    Ok((key, text))
}

/// Keys by their hash, with the time at which each was read.
type Remembered = HashMap<Vec<u8>, (Millis, Arc<Presented>)>;

/// Looks up presented keys. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    remembered: Arc<RwLock<Remembered>>,
}

impl Keys {
    /// Finds a key, expired or not; `None` if it is unknown.
    pub(crate) async fn find(
        &self,
        db: &Db,
        vault: &Vault,
        text: &str,
        now: Millis,
    ) -> Result<Option<Arc<Presented>>, DbError> {
        let hash = vault.hash_api_key(text);
        if let Some(presented) = self.recall(&hash, now) {
            return Ok(Some(presented));
        }
        let mut conn = db.read().await?;
        let Some(presented) = api_keys::by_hash(&mut conn, hash.clone()).await?.map(Arc::new) else {
            return Ok(None);
        };
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(hash, (now, presented.clone()));
        Ok(Some(presented))
    }

    fn recall(&self, hash: &[u8], now: Millis) -> Option<Arc<Presented>> {
        let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
        let (at, presented) = remembered.get(hash)?;
        (0..REMEMBERED_MS).contains(&(now - at)).then(|| presented.clone())
    }

    /// Forgets all keys, since one was revoked or a merchant changed.
    pub(crate) fn forget(&self) {
        self.remembered.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_keys_are_well_formed_and_differ() {
        for mode in [KeyMode::Operator, KeyMode::Live, KeyMode::Test] {
            let (one, two) = (generate(mode).unwrap(), generate(mode).unwrap());
            assert!(is_well_formed(&one), "{one}");
            assert_ne!(one, two);
        }
    }

    #[test]
    fn other_texts_are_no_keys() {
        let random = "a".repeat(RANDOM_LEN);
        for text in [
            "",
            "live_",
            &random,
            &format!("sk_{random}"),
            &format!("live_{random}a"),
            &format!("live_{random} "),
        ] {
            assert!(!is_well_formed(text), "{text}");
        }
        assert!(is_well_formed(&format!("live_{random}")));
    }
}
