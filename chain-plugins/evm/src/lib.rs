//! Every EVM network: one component, and a manifest for each network.
//!
//! # What is read
//!
//! Tokens by `eth_getLogs` for the `Transfer` event of the listed contracts; the native coin, if it is listed, by the
//! transactions of full blocks. Where a provider serves no `eth_getLogs`, tokens are read from all receipts of each
//! block (`eth_getBlockReceipts`), which is many times the bytes. Every transfer that is reported was confirmed by the
//! receipt of its transaction, in the block that was read. All of it is JSON-RPC over HTTP, in batches.
//!
//! Not reported is what an account sends to itself, coin or tokens: it was there before, so nothing arrived. The
//! logs of a failed transaction, which some chains have, are no payments either.
//!
//! # What cannot be seen
//!
//! **Internal transfers of the native coin**: a contract that forwards the coin (some wallets of the
//! smart-account kind, some exchanges, most splitters) leaves neither a log nor a transaction to the
//! recipient. Only tracing shows them, which public providers do not offer. Where `traces` is `none` the host
//! compares the balances of addresses that payments are waited for on, at final blocks (`eth_getBalance`), and
//! lists what no transaction explains for a person. For that a provider has to keep the state of the final
//! block; those that prune do for 128 blocks or more, which some networks' final block is not within. Tokens
//! are not affected: their transfers are logs, whoever causes them.
//!
//! # Finding a transaction
//!
//! Its receipt says in which block it is. A node that keeps receipts of the newest blocks alone (geth does, of about
//! a year) says of older ones that there are none.
//!
//! # Settings
//!
//! All are optional.
//!
//! | key | default | meaning |
//! |---|---|---|
//! | `finality_depth` | none | depth below the head at which blocks count as final, if the node does not know the tag `finalized`; without it nothing is final there |
//! | `max_blocks_per_call` | 8; 25 if the native coin is not listed | blocks that one step reads; each HTTP answer has to fit into the host's limit |
//! | `max_log_range` | `max_blocks_per_call` | blocks that one `eth_getLogs` covers; smaller caps are also learned from the provider's errors |
//! | `max_batch` | 100 | calls in one JSON-RPC batch; smaller caps are learned too |
//! | `traces` | `none` | `debug` or `parity`: native coin that contracts send is read from `debug_traceBlockByHash` (Geth's) or `trace_block` (Parity's) |
//!
//! # Addresses
//!
//! Shown by EIP-55; their key is the 20 bytes. `derive-address` takes the child with the given index of an
//! extended public key (`xpub` or `tpub`) by BIP-32: hand it the key at change level, `m/44'/60'/0'/0`.
//!
//! # Ownership
//!
//! By the signature of `personal_sign` (EIP-191). Contract wallets (EIP-1271) have none that could be checked without
//! asking the chain: their addresses cannot be proven.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod address;
mod balances;
mod bloom;
mod cross_check;
mod fault;
mod find;
mod hex;
mod host;
mod learned;
mod link;
mod logs;
mod ownership;
mod receipts;
mod rpc;
mod scan;
mod settings;
mod step;
#[cfg(any(test, fuzzing))]
mod tests;
mod traces;
mod wire;

#[cfg(fuzzing)]
pub use tests::fuzzing;

use kassa_sdk::balances::{BalanceError, Balances, Point};
use kassa_sdk::chain::{
    Address, AddressError, Chain, DeriveError, DescribeError, Description, Link, LinkError, MemoSupport,
    PaymentRequest, ScanError, ScanLimits, ScanResult,
};
use kassa_sdk::finder::{FindError, Finder, Place};
use kassa_sdk::ownership::{Ownership, OwnershipError};
use kassa_sdk::types::{Amount, Network, Position};

kassa_sdk::manifest!("plugin.toml");
kassa_sdk::export_chain!(Evm);
kassa_sdk::export_finder!(Evm);
kassa_sdk::export_ownership!(Evm);
kassa_sdk::export_balances!(Evm);

struct Evm;

impl Chain for Evm {
    fn describe(_network: Network) -> Result<Description, DescribeError> {
        Ok(Description {
            kind: "evm".into(),
            memo: MemoSupport::No,
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

    fn payment_link(network: Network, request: PaymentRequest) -> Result<Link, LinkError> {
        link::payment_link(&network, &request)
    }

    fn scan(network: Network, cursor: Option<Position>, limits: ScanLimits) -> Result<ScanResult, ScanError> {
        scan::scan(&host::Real, &network, cursor.as_ref(), &limits)
    }
}

impl Finder for Evm {
    fn find(network: Network, tx: String) -> Result<Vec<Place>, FindError> {
        find::find(&host::Real, &network, &tx)
    }
}

impl Balances for Evm {
    fn needed(network: Network) -> Result<bool, BalanceError> {
        balances::needed(&network)
    }

    fn read(network: Network, points: Vec<Point>) -> Result<Vec<Amount>, BalanceError> {
        balances::read(&host::Real, &network, &points)
    }
}

impl Ownership for Evm {
    fn verify(
        _network: Network,
        address: String,
        statement: String,
        proof: String,
    ) -> Result<(), OwnershipError> {
        ownership::verify(&address, &statement, &proof)
    }
}
