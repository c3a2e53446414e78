// The EVM below the TRON façade: anvil, its JSON-RPC, and blocks that come when they are asked for.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** A transfer of coin costs a few hundred thousand sun of bandwidth on TRON: 21000 gas times this. */
export const BANDWIDTH_SUN_PER_GAS = 13n;
/** The price of energy, which is gas here. */
export const ENERGY_SUN_PER_GAS = 100n;
/** TRON's coin has 6 decimals, anvil's 18. */
export const WEI_PER_SUN = 10n ** 12n;
/** The elected witnesses; one after another makes a block. */
const WITNESSES = 27;

/** Starts anvil so that it ends with this process, even when this one is killed: its stdin closes then. */
async function start(program, chainId) {
  const flags = [
    "--port",
    "0",
    "--no-mining",
    "--order",
    "fifo",
    "--auto-impersonate",
    "--base-fee",
    "0",
    "--disable-min-priority-fee",
    "--accounts",
    "1",
    "--chain-id",
    String(chainId),
  ];
  const watcher = 'exec 3<&0; "$@" </dev/null & node=$!; read -r line <&3; kill -9 $node';
  const child = spawn("sh", ["-c", watcher, "sh", program, ...flags], { stdio: ["pipe", "pipe", "inherit"] });
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

export const hex = (value) => `0x${BigInt(value).toString(16)}`;

/** The witness whose turn it is; on another branch the turns fall to others, as in a real micro-fork. */
export function witness(height, branch) {
  const number = (height + branch) % WITNESSES;
  return `0x${(0xa0 + number).toString(16).repeat(20)}`;
}

export class Node {
  #url;
  #calls = 0;
  /** How many times the chain has been forked. */
  branch = 0;

  static async start(program, chainId) {
    const node = new Node();
    node.#url = await start(program, chainId);
    return node;
  }

  async rpc(method, ...params) {
    const call = { jsonrpc: "2.0", id: ++this.#calls, method, params };
    const headers = { "content-type": "application/json" };
    const answer = await fetch(this.#url, { method: "POST", headers, body: JSON.stringify(call) });
    const { result, error } = await answer.json();
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  async head() {
    return Number(await this.rpc("eth_blockNumber"));
  }

  /** Mines so many blocks, `seconds` apart. None is older than the clock: a slot that was not used is missed. */
  async mine(blocks, seconds) {
    const last = await this.rpc("eth_getBlockByNumber", "latest", false);
    let time = Number(last.timestamp);
    for (let height = Number(last.number) + 1; height <= Number(last.number) + blocks; height++) {
      time = Math.max(time + seconds, Math.floor(Date.now() / 1000));
      await this.rpc("anvil_setCoinbase", witness(height, this.branch));
      await this.rpc("evm_setNextBlockTimestamp", time);
      await this.rpc("evm_mine");
    }
  }

  /** Puts a transaction of any account into the pool: whether it was signed is for the façade to check. */
  async send({ from, to, value, data, gas, price }) {
    return this.rpc("eth_sendTransaction", {
      from,
      to,
      data,
      value: hex(value * WEI_PER_SUN),
      gas: hex(gas),
      gasPrice: hex(price * WEI_PER_SUN),
    });
  }

  async balance(address) {
    return BigInt(await this.rpc("eth_getBalance", address, "latest")) / WEI_PER_SUN;
  }

  async isContract(address) {
    return (await this.rpc("eth_getCode", address, "latest")) !== "0x";
  }
}
