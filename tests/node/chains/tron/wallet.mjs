// java-tron's HTTP API, as far as tronweb and the plugin use it: /wallet and, up to the solid block,
// /walletsolidity.
import { createHash } from "node:crypto";
import { utils } from "tronweb";

import { hex } from "../anvil/node.mjs";
import { BANDWIDTH_SUN_PER_GAS, ENERGY_SUN_PER_GAS, WEI_PER_SUN } from "./node.mjs";

/** What getblockbylimitnext gives at most. */
const BLOCKS_MAX = 100;
/** The most energy that one transaction may use here. */
const ENERGY_MAX = 10_000_000n;
/** What the EVM wants before it looks at a call; TRON has no such floor. Too little for any token. */
const GAS_FLOOR = 30_000n;

const evmAddress = (address) => `0x${address.replace(/^0x/, "").slice(-40)}`;
const bytes = (text) => Buffer.from(text).toString("hex");

/** Why a broadcast is refused: java-tron's code and message. */
class Refused extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export function wallet(node, chain) {
  const calldata = ({ function_selector: selector, parameter = "", data }) =>
    data ?? (selector ? utils.ethersUtils.keccak256(Buffer.from(selector)).slice(2, 10) : "") + parameter;

  async function makeTransaction(highest, type, value, options = {}) {
    const head = (await chain.at(highest)).block;
    const now = head.block_header.raw_data.timestamp ?? 0;
    const raw_data = {
      contract: [{ parameter: { value, type_url: `type.googleapis.com/protocol.${type}` }, type }],
      ref_block_bytes: head.blockID.slice(12, 16),
      ref_block_hash: head.blockID.slice(16, 32),
      expiration: now + 60_000,
      ...options,
      timestamp: now,
    };
    return seal(raw_data);
  }

  function seal(raw_data) {
    const pb = utils.transaction.txJsonToPb({ visible: false, raw_data });
    const txID = utils.transaction.txPbToTxID(pb).replace(/^0x/, "");
    return {
      visible: false,
      txID,
      raw_data,
      raw_data_hex: utils.transaction.txPbToRawDataHex(pb).toLowerCase(),
    };
  }

  /** Everything that java-tron checks about a transaction itself before it looks at the state. */
  async function check({ txID, raw_data, raw_data_hex, signature }) {
    const rawHex = utils.transaction.txPbToRawDataHex(
      utils.transaction.txJsonToPb({ visible: false, raw_data }),
    );
    if (rawHex.toLowerCase() !== raw_data_hex?.toLowerCase())
      throw new Refused("OTHER_ERROR", "raw_data_hex is not raw_data");
    const hash = createHash("sha256").update(Buffer.from(raw_data_hex, "hex")).digest("hex");
    if (hash !== txID) throw new Refused("OTHER_ERROR", "txID is not the hash of raw_data");
    const { owner_address: owner } = raw_data.contract[0].parameter.value;
    let signer;
    try {
      signer = utils.crypto.ecRecover(txID, signature[0]);
    } catch {
      throw new Refused("SIGERROR", "Validate signature error: no signature");
    }
    if (signer.toLowerCase() !== owner.toLowerCase()) {
      throw new Refused(
        "SIGERROR",
        `Validate signature error: ${signature[0]} is signed by ${signer} but it is not contained of permission.`,
      );
    }
    if (await chain.knows(txID)) throw new Refused("DUP_TRANSACTION_ERROR", "Dup transaction.");
    const head = await chain.head();
    const now = (await chain.at(head)).block.block_header.raw_data.timestamp ?? 0;
    if (raw_data.expiration <= now) throw new Refused("TRANSACTION_EXPIRATION_ERROR", "Transaction expired");
    // A transaction names a recent block, so that it cannot go into a fork that lacks it.
    const low = Number.parseInt(raw_data.ref_block_bytes, 16);
    const height = head - ((head - low) & 0xffff);
    const reference = height < 0 ? undefined : await chain.at(height);
    if (reference?.block.blockID.slice(16, 32) !== raw_data.ref_block_hash) {
      throw new Refused("TAPOS_ERROR", "Tapos check error");
    }
  }

