//! TON, from a toncenter v3 index (`https://toncenter.com/api/v3`).
//!
//! # What is read
//!
//! A block is a block of the masterchain: its height is its number, its hash the root hash. A transaction
//! counts with the masterchain block that made its shard's block final, so that every block here is final as
//! soon as it is there. One scan asks for
//!
//! 1. the blocks after the cursor, in one request (`/blocks`; `/masterchainInfo` where they are many),
//! 2. the jetton wallets of owners that are new (`/runGetMethod`, once for each owner and listed master),
//! 3. the states of all accounts, a hundred in one request (`/accountStates`),
//! 4. the transactions of those accounts that have moved, a hundred accounts in one request
//!    (`/transactions`),
//! 5. where payments are to be proven, each of their transactions in its cells (`/getTransactions`), 32 in a
//!    scan.
//!
//! While nobody pays the states alone are asked for, one request for each hundred accounts, and the blocks once a
//! minute (or whenever the host wants to know the head): if no account has moved, nothing in the blocks is of interest.
//! At a poll every two seconds that is 45,000 requests a day. An owner is one account for the native coin, and one more
//! for each listed jetton. Jetton wallets become known 64 a scan; until all are, the cursor waits.
//!
//! # What is a payment
//!
//! **Native coin**: a message from another account to the owner, unless it was sent back. `aborted` does not
//! matter: a wallet that does not exist yet cannot run its code and is paid all the same. Not payments are
//! bounced messages, excesses (`0xd53276db`) and transfer notifications (`0x7362d09c`, which anyone can
//! forge): what comes with those is left of fees. A call with any other operation that brings coins is
//! reported with an unreadable memo, for a person. A contract pays by messages as everybody does: nothing arrives
//! unseen, so there is no role `balances`.
//!
//! **From itself**: what an account sends to itself, coins or jettons, is not reported. It was there before, so
//! nothing arrived, and no invoice may be paid by it.
//!
//! **Jettons**: an `internal_transfer` to the owner's wallet of the listed master that the wallet's code took
//! without failing. The code has checked that it came from a wallet of the same master; forged ones fail.
//! Amount, sender and comment are read from the message's own cells. Neither notifications nor the index's
//! list of transfers prove a credit.
//!
//! # What is proven, and what is believed
//!
//! Proven: that no transaction of an account is left out between two scans. Each one names the one before it,
//! and the account's state names the last. If a link is missing the scan gives nothing and the cursor stays.
//! If the index lags in all its answers alike, a transaction that shows up late is still found, by the same
//! links, and is reported with the next block.
//!
//! Believed, without more, is what the upstream says of each transaction: the index gives no transaction in
//! its own cells, so hashes cannot be computed. Only bodies are checked against the hashes that come with them.
//!
//! With `proofs = "v2"` every payment is also fetched in its cells, from toncenter's API v2, before it is
//! reported. The hash of a transaction is that of its cells: so proven are the account, the logical time, the
//! link to the one before, and of the message its sender, receiver, value and body, whether it had bounced,
//! and how the transaction ended. What the index says otherwise is a malformed answer: the scan gives nothing
//! and the cursor stays. Cells that are not there yet, or that the host's budget or the upstream's rate does
//! not allow for, make the scan end before the first block that they are missing for.
//!
//! Believed is even then
//!
//! * what the index calls no payment: it can keep one back, by calling it bounced, aborted or the account's own.
//!   Whatever it does not list at all breaks a link;
//! * that the hash is that of a transaction on chain, and in which block it is. The links tie it to the
//!   account's last transaction, which is the index's word: who makes up both APIs could make up an account's
//!   past, and would have to keep to it from then on;
//! * where an owner's jetton wallet is (`/runGetMethod`);
//! * a body that the index does not have: its payment is reported without a memo, for a person.
//!
//! An operator who wants more runs an index of their own.
//!
//! With the setting, the upstream's URL is what stands before `/v3` and `/v2`: `https://toncenter.com/api`.
//! Each payment costs one request more. That is a second of delay for each at toncenter without a key, since
//! both APIs share the upstream's rate, and not every index has a v2 beside it: so it is off unless asked
//! for. Switch it on with a key (ten a second) or a server of one's own, as soon as the sums received are
//! worth more than the index's good name; and wherever v3 and v2 are not of the same origin.
//!
//! # What cannot be seen
//!
//! What was final before an address became watched; a payment in a jetton that is not listed; and jettons of
//! an owner on the masterchain, for which common masters have no wallets. Very many addresses are better
//! served by one address with comments: each watched address costs a hundredth of a request in every scan
//! that sees a new block.
//!
//! # Finding a transaction
//!
//! By its hash, by that of any other transaction of the same trace (the payer's, whose wallet sent it), or by that of
//! the message which began it (`/traces`, an API v3 of 2024 or later).
//!
//! # Settings
//!
//! All are optional.
//!
//! | key | default | meaning |
//! |---|---|---|
//! | `max_blocks_per_call` | 500 | blocks that one scan reads |
//! | `max_accounts_per_request` | 100 | accounts in one request |
//! | `max_transactions_per_request` | 500 | transactions in one answer, of some 4 kB each |
//! | `proofs` | `"none"` | `"v2"`: each payment is proven by its cells; the upstream's URL is another then |
//! | `ownership_domain` | any | the only domain that may have asked a wallet for a proof of ownership (`pay.example.com`) |
//!
//! # Addresses
//!
//! Taken raw and in both user-friendly forms. Shown without the bounce flag (`UQ…`, on testnets `0Q…`), as a
//! wallet that is not deployed yet has to be paid. The key is the workchain (one byte) and the hash.
//!
//! # Ownership
//!
//! By the `ton_proof` of TON Connect with the wallet's state init, of wallets v3, v4 and v5r1. Its payload is the
//! statement, or the statement's SHA-256 in hexadecimal, which fits what wallets take. Wallets do not show it, they
//! show the domain: without `ownership_domain` a page that gets somebody to connect a wallet has such a proof.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)
)]

