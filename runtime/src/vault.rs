//! Secrets at rest: API keys as keyed hashes, and sealed values: webhook and hook secrets, access to RPC providers.
//!
//! One master key (32 bytes, `master_key`) gives every other key, each for one purpose. A sealed value is bound to
//! the id of its row (moved to another row, it does not open) and names the key that it was sealed with, so that there
//! may be several: the newest seals, all open. API keys are hashed under the very first key, since their text is not
//! kept.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

const KEY_LEN: usize = 32;
const ID_LEN: usize = 6;
const NONCE_LEN: usize = 24;
/// First byte of a sealed value: the way it is sealed, so that another can come later. The key's id follows.
const XCHACHA: u8 = 2;
/// First byte of a value sealed before keys had ids, with the very first key.
const XCHACHA_FIRST: u8 = 1;

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("a master key must be 64 hex digits (32 bytes)")]
    Malformed,
    #[error("the system gave no random bytes")]
    NoRandom,
    /// Another master key, another row, or changed bytes.
    #[error("a sealed value does not open: is this the master key that it was sealed with?")]
    Sealed,
}

/// Id of a master key, from which nothing of it can be learned: 12 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MasterKeyId([u8; ID_LEN]);

impl MasterKeyId {
    /// Parses an id; `None` if it is malformed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut id = [0; ID_LEN];
        hex::decode_to_slice(text, &mut id).is_ok().then_some(Self(id))
    }

    /// The bytes with which every value sealed under this key begins.
    pub(crate) fn prefix(self) -> Vec<u8> {
        [&[XCHACHA], self.0.as_slice()].concat()
    }
}

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A master key.
pub(crate) struct MasterKey {
    master: Zeroizing<[u8; KEY_LEN]>,
    seal: Zeroizing<[u8; KEY_LEN]>,
    id: MasterKeyId,
}

impl MasterKey {
    /// Parses 64 hex digits.
    pub(crate) fn from_hex(text: &str) -> Result<Self, VaultError> {
        let mut master = Zeroizing::new([0; KEY_LEN]);
        hex::decode_to_slice(text.trim(), master.as_mut()).map_err(|_| VaultError::Malformed)?;
        Ok(Self::new(master))
    }

    /// Makes a new key.
    pub(crate) fn generate() -> Result<Self, VaultError> {
        let mut master = Zeroizing::new([0; KEY_LEN]);
        getrandom::fill(master.as_mut()).map_err(|_| VaultError::NoRandom)?;
        Ok(Self::new(master))
    }

    fn new(master: Zeroizing<[u8; KEY_LEN]>) -> Self {
        let seal = derive(&master, "seal");
        let [a, b, c, d, e, f, ..] = *derive(&master, "name");
        Self { master, seal, id: MasterKeyId([a, b, c, d, e, f]) }
    }

    pub(crate) fn id(&self) -> MasterKeyId {
        self.id
    }

    /// The key as 64 hex digits.
    pub(crate) fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.master.as_slice()))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        let key: &[u8; KEY_LEN] = &self.seal;
        XChaCha20Poly1305::new(key.into())
    }

    /// Seals `secret` for the row `row_id`.
    pub(crate) fn seal(&self, row_id: &str, secret: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| VaultError::NoRandom)?;
        let body = self
            .cipher()
            .encrypt(&XNonce::from(nonce), Payload { msg: secret, aad: row_id.as_bytes() })
            .map_err(|_| VaultError::Sealed)?;
        Ok([&[XCHACHA], self.id.0.as_slice(), &nonce, &body].concat())
    }

    /// Opens a value that this key has sealed for the row `row_id`, whatever key the value names.
    pub(crate) fn open(&self, row_id: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let begins = match sealed.first() {
            Some(&XCHACHA) => 1 + ID_LEN,
            Some(&XCHACHA_FIRST) => 1,
            _ => return Err(VaultError::Sealed),
        };
        let rest = sealed.get(begins..).ok_or(VaultError::Sealed)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(VaultError::Sealed)?;
        self.cipher()
            .decrypt(&XNonce::from(*nonce), Payload { msg: body, aad: row_id.as_bytes() })
            .map(Zeroizing::new)
            .map_err(|_| VaultError::Sealed)
    }
}

/// The master keys of this installation, while it runs.
pub struct Vault {
    ring: RwLock<Arc<Ring>>,
}

struct Ring {
    /// All known keys, the oldest first.
    known: Vec<Arc<MasterKey>>,
    /// The key that seals: the newest, once all replicas know it.
    seals: Arc<MasterKey>,
    /// Key of the API keys' hashes; every request uses it.
    pepper: Zeroizing<[u8; KEY_LEN]>,
}

impl Ring {
    fn new(known: Vec<Arc<MasterKey>>, seals: Arc<MasterKey>) -> Arc<Self> {
        let pepper = derive(&known.first().unwrap_or(&seals).master, "api key");
        Arc::new(Self { known, seals, pepper })
    }
}

impl Vault {
    /// A vault with a single key, given as 64 hex digits.
    pub fn from_hex(text: &str) -> Result<Self, VaultError> {
        let key = Arc::new(MasterKey::from_hex(text)?);
        Ok(Self::new(vec![Arc::clone(&key)], key))
    }

