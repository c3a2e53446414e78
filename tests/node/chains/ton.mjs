// A local TON: toncenter's API v3 over the real TVM. README.md says what that proves and what not.
// usage: node chains/ton.mjs --port 0
import { argument, control, Refusal, serve } from "./http.mjs";
import { api } from "./ton/api.mjs";
import { Chain } from "./ton/chain.mjs";
import { controls } from "./ton/control.mjs";

let port;
const chain = await Chain.create();
const answers = api(chain);
const calls = await controls(chain);

async function answer(path, query, body, method) {
  if (path.startsWith("/control/")) return control(calls, path, body, `http://127.0.0.1:${port}`);
  const found = await answers(path, query, body, method);
  return found === undefined
    ? { status: 404, body: { error: `Cannot ${method} ${path}` } }
    : { status: 200, body: found };
}

const onError = (error) => ({
  status: error instanceof Refusal ? error.status : 500,
  body: { error: error.message ?? String(error) },
});

port = await serve(Number(argument("port", 0)), answer, onError);
