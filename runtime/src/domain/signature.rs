//! Signatures of webhooks by Standard Webhooks (github.com/standard-webhooks/standard-webhooks, spec 1.0.0).
//!
//! What is signed is `id.timestamp.body`, by HMAC-SHA256; a signature is `v1,` and base64. During a rotation both
//! secrets sign, and the header carries both signatures with a space between them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

const PREFIX: &str = "whsec_";
/// Length of a secret in bytes, as the specification bounds it.
const LEN: std::ops::RangeInclusive<usize> = 24..=64;
const LEN_NEW: usize = 32;
/// Maximum distance of a timestamp from now, both ways, seconds.
pub const TOLERANCE_S: i64 = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("a webhook secret is whsec_ and the base64 of 24 to 64 bytes")]
    Secret,
    #[error("the system gave no random bytes")]
    NoRandom,
    #[error("the timestamp is missing or more than five minutes from now")]
    Timestamp,
    #[error("no signature fits")]
    Signature,
}

/// A signing secret shared with an endpoint. Debug output never shows it.
pub struct Secret {
    key: Zeroizing<Vec<u8>>,
}

impl Secret {
    /// Makes a new random secret.
    pub fn generate() -> Result<Self, SignatureError> {
        let mut key = Zeroizing::new(vec![0; LEN_NEW]);
        getrandom::fill(&mut key).map_err(|_| SignatureError::NoRandom)?;
        Ok(Self { key })
    }

    /// Reads `whsec_…`; the prefix may be missing.
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        let text = text.strip_prefix(PREFIX).unwrap_or(text);
        let key = Zeroizing::new(STANDARD.decode(text).map_err(|_| SignatureError::Secret)?);
        if LEN.contains(&key.len()) { Ok(Self { key }) } else { Err(SignatureError::Secret) }
    }

    /// The text `whsec_…`, as it is shown once and as it is sealed.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", STANDARD.encode(&self.key)))
    }

    fn mac(&self, id: &str, timestamp_s: &str, body: &[u8]) -> Hmac<Sha256> {
        // HMAC takes a key of any length, so the other arm is never taken.
        let mut mac = Hmac::new_from_slice(&self.key).unwrap_or_else(|_| Hmac::new(&Default::default()));
        for part in [id.as_bytes(), b".", timestamp_s.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac
    }
}

/// The value of `webhook-signature`: one signature by each secret.
#[must_use]
pub fn sign(secrets: &[Secret], id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let timestamp_s = timestamp_s.to_string();
    let mut header = String::with_capacity(48 * secrets.len());
    for secret in secrets {
        if !header.is_empty() {
            header.push(' ');
        }
        header.push_str("v1,");
        STANDARD.encode_string(secret.mac(id, &timestamp_s, body).finalize().into_bytes(), &mut header);
    }
    header
}

/// Checks the three headers of a delivery as a receiver does, in constant time for each signature.
///
/// # Errors
/// `Timestamp` when it is not within [`TOLERANCE_S`] of now, `Signature` when none of the `v1` ones fits.
pub fn verify(
    secret: &Secret,
    id: &str,
    timestamp: &str,
    signatures: &str,
    body: &[u8],
    now_s: i64,
) -> Result<(), SignatureError> {
    let at: i64 = timestamp.parse().map_err(|_| SignatureError::Timestamp)?;
    if at.abs_diff(now_s) > TOLERANCE_S.unsigned_abs() {
        return Err(SignatureError::Timestamp);
    }
    signatures
        .split(' ')
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
        .any(|signature| secret.mac(id, timestamp, body).verify_slice(&signature).is_ok())
        .then_some(())
        .ok_or(SignatureError::Signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The specification's own example.
    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const AT: i64 = 1_649_367_553;
    const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;
    const SIGNATURE: &str = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";

    fn secret() -> Secret {
        Secret::parse(SECRET).unwrap()
    }

    #[test]
    fn signs_as_the_specification_does() {
        assert_eq!(sign(&[secret()], ID, AT, BODY), SIGNATURE);
        assert_eq!(secret().to_text().as_str(), SECRET);
    }

    #[test]
    fn verifies_within_five_minutes_both_ways() {
        let check = |now, signatures: &str| verify(&secret(), ID, &AT.to_string(), signatures, BODY, now);
        for now in [AT, AT - 300, AT + 300] {
            assert_eq!(check(now, SIGNATURE), Ok(()));
        }
        for now in [AT - 301, AT + 301, i64::MIN, i64::MAX] {
            assert_eq!(check(now, SIGNATURE), Err(SignatureError::Timestamp));
        }
        assert_eq!(check(AT, &format!("v1a,AAAA v1,AAAA {SIGNATURE}")), Ok(()));
        for signatures in ["", "v1,", "v1,AAAA", "tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=", "v2,tZ1I"] {
            assert_eq!(check(AT, signatures), Err(SignatureError::Signature), "{signatures}");
        }
        assert!(verify(&secret(), "msg_other", &AT.to_string(), SIGNATURE, BODY, AT).is_err());
        assert!(verify(&secret(), ID, &AT.to_string(), SIGNATURE, b"{}", AT).is_err());
        assert!(verify(&secret(), ID, "x", SIGNATURE, BODY, AT).is_err());
    }

    #[test]
    fn both_secrets_of_a_rotation_verify() {
        let (old, new) = (secret(), Secret::generate().unwrap());
        let header = sign(&[new, secret()], ID, AT, BODY);
        let (first, second) = header.split_once(' ').unwrap();
        assert_eq!(second, SIGNATURE);
        assert_ne!(first, SIGNATURE);
        assert!(verify(&old, ID, &AT.to_string(), &header, BODY, AT).is_ok());
        assert!(verify(&Secret::generate().unwrap(), ID, &AT.to_string(), &header, BODY, AT).is_err());
    }

    #[test]
    fn secrets_are_24_to_64_bytes() {
        for (len, good) in [(0, false), (23, false), (24, true), (32, true), (64, true), (65, false)] {
            let text = format!("whsec_{}", STANDARD.encode(vec![7; len]));
            assert_eq!(Secret::parse(&text).is_ok(), good, "{len}");
        }
        assert!(Secret::parse("whsec_***").is_err());
        let new = Secret::generate().unwrap();
        assert_eq!(Secret::parse(&new.to_text()).unwrap().key.len(), 32);
    }
}