  /** What anvil is to execute. */
  async function meaning({ type, parameter: { value } }, feeLimit) {
    const from = evmAddress(value.owner_address);
    const transfer = { from, gas: 21_000n, price: BANDWIDTH_SUN_PER_GAS, native: true };
    switch (type) {
      case "TransferContract": {
        const to = evmAddress(value.to_address);
        if (await node.isContract(to))
          throw new Refused(
            "CONTRACT_VALIDATE_ERROR",
            "Contract validate error : Cannot transfer TRX to a smartContract.",
          );
        return { ...transfer, to, value: BigInt(value.amount) };
      }
      // TRC-10 has no counterpart in an EVM: it takes its place in a block, and no asset moves.
      case "TransferAssetContract":
        return { ...transfer, to: evmAddress(value.to_address), value: 0n };
      case "TriggerSmartContract": {
        const gas = BigInt(feeLimit ?? 0) / ENERGY_SUN_PER_GAS;
        const limited = gas > ENERGY_MAX ? ENERGY_MAX : gas < GAS_FLOOR ? GAS_FLOOR : gas;
        const to = evmAddress(value.contract_address);
        if (!(await node.isContract(to)))
          throw new Refused(
            "CONTRACT_VALIDATE_ERROR",
            "Contract validate error : No contract or not a valid smart contract",
          );
        return {
          from,
          to,
          data: `0x${value.data ?? ""}`,
          value: BigInt(value.call_value ?? 0),
          gas: limited,
          price: ENERGY_SUN_PER_GAS,
        };
      }
      default:
        throw new Refused(
          "CONTRACT_VALIDATE_ERROR",
          `Contract validate error : ${type} is not served by this local chain`,
        );
    }
  }

  async function broadcast(transaction) {
    const { txID, raw_data, raw_data_hex, signature } = transaction;
    try {
      await check(transaction);
      const { native, ...call } = await meaning(raw_data.contract[0], raw_data.fee_limit);
      const evmHash = await node.send(call).catch((error) => {
        throw new Refused("CONTRACT_VALIDATE_ERROR", `Contract validate error : ${error.message}`);
      });
      chain.sent(
        evmHash,
        {
          signature: signature.map((one) => one.toLowerCase()),
          txID,
          raw_data: plain(raw_data),
          raw_data_hex,
        },
        native,
      );
      return { result: true, txid: txID };
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return { code: error.code, txid: txID, message: bytes(error.message) };
    }
  }

  async function constant(body, highest) {
    const value = {
      data: calldata(body),
      owner_address: body.owner_address,
      contract_address: body.contract_address,
    };
    const to = evmAddress(body.contract_address);
    if (!(await node.isContract(to))) {
      return { result: { code: "CONTRACT_VALIDATE_ERROR", message: bytes("Smart contract is not exist.") } };
    }
    const call = {
      from: evmAddress(body.owner_address),
      to,
      data: `0x${value.data}`,
      value: hex(BigInt(body.call_value ?? 0) * WEI_PER_SUN),
    };
    const transaction = await makeTransaction(highest, "TriggerSmartContract", value);
    try {
      const answer = await node.rpc("eth_call", call, hex(highest));
      return {
        result: { result: true },
        energy_used: 1000,
        constant_result: [answer.slice(2)],
        transaction: { ret: [{}], ...transaction },
      };
    } catch {
      const result = { result: true, message: bytes("REVERT opcode executed") };
      return {
        result,
        energy_used: 1000,
        constant_result: [""],
        transaction: { ret: [{ ret: "FAILED" }], ...transaction },
      };
    }
  }