mod accounts;
mod address;
mod api;
mod base64;
mod blocks;
mod boc;
mod body;
mod claim;
mod find;
mod hashes;
mod history;
mod host;
mod link;
mod ownership;
mod payment;
mod proof;
mod scan;
mod settings;
mod slice;
mod store;
#[cfg(any(test, fuzzing))]
mod tests;
mod transaction;
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
kassa_sdk::export_chain!(Ton);
kassa_sdk::export_finder!(Ton);
kassa_sdk::export_ownership!(Ton);

struct Ton;

impl Chain for Ton {
    fn describe(_network: Network) -> Result<Description, DescribeError> {
        Ok(Description {
            kind: "ton".into(),
            memo: MemoSupport::Usual,
            derives_addresses: false,
            // Wallets may take the fee of a message from what it carries.
            exact_native_amounts: false,
            more: Vec::new(),
        })
    }

    fn normalize_address(network: Network, address: String) -> Result<Address, AddressError> {
        address::normalize(&address, scan::is_testnet(&network))
    }

    /// Always `Unsupported`: an address is the hash of a contract's code and data, which a public key alone does not
    /// determine.
    fn derive_address(_network: Network, _key: String, _index: u32) -> Result<Address, DeriveError> {
        Err(DeriveError::Unsupported)
    }

    fn payment_link(network: Network, request: PaymentRequest) -> Result<Link, LinkError> {
        link::payment_link(&network, &request)
    }

    fn scan(network: Network, cursor: Option<Position>, limits: ScanLimits) -> Result<ScanResult, ScanError> {
        scan::scan(&host::Real, &network, cursor.as_ref(), &limits)
    }
}

impl Finder for Ton {
    fn find(network: Network, tx: String) -> Result<Vec<Place>, FindError> {
        find::find(&host::Real, &network, &tx)
    }
}

impl Ownership for Ton {
    fn verify(
        network: Network,
        address: String,
        statement: String,
        proof: String,
    ) -> Result<(), OwnershipError> {
        ownership::verify(&network, &address, &statement, &proof)
    }
}
