//! Receive addresses from an extended public key (BIP-32, public derivation).
//!
//! The key is the one whose children are the addresses: for most wallets the change-level key of
//! `m/44'/60'/0'/0`, so that child 0 is the wallet's first address. Private keys are refused by name: they
//! have no business here.

use crate::address::{keccak, show};
use crate::hex::Key;
use hmac::{Hmac, KeyInit, Mac};
use k256::elliptic_curve::PrimeField;
use k256::elliptic_curve::sec1::{FromSec1Point, ToSec1Point};
use k256::{AffinePoint, FieldBytes, ProjectivePoint, Scalar};
use kassa_sdk::chain::{Address, DeriveError};
use sha2::Sha512;

/// Version bytes of BIP-32: `xpub`, `tpub`, and the private ones that people paste by mistake.
const PUBLIC: [[u8; 4]; 2] = [[0x04, 0x88, 0xb2, 0x1e], [0x04, 0x35, 0x87, 0xcf]];
const PRIVATE: [[u8; 4]; 2] = [[0x04, 0x88, 0xad, 0xe4], [0x04, 0x35, 0x83, 0x94]];

/// Children from here on need the private key.
const HARDENED: u32 = 1 << 31;

struct ExtendedKey {
    chain_code: [u8; 32],
    /// Compressed point.
    point: [u8; 33],
}

pub(crate) fn derive(key: &str, index: u32) -> Result<Address, DeriveError> {
    let parent = parse(key.trim())?;
    let child = child(&parent, index)?;
    let key = key_of(&child).ok_or(DeriveError::NoChild)?;
    Ok(Address { text: show(&key), key: key.to_vec() })
}

fn malformed(why: &str) -> DeriveError {
    DeriveError::MalformedKey(why.into())
}

fn parse(text: &str) -> Result<ExtendedKey, DeriveError> {
    // An xpub has 111 characters; decoding base 58 takes quadratic time.
    if text.len() > 120 {
        return Err(malformed("an extended public key has 111 characters"));
    }
    let bytes = bs58::decode(text)
        .with_check(None)
        .into_vec()
        .map_err(|_| malformed("not base 58, or its checksum is wrong"))?;
    let bytes: [u8; 78] = bytes.try_into().map_err(|_| malformed("not 78 bytes long"))?;
    let version = bytes.first_chunk::<4>().copied().unwrap_or_default();
    if PRIVATE.contains(&version) {
        return Err(malformed("this is a private key; never hand it out. Export the public one (xpub)"));
    }
    if !PUBLIC.contains(&version) {
        return Err(malformed("neither xpub nor tpub"));
    }
    let code = bytes.get(13..45).and_then(|code| code.try_into().ok());
    let point = bytes.last_chunk::<33>().copied();
    let (Some(chain_code), Some(point)) = (code, point) else { return Err(malformed("not 78 bytes long")) };
    let key = ExtendedKey { chain_code, point };
    decompress(&key.point).ok_or_else(|| malformed("its point is not on the curve"))?;
    Ok(key)
}

/// CKDpub of BIP-32, without the child's chain code, which nobody asks for here.
fn child(parent: &ExtendedKey, index: u32) -> Result<AffinePoint, DeriveError> {
    if index >= HARDENED {
        return Err(DeriveError::NoChild);
    }
    let mut mac = Hmac::<Sha512>::new_from_slice(&parent.chain_code).map_err(|_| DeriveError::NoChild)?;
    mac.update(&parent.point);
    mac.update(&index.to_be_bytes());
    let digest: [u8; 64] = mac.finalize().into_bytes().into();
    let tweak: [u8; 32] = digest.first_chunk().copied().ok_or(DeriveError::NoChild)?;
    // A tweak beyond the curve's order, or a sum at infinity: less likely than 1 in 2^127, and BIP-32 says
    // that such a child does not exist.
    let tweak = Option::<Scalar>::from(Scalar::from_repr(FieldBytes::from(tweak)));
    let point = decompress(&parent.point).ok_or_else(|| malformed("its point is not on the curve"))?;
    let tweak = tweak.ok_or(DeriveError::NoChild)?;
    let sum = ProjectivePoint::GENERATOR * tweak + ProjectivePoint::from(point);
    if sum == ProjectivePoint::IDENTITY {
        return Err(DeriveError::NoChild);
    }
    Ok(sum.to_affine())
}

fn decompress(point: &[u8; 33]) -> Option<AffinePoint> {
    let encoded = k256::Sec1Point::from_bytes(point).ok()?;
    AffinePoint::from_sec1_point(&encoded).into()
}

/// The last 20 bytes of the hash of the uncompressed point.
fn key_of(point: &AffinePoint) -> Option<Key> {
    let encoded = point.to_sec1_point(false);
    let hash = keccak(encoded.as_bytes().get(1..)?);
    hash.last_chunk::<20>().copied()
}

#[cfg(test)]
pub(crate) fn address_of_point(point: &[u8; 33]) -> Option<String> {
    key_of(&decompress(point)?).map(|key| show(&key))
}