  const trigger = async (body, highest) => {
    if (!(await node.isContract(evmAddress(body.contract_address ?? "")))) {
      return {
        result: {
          code: "CONTRACT_VALIDATE_ERROR",
          message: bytes("No contract or not a valid smart contract"),
        },
      };
    }
    const value = {
      data: calldata(body),
      owner_address: body.owner_address,
      contract_address: body.contract_address,
      ...(body.call_value && { call_value: body.call_value }),
    };
    const options = body.fee_limit ? { fee_limit: body.fee_limit } : {};
    return {
      result: { result: true },
      transaction: await makeTransaction(highest, "TriggerSmartContract", value, options),
    };
  };

  /** tronweb asks here for the id of a transaction that it has put a memo in. */
  const signWeight = async ({ raw_data }) => {
    const transaction = seal(raw_data);
    const result = { code: "NOT_ENOUGH_PERMISSION" };
    return { result, transaction: { result: { result: true }, txid: transaction.txID, transaction } };
  };

  const account = async ({ address = "" }, highest) => {
    const balance = await node.balance(evmAddress(address), highest);
    return balance > 0n ? { address, balance: Number(balance), create_time: 1_776_933_207_000 } : {};
  };

  const blockBy = async (wanted, highest) => {
    if (!wanted) return (await chain.at(highest)).block;
    const height = String(wanted).length === 64 ? Number.parseInt(wanted.slice(0, 16), 16) : Number(wanted);
    const found = height <= highest ? (await chain.at(height))?.block : undefined;
    return found && (String(wanted).length !== 64 || found.blockID === wanted) ? found : {};
  };

  // Each with the highest block that it may tell of.
  const reading = {
    getnowblock: async (_, highest) => (await chain.at(highest)).block,
    getblockbynum: async ({ num = 0 }, highest) =>
      (Number(num) <= highest && (await chain.at(Number(num)))?.block) || {},
    getblockbyid: async ({ value }, highest) => blockBy(value, highest),
    getblock: async ({ id_or_num, detail }, highest) => {
      const { transactions, ...header } = await blockBy(id_or_num, highest);
      return String(detail) === "true" && transactions ? { ...header, transactions } : header;
    },
    getblockbylimitnext: async ({ startNum = 0, endNum = 0 }, highest) => {
      const [start, end] = [Number(startNum), Math.min(Number(endNum), highest + 1)];
      const block = [];
      if (Number(endNum) - start > BLOCKS_MAX) return {};
      for (let height = start; height < end; height++) block.push((await chain.at(height)).block);
      return block.length > 0 ? { block } : {};
    },
    gettransactioninfobyblocknum: async ({ num = 0 }, highest) => {
      if (Number(num) <= 0) return {};
      return Number(num) <= highest ? ((await chain.at(Number(num)))?.infos ?? []) : [];
    },
    gettransactioninfobyid: async ({ value }, highest) => (await chain.find(value, highest))?.info ?? {},
    gettransactionbyid: async ({ value }, highest) => (await chain.find(value, highest))?.transaction ?? {},
    getaccount: account,
    triggerconstantcontract: constant,
  };
  const writing = {
    createtransaction: ({ owner_address, to_address, amount }, highest) =>
      makeTransaction(highest, "TransferContract", { amount, owner_address, to_address }),
    triggersmartcontract: trigger,
    getsignweight: signWeight,
    broadcasttransaction: broadcast,
  };

  /** The answer to a path by a backend that is so many blocks behind, or nothing if it is not served. */
  return async (path, body, behind) => {
    const [, part, name] = path.split("/");
    if (String(body.visible) === "true") return { Error: "visible=true is not served by this local chain" };
    const head = Math.max(0, (await chain.head()) - behind);
    if (part === "wallet" && Object.hasOwn(writing, name)) return writing[name](body, head);
    if (!Object.hasOwn(reading, name)) return undefined;
    if (part === "wallet") return reading[name](body, head);
    if (part === "walletsolidity") return reading[name](body, chain.solid(head));
    return undefined;
  };
}

/** A transaction's raw data as java-tron tells it again: fields that are zero or empty are absent. */
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(
    ([, field]) => field !== 0 && field !== "" && field !== undefined && field !== null,
  );
  return Object.fromEntries(kept.map(([name, field]) => [name, plain(field)]));
}
