//! Secrets that a merchant keeps from its own hook.

use zeroize::Zeroizing;

use super::{
    Behalf,
    signing::{Algorithm, NoAlgorithm, SignError},
    tape::{HostAnswer, HostCall, taped},
    text::one_line,
};
use crate::{
    domain::hook::Purpose,
    host::{
        bindings::services::kassa::plugin::secrets::{self, SecretError},
        services::CallState,
    },
};

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
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Secret({:?})", self.purpose)
    }
}

impl secrets::Host for CallState {
    fn sign(
        &mut self,
        name: String,
        algorithm: String,
        message: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, SecretError>> {
        self.count()?;
        let asked = (name.clone(), algorithm.clone(), message.clone());
        Ok(taped!(self, Sign(asked.0, asked.1, asked.2), self.signed(&name, &algorithm, &message)))
    }
}

impl CallState {
    fn signed(&self, name: &str, algorithm: &str, message: &[u8]) -> Result<Vec<u8>, SecretError> {
        let Behalf::Merchant(of) = &self.services.subject.behalf else {
            return Err(SecretError::Unknown("chain plugins have no secrets".to_owned()));
        };
        let algorithm: Algorithm = algorithm
            .parse()
            .map_err(|unknown: NoAlgorithm| SecretError::UnknownAlgorithm(unknown.to_string()))?;
        let shown = one_line(name, 60);
        let secret = of.secrets.get(name).ok_or_else(|| SecretError::Unknown(shown.clone()))?;
        if secret.purpose != Purpose::Sign {
            return Err(SecretError::NotForSigning(shown));
        }
        algorithm.sign(&secret.text, message).map_err(|error| match error {
            SignError::Key(why) => SecretError::BadKey(format!("the secret {shown}: {why}")),
            SignError::Other(why) => SecretError::Other(format!("the secret {shown}: {why}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        assert_eq!(format!("{:?}", Secret::new("Jefe", Purpose::Sign)), "Secret(Sign)");
    }
}
