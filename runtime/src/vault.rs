//! Secrets at rest: API keys as keyed hashes, webhook secrets and upstream headers sealed.
//!
//! One master key (32 bytes, from `master.key` in the data folder or `KASSA_MASTER_KEY`) gives every other key,
//! each for one purpose. A sealed value is bound to the id of its row: moved to another row, it does not open.

use std::{fs, io, path::Path};

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 24;
/// First byte of a sealed value: how it is sealed, so that another way can come later.
const XCHACHA: u8 = 1;

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("master key: {0}")]
    Io(#[from] io::Error),
    #[error("the master key must be 64 hex digits (32 bytes)")]
    Malformed,
    #[error("the system gave no random bytes")]
    NoRandom,
    /// Another master key, another row, or changed bytes.
    #[error("a sealed value does not open: is this the master key that it was sealed with?")]
    Sealed,
}

/// The keys of this installation.
pub struct Vault {
    master: Zeroizing<[u8; KEY_LEN]>,
    seal: Zeroizing<[u8; KEY_LEN]>,
    pepper: Zeroizing<[u8; KEY_LEN]>,
}

impl Vault {
    /// From 64 hex digits.
    pub fn from_hex(text: &str) -> Result<Self, VaultError> {
        let mut master = Zeroizing::new([0; KEY_LEN]);
        hex::decode_to_slice(text.trim(), master.as_mut()).map_err(|_| VaultError::Malformed)?;
        Ok(Self::new(master))
    }

    /// From the file. `None`: it is not there.
    pub fn open_file(file: &Path) -> Result<Option<Self>, VaultError> {
        match fs::read_to_string(file) {
            Ok(text) => Self::from_hex(&text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A new one, in a new file that only its owner can read.
    pub fn create(file: &Path) -> Result<Self, VaultError> {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        getrandom::fill(bytes.as_mut()).map_err(|_| VaultError::NoRandom)?;
        write_private(file, &hex::encode(bytes.as_slice()))?;
        Ok(Self::new(bytes))
    }

    fn new(master: Zeroizing<[u8; KEY_LEN]>) -> Self {
        let seal = derive(&master, "seal");
        let pepper = derive(&master, "api key");
        Self { master, seal, pepper }
    }

    /// Names the master key, and tells nothing of it.
    #[must_use]
    pub fn id(&self) -> String {
        let [a, b, c, d, e, f, ..] = *derive(&self.master, "name");
        hex::encode([a, b, c, d, e, f])
    }

    /// A key for one purpose, the same at every start.
    #[must_use]
    pub fn key_for(&self, purpose: &str) -> [u8; KEY_LEN] {
        *derive(&self.master, purpose)
    }

    /// What is stored of an API key. 128 random bits need no slow hash; the pepper keeps a stolen table useless.
    #[must_use]
    pub fn hash_api_key(&self, key: &str) -> Vec<u8> {
        mac(&self.pepper, key.as_bytes()).to_vec()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        let key: &[u8; KEY_LEN] = &self.seal;
        XChaCha20Poly1305::new(key.into())
    }

    /// Seals `secret` for the row `row_id`.
    pub fn seal(&self, row_id: &str, secret: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| VaultError::NoRandom)?;
        let body = self
            .cipher()
            .encrypt(&XNonce::from(nonce), Payload { msg: secret, aad: row_id.as_bytes() })
            .map_err(|_| VaultError::Sealed)?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + body.len());
        sealed.push(XCHACHA);
        sealed.extend(nonce);
        sealed.extend(body);
        Ok(sealed)
    }

    /// Opens what was sealed for the row `row_id`.
    pub fn open(&self, row_id: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (&way, rest) = sealed.split_first().ok_or(VaultError::Sealed)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(VaultError::Sealed)?;
        let nonce: [u8; NONCE_LEN] = nonce.try_into().map_err(|_| VaultError::Sealed)?;
        if way != XCHACHA {
            return Err(VaultError::Sealed);
        }
        self.cipher()
            .decrypt(&XNonce::from(nonce), Payload { msg: body, aad: row_id.as_bytes() })
            .map(Zeroizing::new)
            .map_err(|_| VaultError::Sealed)
    }
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

fn write_private(file: &Path, text: &str) -> io::Result<()> {
    use io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        Vault::from_hex(&"11".repeat(32)).unwrap()
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
}
