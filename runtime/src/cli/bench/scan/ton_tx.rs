//! Transactions as toncenter v3 reports them: payments to owners and to their jetton wallets, and others that are no
//! payments.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Payment, cells::Cell, noise::Noise};

/// Operations of messages (TEP-74).
const TRANSFER: u32 = 0x0f8a_7ea5;
const INTERNAL_TRANSFER: u32 = 0x178d_4519;
const TRANSFER_NOTIFICATION: u32 = 0x7362_d09c;
const EXCESSES: u32 = 0xd532_76db;
/// Indices of the assets in the network's manifest.
const NATIVE_INDEX: u32 = 0;
const JETTON_INDEX: u32 = 1;

/// An account and its last transaction.
pub(super) struct Account {
    pub(super) key: [u8; 32],
    /// Index of its owner among the watched addresses.
    pub(super) shop: usize,
    /// The owner's key, of a jetton wallet.
    pub(super) owner: Option<[u8; 32]>,
    pub(super) last_lt: u64,
    pub(super) last_hash: String,
}

impl Account {
    /// The account's state as the index reports it.
    pub(super) fn state(&self, noise: &mut Noise) -> Value {
        let interface = if self.owner.is_some() { "jetton_wallet" } else { "wallet_v5r1" };
        json!({
            "address": raw(&self.key), "account_state_hash": noise.base64(),
            "balance": noise.below(1_000_000_000_000).to_string(), "extra_currencies": {}, "status": "active",
            "last_transaction_hash": self.last_hash, "last_transaction_lt": self.last_lt.to_string(),
            "data_hash": noise.base64(), "code_hash": noise.base64(), "contract_methods": null,
            "interfaces": [interface],
        })
    }
}

/// The address of a basechain account as the index writes it.
pub(super) fn raw(key: &[u8; 32]) -> String {
    format!("0:{}", hex::encode_upper(key))
}

pub(super) struct Tx {
    pub(super) account: String,
    pub(super) lt: u64,
    pub(super) json: Value,
}

/// An incoming message of an account.
struct Incoming {
    body: Cell,
    opcode: Option<u32>,
    /// Value in nano; `None` for a message from outside the chain.
    value: Option<u64>,
    out: Vec<Value>,
    paid: Option<(u128, Option<String>)>,
}

impl Tx {
    /// Makes the `nth` transaction of the block, on this account, and its payment if it is one.
    pub(super) fn new(
        account: &mut Account,
        nth: usize,
        lt: u64,
        height: u64,
        noise: &mut Noise,
    ) -> (Self, Option<Payment>) {
        let came = match account.owner {
            None => native(&account.key, nth, noise),
            Some(owner) => jetton(&account.key, &owner, nth, noise),
        };
        let hash: [u8; 32] = noise.bytes();
        let source = came.value.map(|_| raw(&noise.bytes()));
        let name = raw(&account.key);
        let message = message(source.as_deref(), &name, &came.body, came.opcode, came.value, noise);
        let state = |noise: &mut Noise| {
            json!({
                "hash": noise.base64(), "balance": noise.below(1_000_000_000_000).to_string(),
                "extra_currencies": {}, "account_status": "active", "frozen_hash": null,
                "data_hash": noise.base64(), "code_hash": noise.base64(),
            })
        };
        let json = json!({
            "account": name, "hash": STANDARD.encode(hash), "lt": lt.to_string(), "now": 1_785_330_568,
            "mc_block_seqno": height, "trace_id": noise.base64(), "prev_trans_hash": account.last_hash,
            "prev_trans_lt": account.last_lt.to_string(), "orig_status": "active", "end_status": "active",
            "total_fees": noise.below(1_000_000).to_string(), "total_fees_extra_currencies": {},
            "description": description(came.value, came.out.len(), noise),
            "block_ref": { "workchain": 0, "shard": "2000000000000000", "seqno": height + 5_000_000 },
            "in_msg": message, "out_msgs": came.out, "account_state_before": state(noise),
            "account_state_after": state(noise), "emulated": false, "finality": "finalized",
        });
        (account.last_lt, account.last_hash) = (lt, STANDARD.encode(hash));
        let asset = if account.owner.is_some() { JETTON_INDEX } else { NATIVE_INDEX };
        let payment = came.paid.map(|(amount, memo)| Payment {
            tx: hex::encode(hash),
            ordinal: 0,
            asset,
            shop: account.shop,
            amount,
            memo,
            height,
        });
        (Self { account: name, lt, json }, payment)
    }
}

fn comment(text: &str) -> Cell {
    Cell::default().uint(0, 32).bytes(text.as_bytes())
}

fn operation(op: u32) -> Cell {
    Cell::default().uint(u128::from(op), 32).uint(7, 64)
}

/// A message to a wallet of the native coin: of ten, seven with a comment, one without, and two that are no payments.
fn native(key: &[u8; 32], nth: usize, noise: &mut Noise) -> Incoming {
    let value = 1_000_000_000 + noise.below(1_000_000_000_000);
    let text = format!("Order {nth}");
    let paid = |memo| Some((u128::from(value), memo));
    let (body, opcode, paid) = match nth % 10 {
        0..7 => (comment(&text), Some(0), paid(Some(text))),
        7 => (Cell::default(), None, paid(None)),
        8 => (operation(EXCESSES), Some(EXCESSES), None),
        // The owner pays somebody else.
        _ => {
            let order = Cell::default().bytes(&noise.bytes::<64>()).bytes(&noise.bytes::<20>());
            let to = raw(&noise.bytes());
            let out = message(Some(&raw(key)), &to, &comment("Refund"), Some(0), Some(value), noise);
            return Incoming {
                body: order,
                opcode: Some(0x1234_5678),
                value: None,
                out: vec![out],
                paid: None,
            };
        }
    };
    Incoming { body, opcode, value: Some(value), out: Vec::new(), paid }
}

