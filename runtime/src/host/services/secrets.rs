//! What a merchant keeps secret from its own hook.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{
    Behalf,
    tape::{Answered, Asked, taped},
    text::one_line,
};
use crate::{
    domain::hook::Purpose,
    host::{
        bindings::services::kassa::plugin::secrets::{self, SecretError},
        services::CallState,
    },
};

/// What standardwebhooks.com writes before a secret's base64.
const WEBHOOK_SECRET: &str = "whsec_";

/// A secret of a merchant. Neither its `Debug` nor a guest ever shows it.
#[derive(Clone)]
pub(crate) struct Secret {
    pub(super) text: Zeroizing<String>,
    pub(super) purpose: Purpose,
}

impl Secret {
    pub(crate) fn new(text: &str, purpose: Purpose) -> Self {
        Self { text: Zeroizing::new(text.to_owned()), purpose }
    }

    /// The bytes that it signs with: of a `whsec_…` those that it stands for, as all verifiers of Standard
    /// Webhooks do, else the text's own.
    fn key(&self) -> Zeroizing<Vec<u8>> {
        let bytes = self.text.strip_prefix(WEBHOOK_SECRET).and_then(|text| BASE64_STANDARD.decode(text).ok());
        Zeroizing::new(bytes.unwrap_or_else(|| self.text.as_bytes().to_vec()))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key()) else { return Vec::new() };
        mac.update(message);
        mac.finalize().into_bytes().to_vec()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Secret({:?})", self.purpose)
    }
}

impl secrets::Host for CallState {
    fn hmac_sha256(
        &mut self,
        name: String,
        message: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, SecretError>> {
        self.count()?;
        Ok(taped!(self, Hmac(name.clone(), message.clone()), self.signed(&name, &message)))
    }
}

impl CallState {
    fn signed(&self, name: &str, message: &[u8]) -> Result<Vec<u8>, SecretError> {
        let Behalf::Merchant(of) = &self.services.subject.behalf else {
            return Err(SecretError::Unknown("chain plugins have no secrets".to_owned()));
        };
        let shown = || one_line(name, 60);
        let secret = of.secrets.get(name).ok_or_else(|| SecretError::Unknown(shown()))?;
        if secret.purpose != Purpose::Sign {
            return Err(SecretError::NotForSigning(shown()));
        }
        Ok(secret.sign(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_others() {
        // RFC 4231, test case 2.
        let secret = Secret::new("Jefe", Purpose::Sign);
        let mac = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex::encode(secret.sign(b"what do ya want for nothing?")), mac);
        // The same key as Standard Webhooks writes it.
        let secret = Secret::new("whsec_SmVmZQ==", Purpose::Sign);
        assert_eq!(hex::encode(secret.sign(b"what do ya want for nothing?")), mac);
        assert_eq!(format!("{secret:?}"), "Secret(Sign)");
    }
}
