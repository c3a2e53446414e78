//! Addresses of the sandbox: `sbx1`, 32 hex digits of account, 8 hex digits of checksum.
//!
//! The checksum is FNV-1a (32 bits) over the 32 account digits as lower-case ASCII, so that a test can make
//! right and wrong addresses without this crate; the action `address` makes them as well.

use kassa_sdk::chain::{Address, AddressError, DeriveError};

const PREFIX: &str = "sbx1";
const KEY_PREFIX: &str = "sbxpub";

/// The account behind an address: the key of `watch.filter`.
pub(crate) type Account = [u8; 16];

/// The address of an account.
#[must_use]
pub fn encode(account: [u8; 16]) -> String {
    let digits = hex(&account);
    format!("{PREFIX}{digits}{:08x}", fnv32(digits.as_bytes()))
}

/// An address of the right form with a wrong checksum.
#[must_use]
pub fn encode_wrongly(account: [u8; 16]) -> String {
    let digits = hex(&account);
    format!("{PREFIX}{digits}{:08x}", !fnv32(digits.as_bytes()))
}

/// The account of a name: any text has one.
#[must_use]
pub fn account_of(seed: &str) -> [u8; 16] {
    hash16(seed.as_bytes())
}

pub(crate) fn decode(text: &str) -> Result<Account, AddressError> {
    let malformed = |why: &str| AddressError::Malformed(why.into());
    let text = text.trim().to_ascii_lowercase();
    let digits = text.strip_prefix(PREFIX).ok_or_else(|| malformed("a sandbox address begins with sbx1"))?;
    if digits.len() != 40 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(malformed("40 hex digits follow sbx1"));
    }
    let (account, checksum) = digits.split_at(32);
    if format!("{:08x}", fnv32(account.as_bytes())) != checksum {
        return Err(AddressError::Checksum);
    }
    u128::from_str_radix(account, 16).map(u128::to_be_bytes).map_err(|_| malformed("not hex digits"))
}

pub(crate) fn normalize(text: &str) -> Result<Address, AddressError> {
    let account = decode(text)?;
    Ok(Address { text: encode(account), key: account.to_vec(), more: Vec::new() })
}

/// Derives a child. Every text that begins with `sbxpub` is an extended public key here.
pub(crate) fn derive(key: &str, index: u32) -> Result<Address, DeriveError> {
    if !key.starts_with(KEY_PREFIX) {
        return Err(DeriveError::MalformedKey("a sandbox key begins with sbxpub".into()));
    }
    // The same limit as BIP-32 has, so that hosts meet it in tests.
    if index >= 1 << 31 {
        return Err(DeriveError::NoChild);
    }
    let account = hash16(format!("{key}/{index}").as_bytes());
    Ok(Address { text: encode(account), key: account.to_vec(), more: Vec::new() })
}

/// A 16-byte hash of `input`. Nothing on the sandbox is worth an attack, so it only has to avoid collisions by chance.
pub(crate) fn hash16(input: &[u8]) -> [u8; 16] {
    let high = mix(fnv64(0xcbf2_9ce4_8422_2325, input));
    let low = mix(fnv64(high, input));
    ((u128::from(high) << 64) | u128::from(low)).to_be_bytes()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fnv32(input: &[u8]) -> u32 {
    input.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn fnv64(start: u64, input: &[u8]) -> u64 {
    input.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Finalizer of SplitMix64: FNV alone leaves the high bits of short inputs alike.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
