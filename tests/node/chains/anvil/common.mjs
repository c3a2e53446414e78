// The common control calls on a chain whose contracts run in an EVM. How a payment is signed and sent, and how
// addresses look, is the chain's own: `way`.
import { BadRequest } from "../http.mjs";
import { calldata, deploy } from "./contracts.mjs";
import { hex } from "./node.mjs";

/** What each payer holds of a token: more than any amount that fits into 128 bits. */
const PLENTY = 10n ** 60n;
/** Blocks on top of the set-up, so that it is final. */
const FINAL_BLOCKS = 20;
/** Where OpenZeppelin's ERC-20 keeps its name and its symbol. */
const WORDS_SLOTS = [3, 4];
const ADDRESSES = 4;
const CLAIM = "claim(address,address,uint256)";
const TRANSFER = "transfer(address,uint256)";
const TRANSFER_FROM = "transferFrom(address,address,uint256)";

/**
 * `way` has
 * `evm(address)`, `shown(address)`: an address as the EVM has it, and as people see it;
 * `account(name)`: the EVM address of a named account that is rich; `receiver(name)`: of one that has nothing;
 * `send({from, to, units, memo})`, `call({from, contract, signature, values, value, memo, times})`: put a signed
 * transaction into the pool and answer its id; `from` is a name, addresses are the EVM's;
 * `succeeded(tx)`: whether a mined one did; `state()`;
 * `memos`: whether payers can attach one;
 * `sendsZero`, `sendsToItself`: whether a transfer of nothing of the native coin is valid, and one to the sender;
 * `again(transaction)`: sends what a fork took back once more;
 * `impostors(payment)`: more of these that only this chain has; it answers how many. `failures(payment)`: the same of
 * failed payments; it answers their ids.
 */