/// A message to a jetton wallet: of ten, eight credits with a comment, one without, and one that its owner sends.
fn jetton(key: &[u8; 32], owner: &[u8; 32], nth: usize, noise: &mut Noise) -> Incoming {
    let amount = u128::from(1_000_000 + noise.below(10_000_000_000));
    let (payer, payers_wallet): ([u8; 32], [u8; 32]) = (noise.bytes(), noise.bytes());
    let text = format!("Order {nth}");
    let value = 30_000_000 + noise.below(10_000_000);
    let from_wallet = |to: &[u8; 32], body: &Cell, op, noise: &mut Noise| {
        message(Some(&raw(key)), &raw(to), body, Some(op), Some(1 + noise.below(20_000_000)), noise)
    };
    if nth % 10 == 9 {
        let body =
            operation(TRANSFER).coins(amount).address(&payer).address(owner).uint(0, 1).coins(1).uint(0, 1);
        let sent =
            operation(INTERNAL_TRANSFER).coins(amount).address(owner).address(owner).coins(1).uint(0, 1);
        let out = vec![from_wallet(&payers_wallet, &sent, INTERNAL_TRANSFER, noise)];
        return Incoming { body, opcode: Some(TRANSFER), value: Some(value), out, paid: None };
    }
    let head = operation(INTERNAL_TRANSFER).coins(amount).address(&payer).address(&payer).coins(1);
    // Wallets put the comment into a cell of its own, or in place.
    let (body, memo) = match nth % 10 {
        8 => (head.uint(0, 1), None),
        even if even % 2 == 0 => (head.uint(1, 1).reference(comment(&text)), Some(text.clone())),
        _ => (head.uint(0, 1).uint(0, 32).bytes(text.as_bytes()), Some(text.clone())),
    };
    let told =
        operation(TRANSFER_NOTIFICATION).coins(amount).address(&payer).uint(1, 1).reference(comment(&text));
    let out = vec![
        from_wallet(owner, &told, TRANSFER_NOTIFICATION, noise),
        from_wallet(&payer, &operation(EXCESSES), EXCESSES, noise),
    ];
    Incoming { body, opcode: Some(INTERNAL_TRANSFER), value: Some(value), out, paid: Some((amount, memo)) }
}

fn message(
    source: Option<&str>,
    destination: &str,
    body: &Cell,
    opcode: Option<u32>,
    value: Option<u64>,
    noise: &mut Noise,
) -> Value {
    let (is_internal, fee) = (value.is_some(), noise.below(500_000).to_string());
    let inside = |value: Value| if is_internal { value } else { Value::Null };
    let decoded = match opcode {
        Some(0) => json!({ "@type": "text_comment", "comment": "Order", "type": "text_comment" }),
        _ => Value::Null,
    };
    json!({
        "hash": noise.base64(), "source": source, "destination": destination,
        "value": value.map(|value| value.to_string()), "value_extra_currencies": inside(json!({})),
        "fwd_fee": inside(json!(fee)), "ihr_fee": inside(json!("0")), "extra_flags": inside(json!("0")),
        "created_lt": inside(json!(noise.below(58_765_432_000_000).to_string())),
        "created_at": inside(json!("1785330568")), "opcode": opcode.map(|opcode| format!("0x{opcode:08x}")),
        "decoded_opcode": null, "ihr_disabled": inside(json!(true)), "bounce": inside(json!(false)),
        "bounced": inside(json!(false)), "import_fee": if is_internal { Value::Null } else { json!("0") },
        "message_content": { "hash": body.hash_base64(), "body": body.base64(), "decoded": decoded },
        "init_state": null,
    })
}

fn description(value: Option<u64>, messages: usize, noise: &mut Noise) -> Value {
    let mut description = json!({
        "type": "ord", "aborted": false, "destroyed": false, "credit_first": value.is_none(),
        "storage_ph": { "storage_fees_collected": noise.below(500).to_string(), "status_change": "unchanged" },
        "compute_ph": {
            "skipped": false, "success": true, "msg_state_used": false, "account_activated": false,
            "gas_fees": "123600", "gas_used": "309", "gas_limit": "1000000", "mode": 0, "exit_code": 0,
            "vm_steps": 5, "vm_init_state_hash": noise.base64(), "vm_final_state_hash": noise.base64(),
        },
        "action": {
            "success": true, "valid": true, "no_funds": false, "status_change": "unchanged", "result_code": 0,
            "tot_actions": messages, "spec_actions": 0, "skipped_actions": 0, "msgs_created": messages,
            "action_list_hash": noise.base64(), "tot_msg_size": { "cells": "1", "bits": "705" },
        },
    });
    if let Some(value) = value {
        description["credit_ph"] = json!({ "credit": value.to_string() });
    }
    description
}
