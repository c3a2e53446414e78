//! Whose an address is: `signMessageV2` of tronweb (TIP-191), as TronLink and the others have it.
//!
//! The key that gave an account its address is asked for. An owner who has handed the account to other keys
//! (permissions) is not known by them, which only the chain tells.

use crate::address::{self, Key};
use kassa_sdk::ownership::OwnershipError;
use kassa_sdk::recovery::recover;
use sha3::{Digest, Keccak256};

pub(crate) fn verify(address: &str, statement: &str, proof: &str) -> Result<(), OwnershipError> {
    let owner = address::parse(address)
        .map_err(|_| OwnershipError::Malformed("the address is not T and 33 characters of base 58".into()))?;
    let proof = proof.trim();
    let mut signature = [0; 65];
    hex::decode_to_slice(proof.strip_prefix("0x").unwrap_or(proof), &mut signature).map_err(|_| {
        OwnershipError::Malformed("a signature of signMessageV2 is 0x and 130 hexadecimal digits".into())
    })?;
    let signed = format!("\x19TRON Signed Message:\n{}{statement}", statement.len());
    match recover(&keccak(signed.as_bytes()), &signature).and_then(signer) {
        Some(signer) if signer == owner => Ok(()),
        _ => Err(OwnershipError::NotSigned),
    }
}

fn signer(point: [u8; 64]) -> Option<Key> {
    keccak(&point).last_chunk().copied()
}

fn keccak(input: &[u8]) -> [u8; 32] {
    Keccak256::digest(input).into()
}

#[cfg(test)]
#[path = "tests/ownership.rs"]
mod tests;
