// A local EVM network: anvil's own JSON-RPC, passed on as it is. README.md says what that proves and what not.
// usage: node chains/evm.mjs [--port 0] [--caip2 eip155:31337]
import { chainId } from "./arguments.mjs";
import { Node } from "./anvil/node.mjs";
import { controls } from "./evm/control.mjs";
import { Lagging } from "./evm/lagging.mjs";
import { json, serve } from "./http.mjs";

const id = chainId("eip155", 31337);
const node = await Node.start({
  flags: ["--slots-in-an-epoch", "8", "--chain-id", String(id)],
  spacing: 2,
  producer: (_, branch) => `0x${(0xb0 + (branch % 64)).toString(16).repeat(20)}`,
});
const behind = new Lagging(node);

async function answer({ path, text, lagging, method }) {
  if (method !== "POST" || !["", "/"].includes(path)) return { status: 404, text: "" };
  await node.settled;
  if (lagging) return { status: 200, body: await behind.answer(json(text)) };
  const headers = { "content-type": "application/json" };
  const passed = await fetch(node.url, { method, headers, body: text });
  return { status: passed.status, text: Buffer.from(await passed.arrayBuffer()) };
}

const onError = (error) => ({
  status: 200,
  body: { jsonrpc: "2.0", id: null, error: { code: -32700, message: error.message } },
});

await serve({ answer, controls: controls(node, id, behind), onError });
