// The standard jetton: its code as the public package ships it, its messages, and which accounts are its wallets.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beginCell, Cell, contractAddress, Dictionary } from "@ton/core";

import { base64, rawAddress } from "./shapes.mjs";

const OP_TRANSFER = 0x0f8a7ea5;
const OP_INTERNAL_TRANSFER = 0x178d4519;
const OP_NOTIFICATION = 0x7362d09c;
const OP_MINT = 21;

const code = JSON.parse(readFileSync(join(import.meta.dirname, "jetton-code.json"), "utf8"));
const minterCode = Cell.fromBase64(code.minter.boc);
const walletCode = Cell.fromBase64(code.wallet.boc);
const WALLET_CODE_HASH = base64(walletCode.hash());

/** Metadata on chain, as TEP-64 wants it. Anyone may write anything there. */
function content(fields) {
  const dictionary = Dictionary.empty(Dictionary.Keys.Buffer(32), Dictionary.Values.Cell());
  for (const [name, value] of Object.entries(fields)) {
    const key = createHash("sha256").update(name).digest();
    dictionary.set(key, beginCell().storeUint(0, 8).storeStringTail(String(value)).endCell());
  }
  return beginCell().storeUint(0, 8).storeDict(dictionary).endCell();
}

/** The master that an admin would deploy with these fields: {address, init}. */
export function master(admin, fields) {
  const data = beginCell()
    .storeCoins(0)
    .storeAddress(admin)
    .storeRef(content(fields))
    .storeRef(walletCode)
    .endCell();
  const init = { code: minterCode, data };
  return { address: contractAddress(0, init), init };
}

/** Where an owner's jettons of a master lie. */
export function walletAddress(owner, jetton) {
  const data = beginCell()
    .storeCoins(0)
    .storeAddress(owner)
    .storeAddress(jetton)
    .storeRef(walletCode)
    .endCell();
  return contractAddress(0, { code: walletCode, data });
}

/** What an account with a jetton wallet's code says of itself, if its master would agree. */
export function walletData(entry) {
  if (entry.told.account_state_after.code_hash !== WALLET_CODE_HASH) return undefined;
  const slice = entry.data.beginParse();
  const [balance, owner, jetton] = [slice.loadCoins(), slice.loadAddress(), slice.loadAddress()];
  if (rawAddress(walletAddress(owner, jetton)) !== entry.account) return undefined;
  return {
    address: entry.account,
    balance: String(balance),
    owner: rawAddress(owner),
    jetton: rawAddress(jetton),
  };
}

export const comment = (text) => beginCell().storeUint(0, 32).storeStringTail(text).endCell();

/** `forward_payload` in each of the ways that wallets write it, and one that none should. */
function storePayload(builder, payload, how) {
  switch (how) {
    case "none":
      return builder.storeBit(false);
    case "inline":
      return builder.storeBit(false).storeSlice(payload.beginParse());
    case "ref":
      return builder.storeBit(true).storeRef(payload);
    // Says that a reference follows, and has none.
    case "malformed":
      return builder.storeBit(true);
    default:
      throw new Error(`no payload ${how}`);
  }
}

export function transferBody({ queryId, units, to, response, forward, payload, how }) {
  const builder = beginCell()
    .storeUint(OP_TRANSFER, 32)
    .storeUint(queryId, 64)
    .storeCoins(units)
    .storeAddress(to)
    .storeAddress(response)
    .storeMaybeRef(null)
    .storeCoins(forward);
  return storePayload(builder, payload, how).endCell();
}

/** From a wallet to its sibling; from anyone else it is a forgery. */
export function internalTransferBody({ units, from, forward = 0n, payload, how = "none" }) {
  const builder = beginCell()
    .storeUint(OP_INTERNAL_TRANSFER, 32)
    .storeUint(0, 64)
    .storeCoins(units)
    .storeAddress(from)
    .storeAddress(from)
    .storeCoins(forward);
  return storePayload(builder, payload, how).endCell();
}

export function notificationBody({ units, from, payload, how }) {
  const builder = beginCell()
    .storeUint(OP_NOTIFICATION, 32)
    .storeUint(0, 64)
    .storeCoins(units)
    .storeAddress(from);
  return storePayload(builder, payload, how).endCell();
}

export function mintBody({ to, units, value, master: from }) {
  return beginCell()
    .storeUint(OP_MINT, 32)
    .storeUint(0, 64)
    .storeAddress(to)
    .storeCoins(value)
    .storeRef(internalTransferBody({ units, from }))
    .endCell();
}
