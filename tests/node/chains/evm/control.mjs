// What the suite asks of an EVM network: the common control calls, by wallets of ethers that really sign.
import { createHash } from "node:crypto";
import { getAddress, JsonRpcProvider, Wallet } from "ethers";

import { common } from "../anvil/common.mjs";
import { calldata } from "../anvil/contracts.mjs";
import { hex } from "../anvil/node.mjs";

/** What a sender holds of the native coin: a million million of it. */
const FUNDS_WEI = 10n ** 30n;
/** Enough for any call here, and so little that hundreds fit into a block. It is set, so that nobody refuses to
    send what will fail. */
const GAS = 200_000n;
const GAS_EACH = 60_000n;

export function controls(node, chainId, lagging) {
  const provider = new JsonRpcProvider(node.url, chainId, {
    staticNetwork: true,
    // A nonce that was true a moment ago is another one now.
    cacheTimeout: -1,
    batchMaxCount: 1,
  });
  const wallets = new Map();
  const funded = new Set();

  /** The wallet of a named account, the same in every run. */
  function wallet(name) {
    if (!wallets.has(name)) {
      const key = createHash("sha256").update(`local chain account ${name}`).digest("hex");
      wallets.set(name, new Wallet(`0x${key}`, provider));
    }
    return wallets.get(name);
  }

  async function sender(name) {
    const { address } = wallet(name);
    if (!funded.has(name)) {
      funded.add(name);
      await node.lasting(() => node.rpc("anvil_setBalance", address, hex(FUNDS_WEI)));
    }
    return wallet(name);
  }

  async function state() {
    const [head, final] = await Promise.all(
      ["latest", "finalized"].map((tag) => node.rpc("eth_getBlockByNumber", tag, false)),
    );
    return { head: Number(head.number), final: Number(final.number), hash: head.hash };
  }

  const way = {
    evm: (address) => getAddress(address),
    shown: (address) => getAddress(address),
    account: async (name) => (await sender(name)).address,
    receiver: (name) => wallet(name).address,
    // There is no memo on such a chain.
    send: async ({ from, to, units }) =>
      (await (await sender(from)).sendTransaction({ to, value: units, gasLimit: 21_000n })).hash,
    call: async ({ from, contract, signature, values, value = 0n, times = 1 }) => {
      const gasLimit = GAS + GAS_EACH * BigInt(times);
      const data = calldata(signature, values);
      return (await (await sender(from)).sendTransaction({ to: contract, data, value, gasLimit })).hash;
    },
    again: ({ raw }) => node.rpc("eth_sendRawTransaction", raw),
    succeeded: async (tx) => (await node.rpc("eth_getTransactionReceipt", tx))?.status === "0x1",
    state,
    memos: false,
    sendsZero: true,
    sendsToItself: true,
    impostors: () => 0,
    failures: () => [],
  };

  return {
    ...common({ node, way }),
    lag: async ({ blocks = 3 }) => {
      lagging.blocks = blocks;
      const { latest, finalized } = await lagging.heads();
      const { hash } = await node.rpc("eth_getBlockByNumber", hex(latest), false);
      return { head: latest, final: finalized, hash };
    },
  };
}
