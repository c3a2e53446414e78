// A local TRON: java-tron's HTTP API over a real EVM. README.md says what that proves and what not.
// usage: node chains/tron.mjs [--port 0] [--caip2 tron:0xcd8690dc]
import { chainId } from "./arguments.mjs";
import { json, serve } from "./http.mjs";
import { Chain } from "./tron/chain.mjs";
import { controls } from "./tron/control.mjs";
import { TronNode } from "./tron/node.mjs";
import { wallet } from "./tron/wallet.mjs";

const NILE = "0xcd8690dc";

const id = chainId("tron", NILE);
const node = await TronNode.start(id);
const chain = new Chain(node, id);
const answers = wallet(node, chain);

async function answer({ path, query, text, lagging }) {
  await node.settled;
  const behind = lagging ? chain.lag : 0;
  const found = await answers(path, { ...Object.fromEntries(query), ...json(text) }, behind);
  return found === undefined ? { status: 404, body: { Error: `no ${path}` } } : { status: 200, body: found };
}

// java-tron answers an error with status 200 and a field `Error`.
const onError = (error) => ({
  status: 200,
  body: { Error: `class java.lang.Exception : ${error.message}` },
});

let listening;
const url = () => listening;
listening = await serve({ answer, controls: controls({ node, chain, url }), onError });
