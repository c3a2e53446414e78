//! Proof that an address is somebody's: `ton_proof` of TON Connect
//! (<https://docs.ton.org/ecosystem/ton-connect/message-signing>), with the wallet's state init.
//!
//! An address is the hash of the state that its account began with. That state holds the code, which has to be that of
//! a wallet known here, and the data, where this code keeps the public key; so nothing is asked on chain. What a wallet
//! has done since (v5 can hand itself to an extension) is not looked at.
//!
//! Wallets sign payloads of up to 128 bytes, and do not show them. So the payload may be the SHA-256 of the statement
//! in hexadecimal; and what a payer sees is the domain that asks. Whoever gets a wallet to connect to a domain of
//! theirs gets such a signature: the setting `ownership_domain` names the only one that is taken.

use crate::address::{Account, Hash, hex};
use crate::base64;
use crate::boc::Boc;
use crate::hashes::Hashes;
use crate::scan::is_testnet;
use crate::settings;
use crate::slice::Slice;
use ed25519_dalek::{Signature, VerifyingKey};
use kassa_sdk::ownership::OwnershipError;
use kassa_sdk::types::Network;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Maximum length of a state init, characters. It has the wallet's code, of some 700 bytes.
const STATE_INIT_CHARS_MAX: usize = 8_192;
const DOMAIN_BYTES_MAX: usize = 128;

/// Hash of the code of each known wallet, and the number of bits of its data before the public key.
const WALLETS: [(&str, usize); 5] = [
    // v3r1, v3r2: a counter and the wallet's number.
    ("b61041a58a7980b946e8fb9e198e3c904d24799ffa36574ea4251c41a566f581", 64),
    ("84dafa449f98a6987789ba232358072bc0f76dc4524002a5d0918b9a75d2d599", 64),
    // v4r1, v4r2: the same, and after the key the list of plugins.
    ("64dd54805522c5be8a9db59cea0105ccf0d08786ca79beb8cb79e880a8d7322d", 64),
    ("feb5ff6820e2ff0d9483e7e0d62c817d846789fb4ae580c878866d959dabd5c0", 64),
    // v5r1: a flag before these, which says whether signatures are allowed.
    ("20834b7b72b112147e1b2fb457b84e74d1a30f04f737d4f62a668e9552d2b72f", 65),
];

/// The proof as a wallet gives it, with the state init that comes beside it with the wallet's address.
#[derive(Deserialize)]
struct Proof {
    timestamp: Seconds,
    domain: Domain,
    payload: String,
    signature: String,
    #[serde(alias = "walletStateInit")]
    state_init: String,
}

/// Seconds since 1970. Wallets write them as a number or as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

#[derive(Deserialize)]
struct Domain {
    #[serde(rename = "lengthBytes", alias = "length_bytes")]
    length_bytes: u32,
    value: String,
}

pub(crate) fn verify(
    network: &Network,
    address: &str,
    statement: &str,
    proof: &str,
) -> Result<(), OwnershipError> {
    let account = Account::parse(address, is_testnet(network)).map_err(|_| malformed("the address"))?;
    let wanted = settings::ownership_domain(&network.settings)
        .map_err(|why| OwnershipError::Malformed(format!("the network's settings: {why}")))?;
    let proof: Proof = serde_json::from_str(proof).map_err(|_| {
        malformed(
            "a proof is the JSON of a ton_proof (timestamp, domain, payload, signature) with state_init",
        )
    })?;
    let payload = proof.payload.as_str();
    if payload != statement && payload != hex(&sha256(statement.as_bytes())) {
        return Err(OwnershipError::NotSigned);
    }
    if wanted.is_some_and(|wanted| wanted != proof.domain.value) {
        return Err(malformed("it was signed for another domain than the operator takes"));
    }
    let signed = signed(&account, &proof).ok_or_else(|| malformed("its domain or its timestamp"))?;
    let signature = base64::decode(&proof.signature)
        .and_then(|bytes| Signature::from_slice(&bytes).ok())
        .ok_or_else(|| malformed("its signature is not 64 bytes in base64"))?;
    let key = key_of(&account, &proof.state_init)?;
    // Strictly: a key of small order would take signatures that nobody made.
    let key = VerifyingKey::from_bytes(&key).map_err(|_| OwnershipError::NotSigned)?;
    key.verify_strict(&signed, &signature).map_err(|_| OwnershipError::NotSigned)
}

fn malformed(why: &str) -> OwnershipError {
    OwnershipError::Malformed(why.into())
}

fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// The hash that a wallet signs. `None` if the domain or the time is malformed.
fn signed(account: &Account, proof: &Proof) -> Option<Hash> {
    let Domain { length_bytes, value } = &proof.domain;
    let seconds = match &proof.timestamp {
        Seconds::Number(seconds) => *seconds,
        Seconds::Text(text) => text.parse().ok()?,
    };
    if value.len() > DOMAIN_BYTES_MAX || usize::try_from(*length_bytes) != Ok(value.len()) {
        return None;
    }
    let mut message = b"ton-proof-item-v2/".to_vec();
    message.extend(i32::from(account.workchain).to_be_bytes());
    message.extend(account.hash);
    message.extend(length_bytes.to_le_bytes());
    message.extend(value.as_bytes());
    message.extend(seconds.to_le_bytes());
    message.extend(proof.payload.as_bytes());
    let mut whole = vec![0xff, 0xff];
    whole.extend(b"ton-connect");
    whole.extend(sha256(&message));
    Some(sha256(&whole))
}

/// The public key of the wallet with this address.
fn key_of(account: &Account, state_init: &str) -> Result<Hash, OwnershipError> {
    if state_init.len() > STATE_INIT_CHARS_MAX {
        return Err(malformed("its state init is larger than that of any wallet"));
    }
    let bytes = base64::decode(state_init).ok_or_else(|| malformed("its state init is no base64"))?;
    let boc = Boc::parse(&bytes).map_err(|_| malformed("its state init is no bag of cells"))?;
    let hashes = Hashes::of(&boc).ok_or_else(|| malformed("its state init is no tree of cells"))?;
    if hashes.get(boc.root()) != Some(account.hash) {
        return Err(malformed("its state init is that of another address"));
    }
    wallet(&boc, &hashes).ok_or_else(|| {
        let why = "only wallets v3, v4 and v5r1 say in their state which key they belong to";
        OwnershipError::UnknownWallet(why.into())
    })
}

/// Reads the public key of a state init, which has to be neither split nor special, with code and data, without
/// libraries.
fn wallet(boc: &Boc<'_>, hashes: &Hashes) -> Option<Hash> {
    let mut state = Slice::root(boc)?;
    if state.bits_left() != 5 || state.refs_left() != 2 || state.uint(5)? != 0b00110 {
        return None;
    }
    let code = hex(&hashes.get(state.next_index()?)?);
    let (_, before_key) = WALLETS.iter().find(|(known, _)| *known == code)?;
    let mut data = state.next_ref()?;
    data.skip(*before_key)?;
    data.hash()
}

#[cfg(test)]
#[path = "tests/ownership.rs"]
mod tests;
