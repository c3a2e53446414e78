// Writes what chain-plugins/ton/src/tests/cells.json holds: transactions as v3 tells them and as v2 gives them.
// usage: node chains/ton/vectors.mjs > ../../chain-plugins/ton/src/tests/cells.json
import { beginCell, Dictionary } from "@ton/core";

import { start } from "../check/kit.mjs";

/** The logical time of the blocks that the plugin's tests script is that of a chain of this age. */
const BLOCKS = 5_100;

const ton = await start("ton.mjs", ["--caip2", "tvm:-239"]);
const { control } = ton;
const rows = [];

/** Keeps the last transaction of an account. */
async function keep(name, account) {
  const [told] = (await ton.get(`/api/v3/transactions?account=${account}&limit=1`)).transactions;
  const query = `address=${account}&lt=${told.lt}&hash=${encodeURIComponent(told.hash)}&limit=1`;
  const [{ data }] = (await ton.get(`/api/v2/getTransactions?${query}`)).result;
  const { account_state_before, account_state_after, ...rest } = told;
  rows.push({ name, told: rest, data });
}

/** A cell above pruned branches, which a payer may put beside a comment. */
function proof() {
  const dictionary = Dictionary.empty(Dictionary.Keys.Uint(8), Dictionary.Values.Uint(256));
  for (let key = 0; key < 8; key++) dictionary.set(key, 1n);
  return dictionary.generateMerkleProof([3]);
}

const shop = (await control("wallet", { name: "shop" })).address;
await control("wallet", { name: "payer", fund: "900000000000" });
await control("wallet", { name: "open", fund: "900000000000" });
await control("send", { from: "open", to: "bank", value: "1" });
const open = (await control("wallet", { name: "open" })).address;
await control("deploy_jetton", { name: "usdt" });
await control("mint", { jetton: "usdt", to: "payer", units: "1000000000" });
const wallet = (await control("jetton_wallet", { jetton: "usdt", owner: "shop" })).address;
await control("mine", { blocks: BLOCKS });

const send = (to, value, more) => control("send", { from: "payer", to, value, ...more });
const pay = (units, more) =>
  control("send_jetton", { from: "payer", jetton: "usdt", to: "shop", units, ...more });
await send("shop", "1000000000", { comment: "order-1" });
await keep("no contract", shop);
await send("open", "123456789", { comment: "order-2 ".repeat(40).trim() });
await keep("a contract, a long comment", open);
await pay("25000000", { comment: "order-3", payload: "inline" });
await keep("jetton, inline", wallet);
await pay("1", { comment: "order-4", payload: "ref" });
await keep("jetton, by reference", wallet);
const body = beginCell().storeUint(0, 32).storeStringTail("order-5").storeRef(proof()).endCell();
await send("shop", "5", { body: body.toBoc().toString("base64") });
await keep("a proof beside the comment", shop);
await send("shop", "1000000000", { comment: "back", bounce: true });
await keep("sent back", shop);
await control("forge_internal_transfer", { from: "payer", jetton: "usdt", to: "shop", units: "777" });
await keep("forged", wallet);
await send(`0:${"0".repeat(63)}1`, "100000000", { bounce: true });
await keep("bounced", (await control("wallet", { name: "payer" })).address);
console.log(`[\n${rows.map((row) => JSON.stringify(row)).join(",\n")}\n]`);
ton.stop();
process.exit();
