// A local TRON: java-tron's HTTP API over a real EVM. README.md says what that proves and what not.
// usage: node chains/tron.mjs --port 0 --anvil <program> [--contracts <file of compile.mjs>] [--chain-id <number>]
import { readFileSync } from "node:fs";

import { argument, control, Refusal, serve } from "./http.mjs";
import { Chain } from "./tron/chain.mjs";
import { controls } from "./tron/control.mjs";
import { Node } from "./tron/node.mjs";
import { wallet } from "./tron/wallet.mjs";

/** Nile's. */
const CHAIN_ID = 3_448_148_188;

const chainId = Number(argument("chain-id", CHAIN_ID));
const node = await Node.start(argument("anvil"), chainId);
const chain = new Chain(node, chainId);
const answers = wallet(node, chain);

/** While a fork is being switched to, nobody sees the state between: a real node switches at once. */
let switching = Promise.resolve();
const exclusive = (work) => {
  const done = work();
  switching = done.catch(() => {});
  return done;
};

let port;
const url = () => `http://127.0.0.1:${port}`;
const contracts = () => JSON.parse(readFileSync(argument("contracts"), "utf8"));
const calls = controls({ node, chain, contracts, exclusive, url });

async function answer(path, query, body) {
  if (path.startsWith("/control/")) return control(calls, path, body, url());
  await switching;
  const found = await answers(path, { ...Object.fromEntries(query), ...body });
  return found === undefined ? { status: 404, body: { Error: `no ${path}` } } : { status: 200, body: found };
}

// java-tron answers an error with status 200 and a field `Error`.
const onError = (error, path) =>
  path.startsWith("/control/")
    ? {
        status: error instanceof Refusal ? error.status : 500,
        body: { error: error.message ?? String(error) },
      }
    : { status: 200, body: { Error: `class java.lang.Exception : ${error.message}` } };

port = await serve(Number(argument("port", 0)), answer, onError);
