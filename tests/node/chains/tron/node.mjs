// The EVM below the TRON façade: its units, and who makes blocks.
import { hex, Node } from "../anvil/node.mjs";

/** A transfer of coin costs a few hundred thousand sun of bandwidth on TRON: 21000 gas times this. */
export const BANDWIDTH_SUN_PER_GAS = 13n;
/** The price of energy, which is gas here. */
export const ENERGY_SUN_PER_GAS = 100n;
/** TRON's coin has 6 decimals, anvil's 18. */
export const WEI_PER_SUN = 10n ** 12n;
/** The elected witnesses; one after another makes a block. */
const WITNESSES = 27;
/** TRON's distance between blocks. */
const SLOT_SECONDS = 3;

/** The witness whose turn it is; on another branch the turns fall to others, as in a real micro-fork. */
function witness(height, branch) {
  const number = (height + branch) % WITNESSES;
  return `0x${(0xa0 + number).toString(16).repeat(20)}`;
}

export class TronNode extends Node {
  static async start(chainId) {
    const flags = [
      "--auto-impersonate",
      "--base-fee",
      "0",
      "--disable-min-priority-fee",
      "--accounts",
      "1",
      "--chain-id",
      String(chainId),
    ];
    return super.start({ flags, spacing: SLOT_SECONDS, producer: witness });
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

  /** In sun, as it was after a block. */
  async balance(address, height = undefined) {
    const block = height === undefined ? "latest" : hex(height);
    return BigInt(await this.rpc("eth_getBalance", address, block)) / WEI_PER_SUN;
  }

  async isContract(address) {
    return (await this.rpc("eth_getCode", address, "latest")) !== "0x";
  }
}
