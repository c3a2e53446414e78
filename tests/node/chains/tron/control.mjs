// What the suite asks of TRON: accounts, payments and tokens by tronweb, and on these the common control calls.
// README.md lists the JSON.
import { createHash } from "node:crypto";
import { TronWeb } from "tronweb";

import { common } from "../anvil/common.mjs";
import { deploy, typesOf } from "../anvil/contracts.mjs";
import { hex } from "../anvil/node.mjs";
import { BadRequest } from "../http.mjs";
import { WEI_PER_SUN } from "./node.mjs";

/** 100 TRX: enough for every contract here. */
const FEE_LIMIT_SUN = 100_000_000;
/** What a transfer of tokens may burn at most, for each of them: 10 TRX. */
const FEE_EACH_SUN = 10_000_000;
/** Too little energy for any token. */
const FEE_SHORT_SUN = 1000;
/** A new named account holds a million TRX, the payer a thousand times as much. */
const FUNDS_SUN = 10n ** 12n;
const PAYER_SUN = 10n ** 15n;
const TRC10 = "1000001";

const evmAddress = (text) => `0x${TronWeb.address.toHex(text).slice(2)}`;
const shown = (address) => TronWeb.address.fromHex(`41${address.replace(/^0x/, "")}`);

export function controls({ node, chain, url }) {
  const keys = new Map();
  let newest = 0;

  function fund(text, sun) {
    const address = evmAddress(text);
    return node.lasting(async () => {
      const balance = await node.balance(address);
      await node.rpc("anvil_setBalance", address, hex((balance + sun) * WEI_PER_SUN));
    });
  }

  /** The key of a name, the same in every run. */
  const secretOf = (name) => createHash("sha256").update(`local chain account ${name}`).digest("hex");

  /** The key of a named account. A new account is rich. */
  async function key(name) {
    if (typeof name !== "string" || name === "") throw new BadRequest("an account needs a name");
    if (!keys.has(name)) {
      keys.set(name, secretOf(name));
      await fund(TronWeb.address.fromPrivateKey(keys.get(name)), name === "payer" ? PAYER_SUN : FUNDS_SUN);
    }
    return keys.get(name);
  }

  /** An address as TRON shows it, of a name or as it is. */
  async function address(text) {
    if (TronWeb.isAddress(text)) return TronWeb.address.fromHex(TronWeb.address.toHex(text));
    return TronWeb.address.fromPrivateKey(await key(text));
  }

  const client = async (name) => new TronWeb({ fullHost: url(), privateKey: await key(name) });

  async function state(behind = 0) {
    const head = Math.max(0, (await chain.head()) - behind);
    const { block } = await chain.at(head);
    return { head, final: chain.solid(head), hash: block.blockID };
  }

  /** Makes the transaction one of its own, for tronweb gives two equal ones the same time and so the same id; adds
      the memo. */
  async function finish(tronweb, transaction, memo) {
    newest = Math.max(newest + 1, transaction.raw_data.timestamp);
    const own = { ...transaction, raw_data: { ...transaction.raw_data, timestamp: newest } };
    return !memo
      ? tronweb.transactionBuilder.newTxID(own, { txLocal: true })
      : tronweb.transactionBuilder.addUpdateData(own, memo, "utf8");
  }

  /** Signs and broadcasts; mines as many blocks as `mine` says. */
  async function broadcast(tronweb, transaction, { memo, mine: blocks = 0 }) {
    const whole = await finish(tronweb, transaction, memo);
    const answer = await tronweb.trx.sendRawTransaction(await tronweb.trx.sign(whole));
    if (!answer.result) throw new BadRequest(`${answer.code}: ${Buffer.from(answer.message ?? "", "hex")}`);
    if (blocks === 0) return { tx: answer.txid };
    await node.mine(blocks);
    return { tx: answer.txid, ...(await where(answer.txid)) };
  }

  async function where(txID) {
    const found = await chain.find(txID, Infinity);
    if (!found) return { height: null, hash: null, contract_ret: null };
    const height = found.info.blockNumber;
    const { block } = await chain.at(height);
    return { height, hash: block.blockID, contract_ret: found.transaction.ret[0].contractRet };
  }

  async function call(body) {
    const { from, contract, values = [], sun = 0, fee_limit = FEE_LIMIT_SUN } = body;
    const parameters = [];
    for (const [i, type] of typesOf(body.function).entries())
      parameters.push({ type, value: type === "address" ? await address(values[i]) : values[i] });
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

  async function send(body) {
    const tronweb = await client(body.from);
    const to = await address(body.to);
    return broadcast(tronweb, await tronweb.transactionBuilder.sendTrx(to, Number(body.sun)), body);
  }

  async function sendAsset(body) {
    const tronweb = await client(body.from);
    const { asset = TRC10, amount } = body;
    const to = await address(body.to);
    return broadcast(tronweb, await tronweb.transactionBuilder.sendToken(to, Number(amount), asset), body);
  }

  const token = (body, name, values) =>
    call({ ...body, contract: body.token, function: name, values });

  /** Deploys beside TRON, for the address of a contract there comes from the transaction's id. */
  async function deployOne({ contract, types, values }) {
    const [made] = await deploy(node, [[contract, types, values]]);
    return { address: shown(made), hex: `41${made.slice(2).toLowerCase()}` };
  }

  const way = {
    evm: evmAddress,
    shown,
    account: async (name) => evmAddress(await address(name)),
    receiver: (name) => evmAddress(TronWeb.address.fromPrivateKey(secretOf(name))),
    send: async ({ from, to, units, memo }) => (await send({ from, to: shown(to), sun: units, memo })).tx,
    call: async ({ from, contract, signature, values, value = 0n, memo, times = 1 }) => {
      const types = typesOf(signature);
      const { tx } = await call({
        from,
        contract: shown(contract),
        function: signature,
        values: values.map((one, i) => (types[i] === "address" ? shown(one) : String(one))),
        sun: value,
        memo,
        fee_limit: FEE_LIMIT_SUN + FEE_EACH_SUN * times,
      });
      return tx;
    },
    /** Sends what anvil had mined once more. The hash is the old one: same sender, nonce and call. */
    again: async ({ hash, from, to, value, input, gas, gasPrice, nonce }) => {
      const call = { from, ...(to && { to }), value, data: input, gas, gasPrice, nonce };
      chain.renamed(hash, await node.rpc("eth_sendTransaction", call));
    },
    succeeded: async (tx) => (await where(tx)).contract_ret === "SUCCESS",
    state,
    memos: true,
    // java-tron refuses both before they are sent.
    sendsZero: false,
    sendsToItself: false,
    // A coin of TRC-10, which has no contract.
    impostors: async ({ to, units, memo }) => {
      await sendAsset({ from: "stranger", to, amount: units, memo });
      return 1;
    },
    failures: async ({ to, asset = null, units, memo }) => {
      if (asset === null) return [];
      const body = { from: "payer", token: asset, to, units, memo, fee_limit: FEE_SHORT_SUN };
      return [(await sendToken(body)).tx];
    },
  };

  const sendToken = async (body) =>
    token(body, "transfer(address,uint256)", [await address(body.to), String(body.units)]);

  return {
    ...common({ node, way }),
    lag: ({ blocks = 3 }) => {
      chain.lag = blocks;
      return state(blocks);
    },
    finality: ({ blocks }) => {
      chain.finality = blocks;
      return state();
    },
    account: async ({ name }) => {
      const found = await address(name);
      return { address: found, hex: TronWeb.address.toHex(found), private_key: keys.get(name) };
    },
    fund: async ({ to, sun }) => {
      await fund(await address(to), BigInt(sun));
      return { balance: String(await node.balance(evmAddress(await address(to)))) };
    },
    deploy: deployOne,
    mint: async (body) =>
      token({ from: "minter", ...body }, "mint(address,uint256)", [
        await address(body.to),
        String(body.units),
      ]),
    send,
    send_token: sendToken,
    send_asset: sendAsset,
    call,
    where: ({ tx }) => where(tx),
  };
}
