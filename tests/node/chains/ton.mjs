// A local TON: toncenter's APIs v3 and v2 over the real TVM. README.md says what that proves and what not.
// usage: node chains/ton.mjs [--port 0] [--caip2 tvm:-239]
import { chainId } from "./arguments.mjs";
import { json, serve } from "./http.mjs";
import { api } from "./ton/api.mjs";
import { Chain } from "./ton/chain.mjs";
import { controls } from "./ton/control.mjs";
import { api as cells } from "./ton/v2.mjs";

const MAINNET = -239;

const chain = await Chain.create(chainId("tvm", MAINNET));
const lags = [() => ({ blocks: 0, transactions: 0 }), () => chain.lag];
const [upToDate, behind] = lags.map((lag) => ({ v3: api(chain, lag), v2: cells(chain, lag) }));

async function answer({ path, query, text, lagging, method }) {
  const { v3, v2 } = lagging ? behind : upToDate;
  const missing = { status: 404, body: { error: `Cannot ${method} ${path}` } };
  const [prefix] = /^(\/api)?\/v2(?=\/)/.exec(path) ?? [];
  if (prefix) return v2(path.slice(prefix.length), query, method) ?? missing;
  const found = await v3(path, query, json(text), method);
  return found === undefined ? missing : { status: 200, body: found };
}

await serve({ answer, controls: await controls(chain) });
