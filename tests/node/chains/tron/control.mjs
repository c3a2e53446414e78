// What the suite asks of the chain: blocks, accounts, tokens, payments by tronweb, forks. README.md lists the JSON.
import { createHash } from "node:crypto";
import { TronWeb, utils } from "tronweb";

import { BadRequest } from "../http.mjs";
import { hex, WEI_PER_SUN } from "./node.mjs";

/** 100 TRX: enough for every contract here. */
const FEE_LIMIT_SUN = 100_000_000;
/** A new named account holds a million TRX. */
const FUNDS_SUN = 10n ** 12n;
/** TRON's distance between blocks. */
const SLOT_SECONDS = 3;

const evmAddress = (text) => `0x${TronWeb.address.toHex(text).slice(2)}`;

export function controls({ node, chain, contracts, url, exclusive }) {
  const keys = new Map();
  /** What was given away by no transaction, to give it again when a fork takes it back: {height, address, sun}. */
  const funded = [];

  async function give(address, sun) {
    const balance = await node.balance(address);
    await node.rpc("anvil_setBalance", address, hex((balance + sun) * WEI_PER_SUN));
  }

  async function fund(text, sun) {
    const address = evmAddress(text);
    await give(address, sun);
    funded.push({ height: await chain.head(), address, sun });
  }

  /** The key of a named account, the same in every run. A new account is rich. */
  async function key(name) {
    if (typeof name !== "string" || name === "") throw new BadRequest("an account needs a name");
    if (!keys.has(name)) {
      const secret = createHash("sha256").update(`local chain account ${name}`).digest("hex");
      keys.set(name, secret);
      await fund(TronWeb.address.fromPrivateKey(secret), FUNDS_SUN);
    }
    return keys.get(name);
  }

  /** An address as TRON shows it, of a name or as it is. */
  async function address(text) {
    if (TronWeb.isAddress(text)) return TronWeb.address.fromHex(TronWeb.address.toHex(text));
    return TronWeb.address.fromPrivateKey(await key(text));
  }

  const client = async (name) => new TronWeb({ fullHost: url(), privateKey: await key(name) });

  async function mine(blocks, seconds = SLOT_SECONDS) {
    await node.mine(blocks, seconds);
    return state();
  }

  async function state() {
    const head = await chain.head();
    const { block } = await chain.at(head);
    return { head, solid: await chain.solid(), block_id: block.blockID };
  }

  /** Adds the memo, signs and broadcasts; mines as many blocks as `mine` says. */
  async function broadcast(tronweb, transaction, { memo, mine: blocks = 0 }) {
    const whole =
      memo === undefined
        ? transaction
        : await tronweb.transactionBuilder.addUpdateData(transaction, memo, "utf8");
    const answer = await tronweb.trx.sendRawTransaction(await tronweb.trx.sign(whole));
    if (!answer.result) throw new BadRequest(`${answer.code}: ${Buffer.from(answer.message ?? "", "hex")}`);
    if (blocks === 0) return { tx_id: answer.txid };
    await node.mine(blocks, SLOT_SECONDS);
    return { tx_id: answer.txid, ...(await where(answer.txid)) };
  }

  async function where(txID) {
    const found = await chain.find(txID, Infinity);
    if (!found) return { block_number: null, block_id: null };
    const { blockNumber } = found.info;
    const { block } = await chain.at(blockNumber);
    return {
      block_number: blockNumber,
      block_id: block.blockID,
      contract_ret: found.transaction.ret[0].contractRet,
    };
  }

  async function call(body) {
    const { from, contract, types = [], values = [], sun = 0, fee_limit = FEE_LIMIT_SUN } = body;
    const parameters = [];
    for (const [i, type] of types.entries()) {
      parameters.push({ type, value: type === "address" ? await address(values[i]) : values[i] });
    }
    const tronweb = await client(from);
    const options = { feeLimit: fee_limit, callValue: Number(sun) };
    const target = await address(contract);
    const { transaction } = await tronweb.transactionBuilder.triggerSmartContract(
      target,
      body.function,
      options,
      parameters,
    );
    return broadcast(tronweb, transaction, body);
  }

  const token = (body, name, values) =>
    call({
      ...body,
      contract: body.token,
      function: name,
      types: values.map((value) => (/^\d+$/.test(value) ? "uint256" : "address")),
      values,
    });

  /** Deploys beside TRON, for the address of a contract there comes from the transaction's id. */
  async function deploy({ contract, types = [], values = [] }) {
    const { code } = contracts()[contract] ?? {};
    if (!code) throw new BadRequest(`no contract ${contract}`);
    const data = `0x${code}${new utils.ethersUtils.AbiCoder().encode(types, values).slice(2)}`;
    const [from] = await node.rpc("eth_accounts");
    const hash = await node.rpc("eth_sendTransaction", { from, data, gas: hex(5_000_000), gasPrice: "0x0" });
    await node.mine(1, SLOT_SECONDS);
    const { contractAddress, status } = await node.rpc("eth_getTransactionReceipt", hash);
    if (status !== "0x1") throw new BadRequest(`${contract} was not deployed`);
    const hexAddress = `41${contractAddress.slice(2)}`;
    return { address: TronWeb.address.fromHex(hexAddress), hex: hexAddress, ...(await state()) };
  }

  /** Takes back the last blocks and mines as many others, and one more: the longer branch wins. */
  async function reorg({ depth, include = "none" }) {
    const head = await chain.head();
    if (!(depth >= 1 && depth < head)) throw new BadRequest(`depth ${depth}, head ${head}`);
    const ancestor = head - depth;
    const lost = [];
    for (let height = ancestor + 1; height <= head; height++) {
      const { transactions } = await node.rpc("eth_getBlockByNumber", hex(height), true);
      lost.push(transactions);
    }
    await exclusive(async () => {
      await node.rpc("anvil_dropAllTransactions");
      await node.rpc("anvil_rollback", depth);
      node.branch += 1;
      for (const one of funded.filter(({ height }) => height > ancestor)) {
        await give(one.address, one.sun);
        one.height = ancestor;
      }
      for (const there of lost) {
        if (include === "same") await again(there);
        await node.mine(1, SLOT_SECONDS);
      }
      if (include === "later") for (const there of lost) await again(there);
      await node.mine(1, SLOT_SECONDS);
    });
    return { ancestor, ...(await state()) };
  }

  /** Sends what anvil had mined once more. The hash is the old one: same sender, nonce and call. */
  async function again(transactions) {
    for (const { hash, from, to, value, input, gas, gasPrice, nonce } of transactions) {
      const sent = await node.rpc("eth_sendTransaction", {
        from,
        ...(to && { to }),
        value,
        data: input,
        gas,
        gasPrice,
        nonce,
      });
      chain.renamed(hash, sent);
    }
  }

  return {
    state,
    mine: ({ blocks = 1, seconds }) => mine(blocks, seconds),
    solid: ({ lag }) => {
      chain.solidLag = lag;
      return state();
    },
    account: async ({ name }) => {
      const shown = await address(name);
      return { address: shown, hex: TronWeb.address.toHex(shown), private_key: keys.get(name) };
    },
    fund: async ({ to, sun }) => {
      await fund(await address(to), BigInt(sun));
      return { balance: String(await node.balance(evmAddress(await address(to)))) };
    },
    deploy,
    mint: async (body) =>
      token({ from: "minter", ...body }, "mint(address,uint256)", [
        await address(body.to),
        String(body.units),
      ]),
    send: async (body) => {
      const tronweb = await client(body.from);
      return broadcast(
        tronweb,
        await tronweb.transactionBuilder.sendTrx(await address(body.to), Number(body.sun)),
        body,
      );
    },
    send_token: async (body) =>
      token(body, "transfer(address,uint256)", [await address(body.to), String(body.units)]),
    send_asset: async (body) => {
      const tronweb = await client(body.from);
      const { asset = "1000001", amount } = body;
      return broadcast(
        tronweb,
        await tronweb.transactionBuilder.sendToken(await address(body.to), Number(amount), asset),
        body,
      );
    },
    call,
    where: ({ tx_id }) => where(tx_id),
    reorg,
  };
}
