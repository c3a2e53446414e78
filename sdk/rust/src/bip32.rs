//! Receive addresses from an extended public key (BIP-32, public derivation).
//!
//! The key is the one whose children are the addresses: for most wallets the key at change level
//! (`m/44'/60'/0'/0` on EVM chains), so that child 0 is the wallet's first address. Private keys are refused by
//! name: they have no business here.

use crate::chain::DeriveError;
use crate::curve::{decompress, uncompressed};
use hmac::{Hmac, KeyInit, Mac};
use k256::elliptic_curve::PrimeField;
use k256::{AffinePoint, FieldBytes, ProjectivePoint, Scalar};
use sha2::Sha512;

/// Version bytes of BIP-32: `xpub`, `tpub`, and the private ones that people paste by mistake.
const PUBLIC: [[u8; 4]; 2] = [[0x04, 0x88, 0xb2, 0x1e], [0x04, 0x35, 0x87, 0xcf]];
const PRIVATE: [[u8; 4]; 2] = [[0x04, 0x88, 0xad, 0xe4], [0x04, 0x35, 0x83, 0x94]];

/// First index of the children that need the private key.
const HARDENED: u32 = 1 << 31;

struct ExtendedKey {
    chain_code: [u8; 32],
    /// The compressed point.
    point: [u8; 33],
}

/// Derives the `index`-th child of an extended public key (`xpub` or `tpub`). Returns the 64 bytes of its uncompressed
/// point, which Ethereum and its relatives hash into an address.
pub fn child_point(key: &str, index: u32) -> Result<[u8; 64], DeriveError> {
    uncompressed(&child(&parse(key.trim())?, index)?).ok_or(DeriveError::NoChild)
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

/// CKDpub of BIP-32, without the child's chain code, which is not needed here.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Extended public key `m/44'/60'/0'/0` of the mnemonic "test test … junk" that every local test chain uses.
    const JUNK: &str = "xpub6DyUKdwoLWmUJ4Tn9Bbsdtx7B5Ws18mEN19e5HT52ikE53FiUheSQXrZUNPovqfyKmw4579A1Mm3GXXKM39N64uooBfJ4tNAzFsEbodRTx4";

    /// BIP-32, test vector 2: child 0 of m is the key that the vector gives for m/0.
    #[test]
    fn bip_32_vector_2() {
        let root = "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB";
        let child = "xpub69H7F5d8KSRgmmdJg2KhpAK8SR3DjMwAdkxj3ZuxV27CprR9LgpeyGmXUbC6wb7ERfvrnKZjXoUmmDznezpbZb7ap6r1D3tgFxHmwMkQTPH";
        let point = uncompressed(&decompress(&parse(child).unwrap().point).unwrap()).unwrap();
        assert_eq!(child_point(root, 0).unwrap(), point);
    }

    fn with_version(version: [u8; 4]) -> String {
        let mut bytes = bs58::decode(JUNK).with_check(None).into_vec().unwrap();
        bytes[..4].copy_from_slice(&version);
        bs58::encode(bytes).with_check().into_string()
    }

    #[test]
    fn keys_that_are_refused() {
        let text = |key: &str| match child_point(key, 0) {
            Err(DeriveError::MalformedKey(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(text(&with_version([0x04, 0x88, 0xad, 0xe4])).contains("private"));
        assert!(text(&with_version([0x04, 0x9d, 0x7c, 0xb2])).contains("neither"));
        assert!(child_point(&with_version([0x04, 0x35, 0x87, 0xcf]), 0).is_ok());
        assert!(child_point(JUNK, HARDENED - 1).is_ok());
        assert_eq!(child_point(JUNK, HARDENED), Err(DeriveError::NoChild));
        let typo = JUNK.replace("Wm", "Wn");
        for wrong in ["", "xpub", "0x00", &typo, &JUNK[..100], &JUNK.repeat(1_000), "xpub\u{e9}"] {
            text(wrong);
        }
        // Right checksum, but x = 5 is on no point of the curve.
        let mut bytes = bs58::decode(JUNK).with_check(None).into_vec().unwrap();
        bytes[46..78].fill(0);
        bytes[77] = 5;
        assert!(text(&bs58::encode(bytes).with_check().into_string()).contains("curve"));
    }
}
