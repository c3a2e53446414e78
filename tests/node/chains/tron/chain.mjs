// The chain as java-tron tells it: blocks, transactions and what became of them, made from anvil's blocks and
// from the signed TRON transactions that went into them.
import { createHash } from "node:crypto";

import { hex } from "../anvil/node.mjs";
import { BANDWIDTH_SUN_PER_GAS, ENERGY_SUN_PER_GAS, WEI_PER_SUN } from "./node.mjs";

const bare = (text) => text.replace(/^0x/, "");
const sha256 = (...parts) => createHash("sha256").update(parts.join("|")).digest("hex");
/** What java-tron writes for a block's version since 4.8. */
const BLOCK_VERSION = 34;
/** The word that mainnet's USDT returns from a transfer that succeeded. */
const FALSE = "0".repeat(64);

export class Chain {
  #node;
  #chainId;
  /** By anvil's hash: {transaction, native}. Stays when a fork takes a transaction back: it may come again. */
  #sent = new Map();
  /** Blocks by anvil's hash, which names all that is in them. */
  #blocks = new Map();
  /** How far the solid block is below the head: 19 of 27 witnesses have built on it. */
  finality = 18;
  /** How many blocks the backend that is behind does not know. */
  lag = 3;

  constructor(node, chainId) {
    this.#node = node;
    this.#chainId = chainId;
  }

  async head() {
    return this.#node.head();
  }

  /** The solid block that belongs to a head. */
  solid(head) {
    return Math.max(0, head - this.finality);
  }

  /** Remembers which TRON transaction anvil's is. */
  sent(evmHash, transaction, native) {
    this.#sent.set(evmHash, { transaction, native });
  }

