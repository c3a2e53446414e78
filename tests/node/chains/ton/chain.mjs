// The TVM of @ton/sandbox, and what it has not: masterchain blocks, which block a transaction is in, an index
// that trails behind the state, and blocks that are taken back.
import { createHash } from "node:crypto";
import { Address, beginCell, external, storeMessage } from "@ton/core";
import { Blockchain } from "@ton/sandbox";

import { BadRequest } from "../http.mjs";
import { tellState, tellTransaction } from "./shapes.mjs";

/** Masterchain and shardchain count their blocks apart. */
const SHARD_SEQNO_AHEAD = 5_000_000;
/** The first masterchain block here: a real chain's index seldom begins with block 1. */
export const FIRST_SEQNO = 1_000_000;
/** Blocks that are there from the start, as any chain has a past, and how far they are apart. */
const PAST_BLOCKS = 2_000;
const PAST_SECONDS = 1;
/** How many of the last blocks can be taken back. */
const SNAPSHOTS_MAX = 64;

const hash = (...parts) => createHash("sha256").update(parts.join("|")).digest("base64");

export class Chain {
  blocks = [];
  /** Transactions in the order in which they happened, each {told, raw, block}; block is set when it is mined. */
  transactions = [];
  /** How many masterchain blocks the index that is behind trails, and its transactions its blocks. */
  lag = { blocks: 3, transactions: 0 };
  #clock = 0;
  #branch = 0;
  #unmined = { externals: [], first: 0 };
  #changed = true;

  /** `globalId`: what all its blocks say, -239 on the mainnet. */
  static async create(globalId) {
    const chain = new Chain();
    chain.globalId = globalId;
    chain.sandbox = await Blockchain.create();
    chain.#clock = -PAST_BLOCKS * PAST_SECONDS;
    chain.mine(PAST_BLOCKS, PAST_SECONDS);
    return chain;
  }

  /** Seconds since 1970; never goes back, and control calls may have put it ahead. */
  now() {
    const last = this.blocks.at(-1)?.gen_utime ?? 0;
    return Math.max(last, Math.floor(Date.now() / 1000) + this.#clock);
  }

  /** The last block that an index knows which is behind by so many. */
  indexed({ blocks }) {
    return this.blocks[Math.max(0, this.blocks.length - 1 - blocks)];
  }

  /** The last block whose transactions it knows. */
  known({ blocks, transactions }) {
    return this.indexed({ blocks: blocks + transactions });
  }

  /** The transactions that it knows. */
  visible(lag) {
    const { seqno } = this.known(lag);
    return this.transactions.filter((one) => one.block && one.block.seqno <= seqno);
  }

  /** Sends a message from outside to a contract and all that follows from it. Answers the transactions.
      With `spread`, each of them gets a masterchain block of its own, as when shards talk to each other. */
  async send({ to, init, body }, { spread = false } = {}) {
    return this.accept(
      beginCell()
        .store(storeMessage(external({ to, init, body })))
        .endCell(),
      spread,
    );
  }

  /** The same with the message as it came. One that its account does not accept leaves no trace. */
  async accept(message, spread = false) {
    const found = await this.#run(message, spread);
    this.#unmined.externals.push(message);
    return found;
  }

  async #run(message, spread = false) {
    this.sandbox.now = this.now();
    const found = [];
    const before = new Map();
    this.#changed = true;
    for await (const raw of await this.sandbox.sendMessageIter(message)) {
      const address = addressOf(raw);
      const key = address.toRawString();
      const { account } = await this.sandbox.getContract(address);
      const after = tellState(account);
      const old = before.get(key) ?? this.#lastState(key);
      before.set(key, after);
      const told = tellTransaction(raw, address, old, after);
      const data = account.account?.storage.state.state?.data;
      const entry = { told, raw, data, account: told.account, lt: raw.lt, block: undefined };
      this.transactions.push(entry);
      found.push(entry);
      if (spread) this.mine(1);
    }
    return found;
  }

  #lastState(raw) {
    const last = this.transactions.findLast(({ account }) => account === raw.toUpperCase());
    return last?.told.account_state_after;
  }

  /** Makes masterchain blocks; the first takes in what has happened since the last. */
  mine(blocks, seconds = 0) {
    for (let i = 0; i < blocks; i++) {
      this.#clock += seconds;
      const inside = this.transactions.slice(this.#unmined.first);
      const previous = this.blocks.at(-1);
      this.sandbox.increaseLt();
      const end = this.sandbox.lt;
      const seqno = (previous?.seqno ?? FIRST_SEQNO - 1) + 1;
      const block = {
        seqno,
        shardSeqno: seqno + SHARD_SEQNO_AHEAD,
        rootHash: hash(previous?.rootHash, seqno, this.#branch, ...inside.map(({ told }) => told.hash)),
        gen_utime: this.now(),
        // Disjoint and without a gap: from the end of the last one to a time after all that is inside.
        start_lt: previous?.end_lt ?? 0n,
        end_lt: end,
        count: inside.length,
        externals: this.#unmined.externals,
      };
      block.fileHash = hash(block.rootHash, "file");
      for (const entry of inside) entry.block = block;
      this.blocks.push(block);
      this.#unmined = { externals: [], first: this.transactions.length };
      block.after = { snapshot: this.#snapshot(previous), transactions: this.transactions.length };
      if (this.blocks.length > SNAPSHOTS_MAX)
        delete this.blocks[this.blocks.length - 1 - SNAPSHOTS_MAX].after;
    }
    return this.blocks.at(-1);
  }

  /** The state as it is. It is a copy of everything: an empty block takes the one before it. */
  #snapshot(previous) {
    const same = !this.#changed && previous?.after?.snapshot;
    this.#changed = false;
    return same ? { ...same, lt: this.sandbox.lt } : this.sandbox.snapshot();
  }

  /** The state was changed by no transaction. */
  touched() {
    this.#changed = true;
  }

  /** Takes back the last blocks and all that was not yet mined; other blocks come in their place, and one more.
      `include`: "none" of the transactions happen again, or all of those blocks "later", in the last one. */
  async reorg(depth, include) {
    const ancestor = this.blocks.at(-1 - depth);
    if (!(depth >= 1) || !ancestor?.after) throw new BadRequest(`cannot take back ${depth} blocks`);
    if (!["none", "later"].includes(include)) throw new BadRequest(`include ${include}`);
    const lost = this.blocks.slice(-depth).flatMap(({ externals }) => externals);
    await this.sandbox.loadFrom(ancestor.after.snapshot);
    this.blocks.length -= depth;
    this.transactions.length = ancestor.after.transactions;
    this.#unmined = { externals: [], first: this.transactions.length };
    this.#branch += 1;
    this.mine(depth);
    if (include === "later") {
      for (const message of lost) {
        this.#unmined.externals.push(message);
        await this.#run(message);
      }
    }
    this.mine(1);
    return ancestor;
  }

  async isActive(address) {
    return (await this.sandbox.getContract(address)).accountState?.type === "active";
  }

  /** Runs a get method on the state as it is now, whatever the index knows. */
  async get(address, method, stack) {
    this.sandbox.now = this.now();
    return this.sandbox.runGetMethod(address, method, stack);
  }
}

export const addressOf = (raw) =>
  new Address(0, Buffer.from(raw.address.toString(16).padStart(64, "0"), "hex"));
