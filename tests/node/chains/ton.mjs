// A local TON: toncenter's API v3 over the real TVM. README.md says what that proves and what not.
// usage: node chains/ton.mjs [--port 0] [--caip2 tvm:-239]
import { chainId } from "./arguments.mjs";
import { json, serve } from "./http.mjs";
import { api } from "./ton/api.mjs";
import { Chain } from "./ton/chain.mjs";
import { controls } from "./ton/control.mjs";

const MAINNET = -239;

const chain = await Chain.create(chainId("tvm", MAINNET));
const upToDate = api(chain, () => ({ blocks: 0, transactions: 0 }));
const behind = api(chain, () => chain.lag);

async function answer({ path, query, text, lagging, method }) {
  const found = await (lagging ? behind : upToDate)(path, query, json(text), method);
  return found === undefined
    ? { status: 404, body: { error: `Cannot ${method} ${path}` } }
    : { status: 200, body: found };
}

await serve({ answer, controls: await controls(chain) });