    /// A vault with these keys, the oldest first; `seals` is one of them.
    pub(crate) fn new(known: Vec<Arc<MasterKey>>, seals: Arc<MasterKey>) -> Self {
        Self { ring: RwLock::new(Ring::new(known, seals)) }
    }

    /// Replaces the keys.
    pub(crate) fn set(&self, known: Vec<Arc<MasterKey>>, seals: Arc<MasterKey>) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Ring::new(known, seals);
    }

    fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// All known keys, the oldest first.
    pub(crate) fn known(&self) -> Vec<Arc<MasterKey>> {
        self.ring().known.clone()
    }

    /// The newest known key.
    pub(crate) fn newest(&self) -> Arc<MasterKey> {
        let ring = self.ring();
        Arc::clone(ring.known.last().unwrap_or(&ring.seals))
    }

    /// The key that seals: the newest, once all replicas know it.
    pub(crate) fn seals(&self) -> Arc<MasterKey> {
        Arc::clone(&self.ring().seals)
    }

    /// A key for one purpose, the same for as long as the master key stays.
    #[must_use]
    pub fn key_for(&self, purpose: &str) -> [u8; KEY_LEN] {
        *derive(&self.ring().seals.master, purpose)
    }

    /// The keys for one purpose of every known master key: for values made before another one seals.
    pub(crate) fn keys_for(&self, purpose: &str) -> Vec<[u8; KEY_LEN]> {
        self.ring().known.iter().map(|key| *derive(&key.master, purpose)).collect()
    }

    /// Hash of an API key, as it is stored. 128 random bits need no slow hash; the pepper makes a stolen table useless.
    #[must_use]
    pub fn hash_api_key(&self, key: &str) -> Vec<u8> {
        mac(&self.ring().pepper, key.as_bytes()).to_vec()
    }

    /// Seals `secret` for the row `row_id`.
    pub fn seal(&self, row_id: &str, secret: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.ring().seals.seal(row_id, secret)
    }

    /// Opens a value sealed for the row `row_id`.
    pub fn open(&self, row_id: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let ring = self.ring();
        let key = match sealed.first() {
            Some(&XCHACHA) => {
                let id = sealed.get(1..=ID_LEN).ok_or(VaultError::Sealed)?;
                ring.known.iter().find(|key| key.id.0 == id)
            }
            _ => ring.known.first(),
        };
        key.ok_or(VaultError::Sealed)?.open(row_id, sealed)
    }
}

/// True if the bytes begin as a vault's sealed values do, and as no JSON does.
pub(crate) fn is_sealed(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(&(XCHACHA | XCHACHA_FIRST)))
}

fn derive(master: &[u8; KEY_LEN], purpose: &str) -> Zeroizing<[u8; KEY_LEN]> {
    Zeroizing::new(mac(master, purpose.as_bytes()))
}

fn mac(key: &[u8; KEY_LEN], message: &[u8]) -> [u8; KEY_LEN] {
    // A key of any length is a valid HMAC key; the fallback is never taken.
    Hmac::<Sha256>::new_from_slice(key).map_or([0; KEY_LEN], |mut mac| {
        mac.update(message);
        mac.finalize().into_bytes().into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: &str) -> Arc<MasterKey> {
        Arc::new(MasterKey::from_hex(&byte.repeat(32)).unwrap())
    }

    fn vault() -> Vault {
        Vault::new(vec![key("11")], key("11"))
    }

    #[test]
    fn a_sealed_value_opens_in_its_row_only() {
        let sealed = vault().seal("ep_1", b"whsec").unwrap();
        assert_eq!(vault().open("ep_1", &sealed).unwrap().as_slice(), b"whsec");
        assert!(vault().open("ep_2", &sealed).is_err());
        assert!(Vault::from_hex(&"12".repeat(32)).unwrap().open("ep_1", &sealed).is_err());
        for cut in 0..sealed.len() {
            assert!(vault().open("ep_1", &sealed[..cut]).is_err());
        }
    }

    #[test]
    fn the_same_secret_never_looks_the_same() {
        assert_ne!(vault().seal("ep_1", b"x").unwrap(), vault().seal("ep_1", b"x").unwrap());
    }

    #[test]
    fn the_newest_key_seals_and_all_open() {
        let before = vault();
        let (sealed, hash) = (before.seal("ep_1", b"whsec").unwrap(), before.hash_api_key("op_1"));
        let after = Vault::new(vec![key("11"), key("12")], key("12"));
        assert_eq!(after.open("ep_1", &sealed).unwrap().as_slice(), b"whsec");
        assert_eq!(after.hash_api_key("op_1"), hash);
        let sealed = after.seal("ep_1", b"whsec").unwrap();
        assert!(before.open("ep_1", &sealed).is_err());
        assert!(sealed.starts_with(&key("12").id().prefix()));
        assert_eq!(
            Vault::from_hex(&"12".repeat(32)).unwrap().open("ep_1", &sealed).unwrap().as_slice(),
            b"whsec"
        );
    }

    #[test]
    fn a_value_of_before_keys_had_ids_opens_with_the_first() {
        let sealed = vault().seal("ep_1", b"whsec").unwrap();
        let old = [&[XCHACHA_FIRST], &sealed[1 + ID_LEN..]].concat();
        let after = Vault::new(vec![key("11"), key("12")], key("12"));
        assert_eq!(after.open("ep_1", &old).unwrap().as_slice(), b"whsec");
    }
}
