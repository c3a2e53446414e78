//! Signatures with keys that a hook never holds.
//!
//! The algorithms are an open list of names; a key is the text of a secret. `ring`, a dependency of TLS anyway, does
//! the signing.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::{
    hmac,
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Prefix of a secret's base64 in standardwebhooks.com's format.
const WEBHOOK_SECRET: &str = "whsec_";

/// A signature algorithm, by its name in the contract and in manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum Algorithm {
    HmacSha1,
    HmacSha256,
    HmacSha512,
    Ed25519,
    Es256,
    Rs256,
}

/// Reason that no signature was made. Neither text contains anything of the key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignError {
    /// The secret is not a key of the algorithm; the text says what one looks like.
    #[error("{0}")]
    Key(String),
    /// The key is valid but did not sign.
    #[error("{0}")]
    Other(String),
}

impl Algorithm {
    const ALL: [Self; 6] =
        [Self::HmacSha1, Self::HmacSha256, Self::HmacSha512, Self::Ed25519, Self::Es256, Self::Rs256];

    /// Name in the contract and in manifests.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha1 => "HMAC-SHA1",
            Self::HmacSha256 => "HMAC-SHA256",
            Self::HmacSha512 => "HMAC-SHA512",
            Self::Ed25519 => "Ed25519",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// Description of the form of its keys, for messages.
    fn key_form(self) -> &'static str {
        match self {
            Self::HmacSha1 | Self::HmacSha256 | Self::HmacSha512 => "any text",
            Self::Ed25519 => "a private key in PKCS#8 as PEM, or its seed as 64 hexadecimal digits",
            Self::Es256 => {
                "a private key of P-256 in PKCS#8 as PEM (of one that begins with BEGIN EC PRIVATE KEY, \
                 `openssl pkcs8 -topk8 -nocrypt` makes it)"
            }
            Self::Rs256 => "a private key of 2,048 to 4,096 bits in PKCS#8 or PKCS#1 as PEM",
        }
    }

    /// Checks that a secret's text can be a key of the algorithm.
    pub(crate) fn check(self, secret: &str) -> Result<(), SignError> {
        Key::new(self, secret).map(drop)
    }

    /// The signature of a message under a secret's text.
    pub(super) fn sign(self, secret: &str, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Key::new(self, secret)?.sign(message)
    }
}

/// A name that is no algorithm's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; there are {names}", names = Algorithm::ALL.map(Algorithm::as_str).join(", "))]
pub(crate) struct NoAlgorithm(String);

impl std::str::FromStr for Algorithm {
    type Err = NoAlgorithm;

    fn from_str(name: &str) -> Result<Self, NoAlgorithm> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name);
        found.ok_or_else(|| NoAlgorithm(super::text::one_line(name, 60)))
    }
}

impl From<Algorithm> for String {
    fn from(algorithm: Algorithm) -> Self {
        algorithm.as_str().to_owned()
    }
}

impl TryFrom<String> for Algorithm {
    type Error = NoAlgorithm;

    fn try_from(name: String) -> Result<Self, NoAlgorithm> {
        name.parse()
    }
}

/// A parsed key.
enum Key {
    Hmac(hmac::Key),
    Ed25519(Ed25519KeyPair),
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
}

impl Key {
    fn new(algorithm: Algorithm, secret: &str) -> Result<Self, SignError> {
        let hmac = |digest| Ok(Self::Hmac(hmac::Key::new(digest, &hmac_key(secret))));
        let wrong = || SignError::Key(format!("{} wants {}", algorithm.as_str(), algorithm.key_form()));
        let pem = || PrivateKeyDer::from_pem_slice(secret.trim().as_bytes()).map_err(|_| wrong());
        match algorithm {
            Algorithm::HmacSha1 => hmac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            Algorithm::HmacSha256 => hmac(hmac::HMAC_SHA256),
            Algorithm::HmacSha512 => hmac(hmac::HMAC_SHA512),
            Algorithm::Ed25519 => {
                let seed =
                    hex::decode(secret.trim()).ok().filter(|seed| seed.len() == 32).map(Zeroizing::new);
                let pair = match (seed, pem()) {
                    (Some(seed), _) => Ed25519KeyPair::from_seed_unchecked(&seed),
                    // OpenSSL writes no public key beside it.
                    (None, Ok(PrivateKeyDer::Pkcs8(der))) => {
                        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
                    }
                    _ => return Err(wrong()),
                };
                pair.map(Self::Ed25519).map_err(|_| wrong())
            }
            Algorithm::Es256 => {
                let PrivateKeyDer::Pkcs8(der) = pem()? else { return Err(wrong()) };
                let der = der.secret_pkcs8_der();
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &SystemRandom::new());
                pair.map(Self::Es256).map_err(|_| wrong())
            }
            Algorithm::Rs256 => {
                let pair: Result<RsaKeyPair, _> = match pem()? {
                    PrivateKeyDer::Pkcs8(der) => rsa::KeyPair::from_pkcs8(der.secret_pkcs8_der()),
                    PrivateKeyDer::Pkcs1(der) => rsa::KeyPair::from_der(der.secret_pkcs1_der()),
                    _ => return Err(wrong()),
                };
                pair.map(Self::Rs256).map_err(|_| wrong())
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let failed = |_| SignError::Other("the key did not sign".to_owned());
        match self {
            Self::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Self::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Self::Es256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).map_err(failed)?;
                Ok(signature.as_ref().to_vec())
            }
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

/// The key bytes of an HMAC: of `whsec_…` the decoded base64, as all verifiers of Standard Webhooks do, otherwise the
/// text itself.
fn hmac_key(secret: &str) -> Zeroizing<Vec<u8>> {
    let bytes = secret.strip_prefix(WEBHOOK_SECRET).and_then(|text| BASE64_STANDARD.decode(text).ok());
    Zeroizing::new(bytes.unwrap_or_else(|| secret.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests;
