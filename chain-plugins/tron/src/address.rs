//! Addresses: 20 bytes behind the prefix 0x41, shown in base 58 with a checksum.

use kassa_sdk::bip32::child_point;
use kassa_sdk::chain::{Address, AddressError, DeriveError};
use sha3::{Digest, Keccak256};

/// The 20 bytes of an address behind its prefix.
pub(crate) type Key = [u8; 20];

/// First byte of every address.
const PREFIX: u8 = 0x41;

pub(crate) fn show(key: &Key) -> String {
    bs58::encode(key).with_check_version(PREFIX).into_string()
}

/// Reads `41` and 40 hexadecimal digits, as nodes write addresses. `None` if it is anything else.
pub(crate) fn from_hex(text: &str) -> Option<Key> {
    let mut bytes = [0; 21];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    key_of(&bytes)
}

pub(crate) fn key_of(bytes: &[u8]) -> Option<Key> {
    let (prefix, key) = bytes.split_first()?;
    if *prefix == PREFIX { key.try_into().ok() } else { None }
}

pub(crate) fn parse(text: &str) -> Result<Key, AddressError> {
    let malformed = || AddressError::Malformed("an address is T and 33 characters of base 58".into());
    let text = text.trim();
    if let Some(key) = from_hex(text.strip_prefix("0x").unwrap_or(text)) {
        return Ok(key);
    }
    // Decoding base 58 takes quadratic time.
    if text.len() > 64 {
        return Err(malformed());
    }
    match bs58::decode(text).with_check(None).into_vec() {
        Ok(bytes) => key_of(&bytes).ok_or_else(malformed),
        Err(bs58::decode::Error::InvalidChecksum { .. }) if text.len() == 34 && text.starts_with('T') => {
            Err(AddressError::Checksum)
        }
        Err(_) => Err(malformed()),
    }
}

pub(crate) fn normalize(text: &str) -> Result<Address, AddressError> {
    parse(text).map(address)
}

/// The `index`-th child of an extended public key: the last 20 bytes of the Keccak-256 hash of its point.
pub(crate) fn derive(key: &str, index: u32) -> Result<Address, DeriveError> {
    let hash: [u8; 32] = Keccak256::digest(child_point(key, index)?).into();
    hash.last_chunk().copied().map(address).ok_or(DeriveError::NoChild)
}

fn address(key: Key) -> Address {
    Address { text: show(&key), key: key.to_vec(), more: Vec::new() }
}
