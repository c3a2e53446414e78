//! Proof that an address is somebody's: `personal_sign` (EIP-191, <https://eips.ethereum.org/EIPS/eip-191>), which
//! every wallet has.
//!
//! A contract has no key: only its code says whose signature it accepts (EIP-1271), which would have to be asked on
//! chain.

use crate::address::keccak;
use crate::hex::{self, Key};
use kassa_sdk::ownership::OwnershipError;
use kassa_sdk::recovery::recover;

pub(crate) fn verify(address: &str, statement: &str, proof: &str) -> Result<(), OwnershipError> {
    let owner: Key = hex::bytes(address)
        .ok_or_else(|| OwnershipError::Malformed("the address is not 0x and 40 hexadecimal digits".into()))?;
    let signature: [u8; 65] = hex::bytes(proof.trim()).ok_or_else(|| {
        let why = "a signature of personal_sign is 0x and 130 hexadecimal digits; those of contract wallets are longer, \
                   and are not taken";
        OwnershipError::Malformed(why.into())
    })?;
    let signed = format!("\x19Ethereum Signed Message:\n{}{statement}", statement.len());
    let signer = recover(&keccak(signed.as_bytes()), &signature).map(|point| keccak(&point));
    match signer.as_ref().and_then(|hash| hash.last_chunk::<20>()) {
        Some(signer) if *signer == owner => Ok(()),
        _ => Err(OwnershipError::NotSigned),
    }
}

#[cfg(test)]
#[path = "tests/ownership.rs"]
mod tests;
