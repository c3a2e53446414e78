// What check/common.mjs reads a chain with: its official client, and whatever is alike in all of them.
// `head()` and `hash(height)`: blocks; `received(address, asset)`: what came and stayed; `decimals(asset)`;
// `where(tx)`: its height, or nothing; `memo(tx, asset)`: a text, or nothing where the chain has none.
import { Address, Cell, Dictionary } from "@ton/core";
import { sha256_sync } from "@ton/crypto";
import { Contract, JsonRpcProvider } from "ethers";
import { TronWeb } from "tronweb";

export const ERC20 = [
  "function balanceOf(address) view returns (uint256)",
  "function decimals() view returns (uint8)",
  "function symbol() view returns (string)",
  "event Transfer(address indexed from, address indexed to, uint256 value)",
];

export const provider = (url) =>
  new JsonRpcProvider(url, undefined, { staticNetwork: true, cacheTimeout: -1, pollingInterval: 50 });

export function evmClient(url) {
  const chain = provider(url);
  const block = async (tag) => {
    const found = await chain.getBlock(tag);
    return { height: found.number, hash: found.hash };
  };
  return {
    head: () => block("latest"),
    hash: async (height) => (await block(height)).hash,
    received: (address, asset) =>
      asset === null ? chain.getBalance(address) : new Contract(asset, ERC20, chain).balanceOf(address),
    decimals: async (asset) => Number(await new Contract(asset, ERC20, chain).decimals()),
    where: async (tx) => (await chain.getTransactionReceipt(tx))?.blockNumber,
    memo: async () => undefined,
  };
}

const fn = (name, inputs, outputs, stateMutability) => ({
  type: "function",
  name,
  stateMutability,
  inputs: inputs.map((type, i) => ({ name: `i${i}`, type })),
  outputs: outputs.map((type) => ({ name: "", type })),
});
export const TRC20 = [
  fn("balanceOf", ["address"], ["uint256"], "view"),
  fn("decimals", [], ["uint8"], "view"),
  fn("transfer", ["address", "uint256"], ["bool"], "nonpayable"),
];

export function tronClient(url) {
  const client = new TronWeb({ fullHost: url, privateKey: "1".repeat(64) });
  const { trx } = client;
  return {
    head: async () => {
      const { blockID, block_header } = await trx.getCurrentBlock();
      return { height: block_header.raw_data.number, hash: blockID };
    },
    hash: async (height) => (await trx.getBlockByNumber(height)).blockID,
    received: async (address, asset) =>
      BigInt(
        asset === null
          ? await trx.getUnconfirmedBalance(address)
          : await client.contract(TRC20, asset).balanceOf(address).call(),
      ),
    decimals: async (asset) => Number(await client.contract(TRC20, asset).decimals().call()),
    where: async (tx) => (await trx.getUnconfirmedTransactionInfo(tx)).blockNumber,
    memo: async (tx) => Buffer.from((await trx.getTransaction(tx)).raw_data.data, "hex").toString(),
  };
}

/** What is left of fees is no payment, nor is what comes or goes back. */
const LEFT_OF_FEES = ["0x7362d09c", "0xd53276db"];
const stayed = ({ in_msg: message, description, out_msgs }) =>
  message.source !== null &&
  !message.bounced &&
  !LEFT_OF_FEES.includes(message.opcode) &&
  description.bounce?.type !== "ok" &&
  !out_msgs.some(({ bounced }) => bounced);

export function tonClient(url) {
  const ask = async (path, init) => (await fetch(`${url}/api/v3${path}`, init)).json();
  const raw = (address) => Address.parse(address).toRawString().toUpperCase();
  const found = async (tx) => (await ask(`/transactions?hash=${tx}`)).transactions[0];
  const blockOf = ({ seqno, root_hash }) => ({
    height: seqno,
    hash: Buffer.from(root_hash, "base64").toString("hex"),
  });
  return {
    head: async () => blockOf((await ask("/masterchainInfo")).last),
    hash: async (height) => blockOf((await ask(`/blocks?workchain=-1&seqno=${height}`)).blocks[0]).hash,
    // Fees are taken from what an account has: so what came is counted, and not what is there.
    received: async (address, asset) => {
      if (asset === null) {
        const { transactions } = await ask(`/transactions?account=${raw(address)}&limit=1000`);
        return transactions.filter(stayed).reduce((sum, { in_msg }) => sum + BigInt(in_msg.value), 0n);
      }
      const query = `owner_address=${raw(address)}&jetton_address=${raw(asset)}`;
      return BigInt((await ask(`/jetton/wallets?${query}`)).jetton_wallets[0]?.balance ?? 0);
    },
    decimals: async (asset) => {
      const body = JSON.stringify({ address: raw(asset), method: "get_jetton_data", stack: [] });
      const { stack } = await ask("/runGetMethod", { method: "POST", body });
      const content = Cell.fromBase64(stack[3].value).beginParse().skip(8);
      const fields = content.loadDict(Dictionary.Keys.BigUint(256), Dictionary.Values.Cell());
      const key = BigInt(`0x${Buffer.from(sha256_sync("decimals")).toString("hex")}`);
      return Number(fields.get(key).beginParse().skip(8).loadStringTail());
    },
    where: async (tx) => (await found(tx))?.mc_block_seqno,
    memo: async (tx, asset) => {
      const { in_msg: message } = await found(tx);
      let body = Cell.fromBase64(message.message_content.body).beginParse();
      if (asset !== null) {
        body.skip(32 + 64).loadCoins();
        body.loadMaybeAddress();
        body.loadMaybeAddress();
        body.loadCoins();
        body = body.loadMaybeRef().beginParse();
      }
      return body.skip(32).loadStringTail();
    },
  };
}
