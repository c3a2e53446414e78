//! Points of secp256k1 as bytes.

use k256::AffinePoint;
use k256::elliptic_curve::sec1::{FromSec1Point, ToSec1Point};

/// Decompresses a point. `None` if it is not on the curve.
pub(crate) fn decompress(point: &[u8; 33]) -> Option<AffinePoint> {
    let encoded = k256::Sec1Point::from_bytes(point).ok()?;
    AffinePoint::from_sec1_point(&encoded).into()
}

/// The coordinates of a point. `None` for the point at infinity.
pub(crate) fn uncompressed(point: &AffinePoint) -> Option<[u8; 64]> {
    point.to_sec1_point(false).as_bytes().get(1..)?.try_into().ok()
}
