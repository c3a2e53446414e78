//! TRON: one component for the main network and its test networks, and a manifest for each.
//!
//! # What is read
//!
//! Every block (`/wallet/getblockbynum`) and, where code ran in it, the infos of its transactions
//! (`/wallet/gettransactioninfobyblocknum`). From these:
//!
//! | what | ordinal |
//! |---|---|
//! | the native coin that a transaction itself carries: `TransferContract`, or the call value of `TriggerSmartContract` | 0 |
//! | `Transfer` events of the listed TRC-20 contracts | 1 and the log's index in the transaction |
//! | the native coin that a contract sends on (internal transactions) | 2^31 and its index among them |
//!
//! The memo is `raw_data.data` of the transaction; it goes with tokens too. TRC-10 tokens, which carry
//! whatever name they like, are passed over. Final is the solid block (`/walletsolidity/getnowblock`).
//!
//! The upstream is the URL under which both `/wallet` and `/walletsolidity` lie: TronGrid's, or a proxy
//! before a node of one's own, since java-tron serves the two on two ports. The node must not be a lite
//! one, which closes the queries for blocks.
//!
//! What an account sends to itself, coin or tokens, is not reported: it was there before, so nothing arrived.
//!
//! # What cannot be seen
//!
//! **Internal transactions** are kept by java-tron only with `vm.saveInternalTx`, which TronGrid has and a node of
//! one's own lacks by default; without it such payments are found by a person alone. (Such a node says nothing of
//! balances at past blocks either, so there is no role `balances`.) Tokens are not affected. **Rewards and stakes**
//! that come free go to their owner; they are no payments.
//!
//! # What is proven and what is believed
//!
//! Proven, for each transfer that is reported: the SHA-256 of the transaction's `raw_data_hex` is its id,
//! and payer, recipient and amount of the coin that it carries and the memo are read from it as well and
//! compared with the JSON.
//!
//! Checked: blocks name each other as parents, carry their number in their id and come with their
//! transactions; the infos are of the very transactions of the block, all of them, and agree with it on
//! which failed. Of a transaction that pays a watched address, a block that does not say how it ended is no
//! answer.
//!
//! Believed: that the block is the chain's and lists all its transactions, and what the infos say of logs
//! and internal transactions. Against a node that lies in these, only a second one helps.
//!
//! # Settings
//!
//! All are optional. The chain id is the reference of the CAIP-2 id (`tron:0x2b6653dc`): the last four
//! bytes of the id of the genesis block.
//!
//! | key | default | meaning |
//! |---|---|---|
//! | `blocks_at_once` | 4 | blocks that one step reads, 1 to 50; they and their infos have to fit into memory together |
//!
//! # Addresses
//!
//! Shown in base 58 (`T…`); the hexadecimal form (`41…`, with or without `0x`) is taken too. Their key is
//! the 20 bytes behind the prefix. The networks share their addresses: nothing tells one of a test network
//! from one of the main network. `derive-address` takes the child with the given index of an extended
//! public key (`xpub` or `tpub`) by BIP-32: hand it the key at change level, `m/44'/195'/0'/0`.
//!
//! # Ownership
//!
//! By the signature of `signMessageV2` of tronweb (TIP-191) with the key that gave the account its address. Accounts
//! whose permissions name other keys are proven by the first one alone.
//!
//! # Links
//!
//! There is no accepted form of payment link: the QR code is the bare address.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod address;
mod api;
mod find;
mod host;
mod memo;
mod moves;
mod ownership;
mod proof;
mod scan;
mod settings;
mod step;
#[cfg(any(test, fuzzing))]
mod tests;
mod top;
mod wire;

#[cfg(fuzzing)]
pub use tests::fuzzing;

use kassa_sdk::chain::{
    Address, AddressError, Chain, DeriveError, DescribeError, Description, Link, LinkError, MemoSupport,
    PaymentRequest, ScanError, ScanLimits, ScanResult,
};
use kassa_sdk::finder::{FindError, Finder, Place};
use kassa_sdk::ownership::{Ownership, OwnershipError};
use kassa_sdk::types::{Network, Position};

kassa_sdk::manifest!("plugin.toml");
kassa_sdk::export_chain!(Tron);
kassa_sdk::export_finder!(Tron);
kassa_sdk::export_ownership!(Tron);

struct Tron;

impl Chain for Tron {
    fn describe(_network: Network) -> Result<Description, DescribeError> {
        Ok(Description {
            kind: "tron".into(),
            memo: MemoSupport::Optional,
            derives_addresses: true,
            exact_native_amounts: true,
            more: Vec::new(),
        })
    }

    fn normalize_address(_network: Network, address: String) -> Result<Address, AddressError> {
        address::normalize(&address)
    }

    fn derive_address(_network: Network, key: String, index: u32) -> Result<Address, DeriveError> {
        address::derive(&key, index)
    }

    fn payment_link(_network: Network, request: PaymentRequest) -> Result<Link, LinkError> {
        // Wallets agree on no form of link.
        Ok(Link { uri: None, qr: request.recipient, more: Vec::new() })
    }

    fn scan(network: Network, cursor: Option<Position>, limits: ScanLimits) -> Result<ScanResult, ScanError> {
        scan::scan(&host::Real, &network, cursor.as_ref(), &limits)
    }
}

impl Finder for Tron {
    fn find(network: Network, tx: String) -> Result<Vec<Place>, FindError> {
        find::find(&host::Real, &network, &tx)
    }
}

impl Ownership for Tron {
    fn verify(
        _network: Network,
        address: String,
        statement: String,
        proof: String,
    ) -> Result<(), OwnershipError> {
        ownership::verify(&address, &statement, &proof)
    }
}
