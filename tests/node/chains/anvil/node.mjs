// anvil, a real EVM: how it is started, its JSON-RPC, blocks that come when they are asked for, and forks.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { argument } from "../arguments.mjs";
import { BadRequest } from "../http.mjs";

// The platform's own package: the install script of the general one may be switched off.
const arch = process.arch === "arm64" ? "arm64" : "amd64";
const installed = `../../node_modules/@foundry-rs/anvil-${process.platform}-${arch}/bin/anvil`;
/** How old the first block is: runs of blocks fit in between, so that none is of the future. */
const GENESIS_AGE_SECONDS = 7200;

export const hex = (value) => `0x${BigInt(value).toString(16)}`;
const clock = () => Math.floor(Date.now() / 1000);

/** Starts anvil so that it ends with this process, even when this one is killed: its stdin closes then. */
async function start(flags) {
  const program = argument("anvil", join(import.meta.dirname, installed));
  const genesis = String(clock() - GENESIS_AGE_SECONDS);
  const all = ["--port", "0", "--no-mining", "--order", "fifo", "--timestamp", genesis, ...flags];
  const watcher = 'exec 3<&0; "$@" </dev/null & node=$!; read -r line <&3; kill -9 $node';
  const child = spawn("sh", ["-c", watcher, "sh", program, ...all], { stdio: ["pipe", "pipe", "inherit"] });
  child.on("exit", (code) => {
    console.error(`anvil ended with ${code}`);
    process.exit(1);
  });
  const lines = createInterface({ input: child.stdout });
  return new Promise((resolve) => {
    lines.on("line", (line) => {
      if (line.startsWith("Listening on ")) resolve(`http://${line.slice("Listening on ".length).trim()}`);
    });
  });
}

export class Node {
  #calls = 0;
  /** What was done by no transaction, to do it again when a fork takes it back: {height, work}. */
  #lasting = [];
  #spacing;
  #producer;
  /** How many times the chain has been forked. */
  #branch = 0;
  /** While a fork is being switched to, nobody should see the state between: a real node switches at once. */
  settled = Promise.resolve();

  /** `spacing`: seconds between two blocks. `producer(height, branch)`: who made a block; on another branch the
      turns fall to others, and so its blocks have other hashes. */
  static async start({ flags, spacing, producer }) {
    const node = new this();
    node.url = await start(flags);
    node.#spacing = spacing;
    node.#producer = producer;
    return node;
  }

  async rpc(method, ...params) {
    const call = { jsonrpc: "2.0", id: ++this.#calls, method, params };
    const headers = { "content-type": "application/json" };
    const answer = await fetch(this.url, { method: "POST", headers, body: JSON.stringify(call) });
    const { result, error } = await answer.json();
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  async head() {
    return Number(await this.rpc("eth_blockNumber"));
  }

  /** Mines blocks. They look as if they had come on time, the last of them now; many at once may have the same
      time. With `seconds` they come that far apart from now on, and so in the future. */
  async mine(blocks = 1, seconds = undefined) {
    const last = await this.rpc("eth_getBlockByNumber", "latest", false);
    const now = clock();
    let time = Number(last.timestamp);
    for (let i = 1; i <= blocks; i++) {
      const due = seconds === undefined ? now - (blocks - i) * this.#spacing : now;
      time = Math.max(time + (seconds ?? 0), due);
      await this.#block(Number(last.number) + i, time);
    }
  }

  async #block(height, time) {
    await this.rpc("anvil_setCoinbase", this.#producer(height, this.#branch));
    await this.rpc("evm_mine", time);
  }

  /** Does what no transaction does. */
  async lasting(work) {
    const height = await this.head();
    await work();
    this.#lasting.push({ height, work });
  }

  /** Takes back the last blocks and mines as many others, and one more: the longer branch wins. The transactions
      come again by `again(transaction)`: "none" of them, all at the "same" heights, or all "later", in the last
      block. What waited for a block is dropped. Answers the last common height. */
  async reorg({ depth, include = "none" }, again) {
    const head = await this.head();
    if (!(depth >= 1 && depth < head)) throw new BadRequest(`depth ${depth}, head ${head}`);
    if (!["none", "same", "later"].includes(include)) throw new BadRequest(`include ${include}`);
    const ancestor = head - depth;
    const lost = [];
    for (let height = ancestor + 1; height <= head; height++) {
      const { transactions } = await this.rpc("eth_getBlockByNumber", hex(height), true);
      for (const one of transactions) one.raw = await this.rpc("eth_getRawTransactionByHash", one.hash);
      lost.push(transactions);
    }
    const done = this.#switch(ancestor, depth, async (index) => {
      const there = include === "later" && index === depth ? lost.flat() : include === "same" ? lost[index] : [];
      for (const one of there ?? []) await again(one);
    });
    this.settled = done.catch(() => {});
    await done;
    return ancestor;
  }

  async #switch(ancestor, depth, fill) {
    await this.rpc("anvil_dropAllTransactions");
    await this.rpc("anvil_rollback", depth);
    this.#branch += 1;
    for (const one of this.#lasting.filter(({ height }) => height > ancestor)) {
      await one.work();
      one.height = ancestor;
    }
    for (let index = 0; index <= depth; index++) {
      await fill(index);
      await this.mine();
    }
  }

  /** Does these, each `{to, data}`, by an account of the node, in a block a second after the last: that leaves time
      for the blocks that follow. Answers their receipts. */
  async setUp(transactions) {
    const [from] = await this.rpc("eth_accounts");
    const common = { from, gas: hex(5_000_000), gasPrice: hex(10n ** 10n) };
    const hashes = [];
    for (const one of transactions) hashes.push(await this.rpc("eth_sendTransaction", { ...common, ...one }));
    const last = await this.rpc("eth_getBlockByNumber", "latest", false);
    await this.#block(Number(last.number) + 1, Number(last.timestamp) + 1);
    const receipts = [];
    for (const hash of hashes) receipts.push(await this.rpc("eth_getTransactionReceipt", hash));
    if (receipts.some((receipt) => receipt?.status !== "0x1")) throw new Error("the set-up failed");
    return receipts;
  }
}
