//! Randomness for hooks. It is on the tape, so that a replay is given what the run was given.

use super::tape::{HostAnswer, HostCall, taped};
use crate::host::{
    bindings::services::kassa::plugin::random::{self, RandomError},
    limits::Limits,
    services::CallState,
};

/// Remaining random bytes of a call.
pub(in crate::host) struct Random {
    bytes_left: u32,
}

impl Random {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { bytes_left: limits.random_bytes }
    }

    fn bytes(&mut self, count: u32) -> Result<Vec<u8>, RandomError> {
        let left = self.bytes_left;
        let quota = || RandomError::Quota(format!("{left} random bytes are left of this call"));
        self.bytes_left = self.bytes_left.checked_sub(count).ok_or_else(quota)?;
        let mut bytes = vec![0; usize::try_from(count).map_err(|_| quota())?];
        getrandom::fill(&mut bytes).map_err(|error| RandomError::Other(error.to_string()))?;
        Ok(bytes)
    }
}

impl random::Host for CallState {
    fn get_bytes(&mut self, count: u32) -> wasmtime::Result<Result<Vec<u8>, RandomError>> {
        self.count()?;
        Ok(taped!(self, Random(count), self.services.random.bytes(count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_so_many_bytes_and_no_two_are_the_same() {
        let mut random = Random { bytes_left: 4096 };
        let (one, two) = (random.bytes(32).unwrap(), random.bytes(32).unwrap());
        assert!(one.len() == 32 && one != two);
        assert_eq!(random.bytes(0), Ok(Vec::new()));
        assert_eq!(
            random.bytes(4096),
            Err(RandomError::Quota("4032 random bytes are left of this call".to_owned()))
        );
        assert_eq!(random.bytes(4032).map(|bytes| bytes.len()), Ok(4032));
        assert!(matches!(random.bytes(1), Err(RandomError::Quota(_))));
    }
}
