//! Recovery of the secp256k1 key that signed a hash, as wallets of Ethereum and its relatives sign.
//!
//! A signature is 65 bytes: `r`, `s` and the index of one of two keys. Both forms of `s` are accepted: the other one of
//! a signature proves the same of the same key. So two signatures may prove the same; never count by them.

use crate::curve::{decompress, uncompressed};
use k256::elliptic_curve::PrimeField;
use k256::elliptic_curve::ops::Reduce;
use k256::{FieldBytes, ProjectivePoint, Scalar};

/// Recovers the key that made this signature of this hash, as the 64 bytes of its uncompressed point. The last byte of
/// the signature is 27 or 28, as wallets write it, or 0 or 1. `None` if there is no such key.
#[must_use]
pub fn recover(hash: &[u8; 32], signature: &[u8; 65]) -> Option<[u8; 64]> {
    let [rs @ .., which] = signature;
    let is_odd = match which {
        0 | 27 => 0,
        1 | 28 => 1,
        _ => return None,
    };
    let (r, s) = (rs.first_chunk::<32>()?, rs.last_chunk::<32>()?);
    // An x beyond the order of the curve would need other values of the last byte; nobody has ever met one.
    let mut point = [0; 33];
    let [tag, x @ ..] = &mut point;
    (*tag, *x) = (2 + is_odd, *r);
    let point = ProjectivePoint::from(decompress(&point)?);
    let r = scalar(r)?;
    let s = scalar(s)?;
    let hash = <Scalar as Reduce<FieldBytes>>::reduce(&FieldBytes::from(*hash));
    let over_r = Option::<Scalar>::from(r.invert())?;
    let key = point * (s * over_r) - ProjectivePoint::GENERATOR * (hash * over_r);
    if key == ProjectivePoint::IDENTITY {
        return None;
    }
    uncompressed(&key.to_affine())
}

/// Reads a number from 1 to below the order of the curve.
fn scalar(bytes: &[u8; 32]) -> Option<Scalar> {
    let scalar = Option::<Scalar>::from(Scalar::from_repr(FieldBytes::from(*bytes)))?;
    (scalar != Scalar::ZERO).then_some(scalar)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(scalar: Scalar) -> [u8; N] {
        scalar.to_repr().as_slice().try_into().unwrap()
    }

    /// Signs with a given nonce: `s = (z + r d) / k`, with `r` the x of `k G`.
    fn sign(hash: Scalar, secret: Scalar, nonce: Scalar) -> [u8; 65] {
        let point = uncompressed(&(ProjectivePoint::GENERATOR * nonce).to_affine()).unwrap();
        let r = scalar(point.first_chunk().unwrap()).unwrap();
        let s = (hash + r * secret) * Option::<Scalar>::from(nonce.invert()).unwrap();
        let mut signature = [0; 65];
        signature[..32].copy_from_slice(&bytes::<32>(r));
        signature[32..64].copy_from_slice(&bytes::<32>(s));
        signature[64] = 27 + point[63] % 2;
        signature
    }

    fn key_of(secret: Scalar) -> [u8; 64] {
        uncompressed(&(ProjectivePoint::GENERATOR * secret).to_affine()).unwrap()
    }

    #[test]
    fn who_signed_is_found() {
        for secret in [1_u64, 2, 77, u64::MAX].map(Scalar::from) {
            for (hash, nonce) in [(5_u64, 9_u64), (u64::MAX, 3), (0, 12)] {
                let signature = sign(Scalar::from(hash), secret, Scalar::from(nonce));
                let hash = bytes(Scalar::from(hash));
                assert_eq!(recover(&hash, &signature), Some(key_of(secret)));
                let mut by_number = signature;
                by_number[64] -= 27;
                assert_eq!(recover(&hash, &by_number), Some(key_of(secret)));
                // The other s, of the other point with this x.
                let other = -scalar(signature[32..64].try_into().unwrap()).unwrap();
                by_number[32..64].copy_from_slice(&bytes::<32>(other));
                by_number[64] ^= 1;
                assert_eq!(recover(&hash, &by_number), Some(key_of(secret)));
                for bit in 0..65 * 8 {
                    let mut flipped = signature;
                    flipped[bit / 8] ^= 1 << (bit % 8);
                    assert_ne!(recover(&hash, &flipped), Some(key_of(secret)), "bit {bit}");
                }
            }
        }
    }

    #[test]
    fn what_nobody_can_have_signed() {
        let hash = bytes(Scalar::from(5_u64));
        let sound = sign(Scalar::from(5_u64), Scalar::from(7_u64), Scalar::from(9_u64));
        assert_eq!(recover(&hash, &[0; 65]), None);
        assert_eq!(recover(&hash, &[0xff; 65]), None);
        for (from, to, with) in
            [(0, 32, 0), (32, 64, 0), (0, 32, 0xff), (32, 64, 0xff), (64, 65, 2), (64, 65, 29)]
        {
            let mut wrong = sound;
            wrong[from..to].fill(with);
            assert_eq!(recover(&hash, &wrong), None, "{from}..{to} {with}");
        }
        // s R = z G: the key would be the point at infinity.
        let mut infinity = sign(Scalar::from(5_u64), Scalar::ZERO, Scalar::from(9_u64));
        assert_eq!(recover(&hash, &infinity), None);
        infinity[64] = 55 - infinity[64];
        assert!(recover(&hash, &infinity).is_some(), "the other point makes a key");
    }
}