export function common({ node, way }) {
  /** The listed tokens, by their EVM address in lower case. */
  const tokens = new Set();
  let helpers;
  /** The name of each receiver, by its EVM address in lower case. */
  const owners = new Map();

  const key = (asset) => way.evm(asset).toLowerCase();

  function listed(asset) {
    if (!tokens.has(key(asset))) throw new BadRequest(`${asset} was not prepared`);
    return key(asset);
  }

  /** Makes a token stand at the address as the model stands at its own. */
  async function plant(address, model) {
    const code = await node.rpc("eth_getCode", model, "latest");
    const words = await Promise.all(
      WORDS_SLOTS.map((slot) => node.rpc("eth_getStorageAt", model, hex(slot), "latest")),
    );
    await node.lasting(async () => {
      await node.rpc("anvil_setCode", address, code);
      for (const [i, slot] of WORDS_SLOTS.entries())
        await node.rpc("anvil_setStorageAt", address, `0x${String(slot).padStart(64, "0")}`, words[i]);
    });
    tokens.add(address);
  }

  /** Deploys what is listed and not there yet, and with the first call what payments and impostors need. */
  async function setUp(missing) {
    const wanted = helpers ? [] : [["Sender"], ["LookAlike"], ["Token", ["uint8"], [6]]];
    const models = missing.map(({ decimals }) => ["Token", ["uint8"], [decimals]]);
    const made = await deploy(node, [...wanted, ...models]);
    const held = missing.map(({ contract }) => key(contract));
    if (!helpers) {
      const [sender, lookAlike, unlisted] = made.splice(0, wanted.length);
      helpers = { sender, lookAlike, unlisted };
      held.push(unlisted);
    }
    for (const [i, { contract }] of missing.entries()) await plant(key(contract), made[i]);
    const holders = [await way.account("payer"), helpers.sender];
    const mint = (to) => calldata("mint(address,uint256)", [to, PLENTY]);
    await node.setUp(held.flatMap((token) => holders.map((to) => ({ to: token, data: mint(to) }))));
    await node.mine(FINAL_BLOCKS);
  }

  async function prepare({ assets = [] }) {
    const missing = assets.filter(({ contract }) => contract && !tokens.has(key(contract)));
    if (!helpers || missing.length > 0) await setUp(missing);
    return addresses({ count: ADDRESSES });
  }

  /** So many fresh receive addresses. */
  function addresses({ count }) {
    const made = Array.from({ length: count }, () => {
      const name = `receiver ${owners.size + 1}`;
      const address = way.receiver(name);
      owners.set(key(address), name);
      return address;
    });
    return { addresses: made.map(way.shown) };
  }

  /** Puts a real payment into the pool. */
  function payment({ to, asset = null, units, memo, times = 1, by_code = false }) {
    const from = "payer";
    const { sender } = helpers;
    const value = BigInt(units);
    if (asset === null) {
      if (times === 1 && !by_code) return way.send({ from, to: way.evm(to), units: value, memo });
      const signature = "several(address,uint256)";
      const values = [way.evm(to), times];
      return way.call({ from, contract: sender, signature, values, value: value * BigInt(times), memo, times });
    }
    const token = listed(asset);
    if (times === 1)
      return way.call({ from, contract: token, signature: TRANSFER, values: [way.evm(to), value], memo });
    const signature = "many(address,address,uint256,uint256)";
    const values = [token, way.evm(to), value, times];
    return way.call({ from, contract: sender, signature, values, memo, times });
  }

  async function pay(request) {
    const { mine = 1 } = request;
    const tx = await payment(request);
    if (mine > 0) {
      await node.mine(mine);
      if (!(await way.succeeded(tx))) throw new BadRequest(`the payment ${tx} failed`);
    }
    return { tx };
  }

  async function impostors(request) {
    const { to, units, memo } = request;
    const { lookAlike, unlisted } = helpers;
    const values = [await way.account("payer"), way.evm(to), units];
    await way.call({ from: "stranger", contract: lookAlike, signature: CLAIM, values, memo });
    await way.call({ from: "payer", contract: unlisted, signature: TRANSFER, values: values.slice(1), memo });
    await payment({ ...request, to: way.shown(way.receiver("somebody else")), times: 1 });
    const more = await way.impostors(request);
    await node.mine();
    return { count: 3 + more };
  }

  async function nothing({ to, asset = null, memo }) {
    if (asset === null && !way.sendsZero) return { tx: null };
    const values = [await way.account("payer"), way.evm(to), 0];
    const from = "stranger";
    const tx =
      asset === null
        ? await way.send({ from, to: way.evm(to), units: 0n, memo })
        : await way.call({ from, contract: listed(asset), signature: TRANSFER_FROM, values, memo });
    await node.mine();
    return { tx };
  }

  async function failure(request) {
    const { to, asset = null, units, memo } = request;
    const from = "payer";
    const contract = helpers.sender;
    const tx =
      asset === null
        ? await way.call({
            from,
            contract,
            signature: "undoneCoin(address)",
            values: [way.evm(to)],
            value: BigInt(units),
            memo,
          })
        : await way.call({
            from,
            contract,
            signature: "undone(address,address,uint256)",
            values: [listed(asset), way.evm(to), units],
            memo,
          });
    const more = await way.failures(request);
    await node.mine();
    if (await way.succeeded(tx)) throw new Error(`${tx} did not fail`);
    return { txs: [tx, ...more] };
  }

  /** What the owner of an address sends to that very address. */
  async function toItself({ to, asset = null, units, memo }) {
    if (asset === null && !way.sendsToItself) return { count: 0 };
    const from = owners.get(key(to));
    if (from === undefined) throw new BadRequest(`${to} is nobody's`);
    const value = BigInt(units);
    const tx =
      asset === null
        ? await way.send({ from, to: way.evm(to), units: value, memo })
        : await way.call({
            from,
            contract: listed(asset),
            signature: TRANSFER,
            values: [way.evm(to), value],
            memo,
          });
    await node.mine();
    if (!(await way.succeeded(tx))) throw new BadRequest(`${tx} failed`);
    return { count: 1 };
  }

  /** What needs tokens and helpers. */
  const prepared = (work) => (request) => {
    if (!helpers) throw new BadRequest("prepare comes first");
    return work(request);
  };

  return {
    prepare,
    addresses,
    state: () => way.state(),
    mine: async ({ blocks = 1, seconds }) => {
      await node.mine(blocks, seconds);
      return way.state();
    },
    pay: prepared(pay),
    impostors: prepared(impostors),
    nothing: prepared(nothing),
    failure: prepared(failure),
    to_itself: prepared(toItself),
    reorg: async (request) => {
      const ancestor = await node.reorg(request, way.again);
      return { ancestor, ...(await way.state()) };
    },
    describe: () => ({ reorgs: true, memos: way.memos, exact_coins: true }),
  };
}
