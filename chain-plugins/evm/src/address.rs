//! Addresses: 20 bytes, shown with the checksum of EIP-55 (<https://eips.ethereum.org/EIPS/eip-55>).

use crate::hex::{self, Key};
use kassa_sdk::bip32::child_point;
use kassa_sdk::chain::{Address, AddressError, DeriveError};
use sha3::{Digest, Keccak256};

/// Keccak-256, the hash of Ethereum (not SHA3-256, which pads differently).
pub(crate) fn keccak(input: &[u8]) -> [u8; 32] {
    Keccak256::digest(input).into()
}

/// Writes the EIP-55 form: a letter is upper-case where the hash of the lower-case digits has a nibble of 8 or more.
pub(crate) fn show(key: &Key) -> String {
    let plain = hex::text(key);
    let digits = plain.get(2..).unwrap_or_default();
    let hash = keccak(digits.as_bytes());
    let nibbles = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let mut out = String::with_capacity(42);
    out.push_str("0x");
    out.extend(digits.chars().zip(nibbles).map(
        |(digit, nibble)| {
            if nibble >= 8 { digit.to_ascii_uppercase() } else { digit }
        },
    ));
    out
}

pub(crate) fn normalize(text: &str) -> Result<Address, AddressError> {
    let text = text.trim();
    let key: Key = hex::bytes(text)
        .ok_or_else(|| AddressError::Malformed("an address is 0x and 40 hexadecimal digits".into()))?;
    let shown = show(&key);
    let digits = text.get(2..).unwrap_or_default();
    // One case throughout means that there is no checksum; mixed case is one, and it has to be right.
    let is_mixed = digits.bytes().any(|digit| digit.is_ascii_lowercase())
        && digits.bytes().any(|digit| digit.is_ascii_uppercase());
    if is_mixed && shown != text {
        return Err(AddressError::Checksum);
    }
    Ok(Address { text: shown, key: key.to_vec(), more: Vec::new() })
}

/// The `index`-th child of an extended public key: the last 20 bytes of the hash of its point.
pub(crate) fn derive(key: &str, index: u32) -> Result<Address, DeriveError> {
    let hash = keccak(&child_point(key, index)?);
    let key: Key = hash.last_chunk().copied().ok_or(DeriveError::NoChild)?;
    Ok(Address { text: show(&key), key: key.to_vec(), more: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    // The test cases of EIP-55.
    const VECTORS: [&str; 8] = [
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x27b1fdb04752bbc536007a920d24acb045561c26",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ];

    #[test]
    fn eip_55_vectors_in_every_writing() {
        for vector in VECTORS {
            let upper = format!("0x{}", vector[2..].to_uppercase());
            for writing in [vector.to_owned(), vector.to_lowercase(), upper, format!(" {vector}\n")] {
                let address = normalize(&writing).unwrap();
                assert_eq!(address.text, vector);
                assert_eq!(address.key.len(), 20);
            }
        }
    }

    #[test]
    fn a_mixture_of_cases_is_a_checksum() {
        let wrong = VECTORS[4].replace("aA", "Aa");
        assert!(matches!(normalize(&wrong), Err(AddressError::Checksum)));
    }

    #[test]
    fn what_is_no_address() {
        for wrong in ["", "0x", "0x52", "52908400098527886E0F7030069857D2E4169EE7", "vitalik.eth"] {
            assert!(matches!(normalize(wrong), Err(AddressError::Malformed(_))), "{wrong}");
        }
        let long = format!("{}00", VECTORS[0]);
        assert!(matches!(normalize(&long), Err(AddressError::Malformed(_))));
    }
}
