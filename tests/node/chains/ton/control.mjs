// What the suite asks of the chain: blocks, wallets, jettons, payments and forgeries. README.md lists the JSON.
import { Address, beginCell, Cell, internal } from "@ton/core";
import { keyPairFromSeed, sha256_sync } from "@ton/crypto";
import { createShardAccount } from "@ton/sandbox";
import { WalletContractV4, WalletContractV5R1 } from "@ton/ton";

import { BadRequest } from "../http.mjs";
import { common } from "./common.mjs";
import {
  comment,
  internalTransferBody,
  master,
  mintBody,
  notificationBody,
  transferBody,
  walletAddress,
} from "./jetton.mjs";
import { boc, rawAddress } from "./shapes.mjs";

/** The bank is there from the start, as rich as the sandbox allows. */
const BANK_NANO = 10n ** 18n;
/** What a contract holds so that it can stay. */
const RENT_NANO = 10n ** 9n;
/** What a jetton transfer carries to pay for its way. */
const JETTON_VALUE_NANO = 100_000_000n;
const PAY_FEES_SEPARATELY = 1;
const MAINNET = -239;

export async function controls(chain) {
  const wallets = new Map();
  const jettons = new Map();
  let queryId = 1;

  function wallet(name, version) {
    if (typeof name !== "string" || name === "") throw new BadRequest("a wallet needs a name");
    if (!wallets.has(name)) {
      const { publicKey, secretKey } = keyPairFromSeed(sha256_sync(`local chain wallet ${name}`));
      const contract =
        version === "v4"
          ? WalletContractV4.create({ workchain: 0, publicKey })
          : WalletContractV5R1.create({ publicKey, walletId: { networkGlobalId: chain.globalId } });
      wallets.set(name, { contract, secretKey, version: version ?? "v5r1" });
    }
    const found = wallets.get(name);
    if (version && version !== found.version) throw new BadRequest(`${name} is a ${found.version} already`);
    return found;
  }

  const isAddress = (text) => Address.isRaw(text) || Address.isFriendly(text);

  /** An address, of a name or as it is. */
  const address = (text) => (isAddress(text) ? Address.parse(text) : wallet(text).contract.address);

  /** A jetton by its name, or by its address in any form. */
  function jetton(text) {
    const at = isAddress(text) ? Address.parse(text) : undefined;
    const found = jettons.get(at ? rawAddress(at) : text);
    if (found) return found;
    if (at) return { address: at };
    throw new BadRequest(`no jetton ${text}`);
  }

  const testOnly = chain.globalId !== MAINNET;
  const forms = (one) => ({
    address: rawAddress(one),
    bounceable: one.toString({ bounceable: true, testOnly }),
    non_bounceable: one.toString({ bounceable: false, testOnly }),
  });

  /** Everything in a block is final. */
  const state = (lag = { blocks: 0 }) => {
    const { seqno, rootHash } = chain.indexed(lag);
    return { head: seqno, final: seqno, hash: Buffer.from(rootHash, "base64").toString("hex") };
  };

  /** One external message to a wallet, signed by its key, with as many messages inside. Mines a block unless
      `mine` is 0; `spread` gives each transaction a block of its own. */
  async function pay(from, messages, { mine = 1, spread = false, mode = PAY_FEES_SEPARATELY } = {}) {
    const { contract, secretKey } = wallet(from);
    const active = await chain.isActive(contract.address);
    const seqno = active ? (await chain.get(contract.address, "seqno", [])).stackReader.readNumber() : 0;
    const timeout = chain.now() + 3600;
    const body = contract.createTransfer({ seqno, secretKey, messages, sendMode: mode, timeout });
    const entries = await chain.send(
      { to: contract.address, init: active ? undefined : contract.init, body },
      { spread },
    );
    if (mine > 0 && !spread) chain.mine(mine);
    return {
      transactions: entries.map((entry) => ({
        account: entry.account,
        hash: entry.told.hash,
        lt: entry.told.lt,
        aborted: entry.told.description.aborted,
        opcode: entry.told.in_msg.opcode,
        mc_block_seqno: entry.block?.seqno ?? null,
        boc: boc(entry.raw.raw),
      })),
      ...state(),
    };
  }

  /** The body of a native payment: a text comment, bytes behind the 0xff prefix, what looks encrypted, a cell as
      it is, or none. */
  function bodyOf({ comment: text, binary, encrypted, body }) {
    if (text !== undefined) return comment(text);
    if (binary !== undefined)
      return beginCell()
        .storeUint(0, 32)
        .storeUint(0xff, 8)
        .storeBuffer(Buffer.from(binary, "hex"))
        .endCell();
    if (encrypted !== undefined)
      return beginCell().storeUint(0x2167da4b, 32).storeBuffer(Buffer.from(encrypted, "hex")).endCell();
    if (body !== undefined) return Cell.fromBase64(body);
    return undefined;
  }

  async function send(request) {
    const { from, to, value, bounce = false, times = 1 } = request;
    const message = internal({ to: address(to), value: BigInt(value), bounce, body: bodyOf(request) });
    return pay(
      from,
      Array.from({ length: times }, () => message),
      request,
    );
  }

  async function deployJetton({ name, decimals = 6, symbol = "USDT", admin = "bank", title = "Tether USD" }) {
    if (!name) throw new BadRequest("a jetton needs a name");
    const one = master(address(admin), { name: title, symbol, decimals, description: name });
    jettons.set(name, { ...one, admin });
    const message = internal({ to: one.address, value: 50_000_000n, bounce: false, init: one.init });
    return { ...forms(one.address), ...(await pay(admin, [message])) };
  }

  /** Makes a jetton stand at an address that was not deployed here. */
  async function plantJetton({ contract, decimals }) {
    const { code, data } = master(address("bank"), { name: "Tether USD", symbol: "USDT", decimals }).init;
    const at = Address.parse(contract);
    const account = createShardAccount({ address: at, code, data, balance: RENT_NANO });
    await chain.sandbox.setShardAccount(at, account);
    chain.touched();
    jettons.set(rawAddress(at), { address: at, admin: "bank" });
  }

  async function mint(request) {
    const { address: minter, admin } = jetton(request.jetton);
    const body = mintBody({
      to: address(request.to),
      units: BigInt(request.units),
      value: 20_000_000n,
      master: minter,
    });
    return pay(admin, [internal({ to: minter, value: 50_000_000n, bounce: true, body })], request);
  }

  /** The payload of a jetton transfer and how it is written. */
  function payloadOf({ payload, ...rest }) {
    const cell = bodyOf(rest);
    return { payload: cell, how: payload ?? (cell ? "ref" : "none") };
  }

  async function sendJetton(request) {
    const { from, to, units, forward = "1", value = String(JETTON_VALUE_NANO), times = 1 } = request;
    const owner = address(from);
    const source = walletAddress(owner, jetton(request.jetton).address);
    const messages = Array.from({ length: times }, () => {
      const body = transferBody({
        queryId: queryId++,
        units: BigInt(units),
        to: address(to),
        response: owner,
        forward: BigInt(forward),
        ...payloadOf(request),
      });
      return internal({ to: source, value: BigInt(value), bounce: true, body });
    });
    return pay(from, messages, request);
  }

  /** Any wallet may claim that jettons came; only the owner's own jetton wallet is to be believed. */
  async function forgeNotification(request) {
    const { from, to, units, claimed_from: claimed = from, value = "100000000" } = request;
    const body = notificationBody({ units: BigInt(units), from: address(claimed), ...payloadOf(request) });
    return pay(from, [internal({ to: address(to), value: BigInt(value), bounce: false, body })], request);
  }

  /** Tells the owner's jetton wallet that a sibling sent something: it throws and bounces. */
  async function forgeInternalTransfer(request) {
    const { from, to, units, claimed_from: claimed = from, value = "100000000" } = request;
    const target = walletAddress(address(to), jetton(request.jetton).address);
    const body = internalTransferBody({
      units: BigInt(units),
      from: address(claimed),
      forward: 1n,
      ...payloadOf(request),
    });
    return pay(from, [internal({ to: target, value: BigInt(value), bounce: true, body })], request);
  }

  const bank = wallet("bank", "v4").contract;
  const { code, data } = bank.init;
  await chain.sandbox.setShardAccount(
    bank.address,
    createShardAccount({ address: bank.address, code, data, balance: BANK_NANO }),
  );
  chain.touched();
  chain.mine(1);

  const calls = {
    state: () => state(),
    mine: ({ blocks = 1, seconds = 0 }) => {
      chain.mine(blocks, seconds);
      return state();
    },
    lag: ({ blocks = 3, transactions = 0 }) => {
      chain.lag = { blocks, transactions };
      return state(chain.lag);
    },
    reorg: async ({ depth, include = "none" }) => {
      const ancestor = await chain.reorg(depth, include);
      return { ancestor: ancestor.seqno, ...state() };
    },
    wallet: async ({ name, version, fund }) => {
      const { contract } = wallet(name, version);
      if (fund) await send({ from: "bank", to: name, value: fund });
      return forms(contract.address);
    },
    balance: async ({ of }) => ({ balance: String((await chain.sandbox.getContract(address(of))).balance) }),
    send,
    deploy_jetton: deployJetton,
    mint,
    jetton_wallet: ({ owner, jetton: of }) => forms(walletAddress(address(owner), jetton(of).address)),
    send_jetton: sendJetton,
    forge_notification: forgeNotification,
    forge_internal_transfer: forgeInternalTransfer,
  };
  const has = (contract) => jettons.has(rawAddress(Address.parse(contract)));
  const nameOf = (text) => [...wallets.keys()].find((name) => address(name).equals(address(text)));
  return { ...calls, ...common({ chain, calls, has, nameOf, plantJetton }) };
}