  /** The same transaction under another of anvil's hashes. */
  renamed(before, after) {
    if (before === after || !this.#sent.has(before)) return;
    this.#sent.set(after, this.#sent.get(before));
    this.#sent.delete(before);
  }

  /** Whether a transaction is in a block or waits for one. */
  async knows(txID) {
    for (const [evmHash, { transaction }] of this.#sent) {
      if (transaction.txID === txID)
        return (await this.#node.rpc("eth_getTransactionByHash", evmHash)) !== null;
    }
    return false;
  }

  /** As TRON: the number in 8 bytes, then 24 of the hash. The first one ends in the chain id, for java-tron
      takes it from there. */
  blockId(height, hash) {
    const number = height.toString(16).padStart(16, "0");
    if (height === 0) return number + bare(hash).slice(8, 48) + this.#chainId.toString(16).padStart(8, "0");
    return number + bare(hash).slice(16);
  }

  /** {block, infos} of a height, or nothing when there is no such block. */
  async at(height) {
    const block = await this.#node.rpc("eth_getBlockByNumber", hex(height), false);
    if (block === null) return undefined;
    if (!this.#blocks.has(block.hash)) this.#blocks.set(block.hash, await this.#build(height, block));
    return this.#blocks.get(block.hash);
  }

  /** {transaction, info} by id, in blocks up to a height. */
  async find(txID, highest) {
    for (const [evmHash, { transaction }] of this.#sent) {
      if (transaction.txID !== txID) continue;
      const receipt = await this.#node.rpc("eth_getTransactionReceipt", evmHash);
      if (receipt === null || Number(receipt.blockNumber) > highest) return undefined;
      const { block, infos } = await this.at(Number(receipt.blockNumber));
      const info = infos.find(({ id }) => id === txID);
      return info && { transaction: block.transactions.find((other) => other.txID === txID), info };
    }
    return undefined;
  }

  async #build(height, evm) {
    const timestamp = Number(evm.timestamp) * 1000;
    const transactions = [];
    const infos = [];
    for (const hash of evm.transactions) {
      const sent = this.#sent.get(hash);
      // What the suite set up behind TRON's back, such as a deployment.
      if (!sent) continue;
      const info = await this.#info(hash, sent, height, timestamp);
      const contractRet = info.receipt.result ?? "SUCCESS";
      transactions.push({ ret: [{ contractRet }], ...sent.transaction });
      infos.push(info);
    }
    const id = this.blockId(height, evm.hash);
    // As protobuf's JSON in java-tron, fields that are zero are absent: the first block has no number.
    const raw = {
      ...(height > 0 && { number: height }),
      txTrieRoot: transactions.length > 0 ? bare(evm.transactionsRoot) : FALSE,
      witness_address: `41${bare(evm.miner)}`,
      parentHash: height > 0 ? await this.#parentId(height, evm) : FALSE,
      ...(height > 0 && { version: BLOCK_VERSION, timestamp }),
    };
    const signature = sha256(id, "r") + sha256(id, "s") + "00";
    const header = { raw_data: raw, ...(height > 0 && { witness_signature: signature }) };
    const block = { blockID: id, block_header: header, ...(transactions.length > 0 && { transactions }) };
    return { block, infos };
  }

  async #parentId(height, evm) {
    return this.blockId(height - 1, evm.parentHash);
  }

  async #info(evmHash, { transaction, native }, height, timestamp) {
    const receipt = await this.#node.rpc("eth_getTransactionReceipt", evmHash);
    const gas = BigInt(receipt.gasUsed);
    const base = { id: transaction.txID, blockNumber: height, blockTimeStamp: timestamp };
    if (native) {
      const fee = Number(gas * BANDWIDTH_SUN_PER_GAS);
      return order({ ...base, fee, contractResult: [""], receipt: { net_fee: fee } });
    }
    const trace = await this.#node.rpc("debug_traceTransaction", evmHash, { tracer: "callTracer" });
    const failed = receipt.status !== "0x1";
    const fee = Number(gas * ENERGY_SUN_PER_GAS);
    const spent = failed && gas === BigInt((await this.#node.rpc("eth_getTransactionByHash", evmHash)).gas);
    const why = spent ? "OUT_OF_ENERGY" : "REVERT";
    const { contract_address } = transaction.raw_data.contract[0].parameter.value;
    const log = receipt.logs.map(({ address, topics, data }) => ({
      address: bare(address),
      topics: topics.map(bare),
      ...(data !== "0x" && { data: bare(data) }),
    }));
    const inner = internal(transaction.txID, trace, failed);
    return order({
      ...base,
      fee,
      contractResult: [failed ? bare(trace.output ?? "") : FALSE],
      contract_address,
      receipt: {
        energy_fee: fee,
        energy_usage_total: Number(gas),
        net_usage: 345,
        result: failed ? why : "SUCCESS",
      },
      ...(log.length > 0 && { log }),
      ...(failed && { result: "FAILED" }),
      ...(failed && {
        resMessage: Buffer.from(spent ? "Not enough energy" : "REVERT opcode executed").toString("hex"),
      }),
      ...(inner.length > 0 && { internal_transactions: inner }),
    });
  }
}

/** java-tron writes the fields in the order of the message. */
function order({ id, fee, blockNumber, blockTimeStamp, ...rest }) {
  return { id, fee, blockNumber, blockTimeStamp, ...rest };
}

/** Calls inside a call: here coin moves that no log tells of. What failed takes back all that is inside. */
function internal(txID, call, failed, found = []) {
  for (const inner of call.calls ?? []) {
    const rejected = failed || inner.error !== undefined;
    const value = Number(BigInt(inner.value ?? "0x0") / WEI_PER_SUN);
    found.push({
      hash: sha256(txID, found.length),
      caller_address: `41${bare(inner.from)}`,
      transferTo_address: `41${bare(inner.to)}`,
      callValueInfo: [value > 0 ? { callValue: value } : {}],
      note: Buffer.from(inner.type.toLowerCase()).toString("hex"),
      ...(rejected && { rejected: true }),
    });
    internal(txID, inner, rejected, found);
  }
  return found;
}
