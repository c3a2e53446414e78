// The common control calls on TON, made of its own ones.
import { Address } from "@ton/core";

import { BadRequest } from "../http.mjs";
import { rawAddress } from "./shapes.mjs";

const OP_INTERNAL_TRANSFER = "0x178d4519";
/** What the payer holds of a jetton: an amount of coins has 120 bits. */
const PLENTY = String(10n ** 35n);
const RICH_NANO = String(10n ** 17n);
/** What a deployed receiver and a stranger hold. */
const FUNDS_NANO = String(10n ** 12n);
/** What a message carries that is to come back. */
const BOUNCED_NANO = 100_000_000n;
/** Too little for the way of a jetton transfer. */
const SHORT_NANO = "5000000";
const ADDRESSES = 4;
/** An account that nobody has: a message to it that may bounce does. */
const NOBODY = `0:${"0".repeat(63)}1`;

/** `nameOf(address)`: the name of a wallet that is known here; `has(contract)`: whether a jetton is;
    `plantJetton({contract, decimals})`: makes one stand at an address. */
export function common({ chain, calls, has, nameOf, plantJetton }) {
  let ready = false;
  let receivers = 0;
  const hexOf = (hash) => Buffer.from(hash, "base64").toString("hex");
  const raw = (address) => rawAddress(Address.parse(address));
  const commentOf = (memo) => (memo === undefined || memo === null ? {} : { comment: memo });
  const isActive = (address) => chain.isActive(Address.parse(address));

  function listed(asset) {
    if (!has(asset)) throw new BadRequest(`${asset} was not prepared`);
    return asset;
  }

  /** A wallet that has a contract: it has sent something. */
  async function deployed(name, nano) {
    await calls.wallet({ name, fund: nano });
    await calls.send({ from: name, to: "bank", value: "1" });
  }

  async function setUp() {
    await deployed("payer", RICH_NANO);
    await deployed("stranger", FUNDS_NANO);
    // The same words and the same code as the listed one, and another master.
    await calls.deploy_jetton({ name: "unlisted", admin: "stranger" });
    await calls.mint({ jetton: "unlisted", to: "stranger", units: PLENTY });
    ready = true;
  }

  async function prepare({ assets = [] }) {
    if (!ready) await setUp();
    for (const asset of assets.filter(({ contract }) => contract && !has(contract))) {
      await plantJetton(asset);
      await calls.mint({ jetton: asset.contract, to: "payer", units: PLENTY });
    }
    const made = [];
    for (let i = 0; i < ADDRESSES; i++) {
      const name = `receiver ${++receivers}`;
      // Wallets before their first payment, and wallets that have a contract.
      if (i % 2 === 1) await deployed(name, FUNDS_NANO);
      made.push((await calls.wallet({ name })).non_bounceable);
    }
    return { addresses: made };
  }

  /** So many fresh receive addresses, of wallets before their first payment. */
  async function addresses({ count }) {
    const made = [];
    for (let i = 0; i < count; i++)
      made.push((await calls.wallet({ name: `receiver ${++receivers}` })).non_bounceable);
    return { addresses: made };
  }

  /** A real payment that is not mined yet; answers the receiver's transaction. */
  async function payment({ to, asset = null, units, memo, times = 1 }) {
    const body = commentOf(memo);
    const { transactions } =
      asset === null
        ? await calls.send({ from: "payer", to, value: units, times, mine: 0, ...body })
        : await calls.send_jetton({ from: "payer", jetton: listed(asset), to, units, times, mine: 0, ...body });
    const at = asset === null ? raw(to) : calls.jetton_wallet({ owner: to, jetton: asset }).address;
    const came = transactions.filter(({ account, opcode, aborted }) =>
      asset === null ? account === at : account === at && opcode === OP_INTERNAL_TRANSFER && !aborted,
    );
    if (came.length !== times) throw new BadRequest(`${came.length} of ${times} payments came`);
    return hexOf(came[0].hash);
  }

  async function pay(request) {
    const { mine = 1 } = request;
    const tx = await payment(request);
    chain.mine(mine);
    return { tx };
  }

  async function impostors({ to, asset = null, units, memo }) {
    const from = "stranger";
    const body = { ...commentOf(memo), mine: 0 };
    await calls.send_jetton({ from, jetton: "unlisted", to, units, ...body });
    await calls.forge_notification({ from, to, units, claimed_from: "payer", ...body });
    const { address: other } = await calls.wallet({ name: "somebody else" });
    await payment({ to: other, asset, units, memo });
    let count = 3;
    if (asset !== null) {
      const forged = { jetton: listed(asset), to, units, claimed_from: "payer", ...body };
      await calls.forge_internal_transfer({ from, ...forged });
      count += 1;
    }
    // Its own message comes back to it, with its coins.
    const owner = nameOf(to);
    if (owner && (await isActive(to))) {
      await calls.send({ from: owner, to: NOBODY, value: String(BOUNCED_NANO), bounce: true, ...body });
      count += 1;
    }
    chain.mine(1);
    return { count };
  }

  const nothing = ({ to, asset = null, memo }) => pay({ to, asset, units: "0", memo });

  async function failure({ to, asset = null, units, memo }) {
    const body = { ...commentOf(memo), mine: 0 };
    const sent = [];
    if (asset !== null) {
      const transfer = { jetton: listed(asset), to, units, ...body };
      // One who has none of it: the message to their wallet comes back. One who pays too little for the way.
      sent.push(await calls.send_jetton({ from: "stranger", ...transfer }));
      sent.push(await calls.send_jetton({ from: "payer", value: SHORT_NANO, ...transfer }));
    } else if (await isActive(to)) {
      // More than the sender has: the message is left out.
      const value = String(BigInt(FUNDS_NANO) + BigInt(units));
      sent.push(await calls.send({ from: "stranger", to, value, ...body }));
    } else {
      sent.push(await calls.send({ from: "payer", to, value: units, bounce: true, ...body }));
    }
    chain.mine(1);
    return { txs: sent.map(({ transactions }) => hexOf(transactions[0].hash)) };
  }

  /** What the owner of an address sends to that very address. */
  async function toItself({ to, asset = null, units, memo }) {
    const from = nameOf(to);
    if (!from || !(await isActive(to))) throw new BadRequest(`${to} is of no wallet that can send`);
    const body = commentOf(memo);
    if (asset === null) await calls.send({ from, to, value: units, ...body });
    else await calls.send_jetton({ from, jetton: listed(asset), to, units, ...body });
    return { count: 1 };
  }

  /** What needs wallets and jettons. */
  const prepared = (work) => (request) => {
    if (!ready) throw new BadRequest("prepare comes first");
    return work(request);
  };

  return {
    prepare,
    addresses,
    pay: prepared(pay),
    impostors: prepared(impostors),
    nothing: prepared(nothing),
    failure: prepared(failure),
    to_itself: prepared(toItself),
    describe: () => ({ reorgs: false, memos: true, exact_coins: false }),
  };
}
