// What the façades share: an HTTP server on loopback, control calls, and blocks that come by themselves.
import { createServer } from "node:http";

import { argument, endWithParent } from "./arguments.mjs";

/** What a caller did wrong, and the chain refuses: no fault of the façade, so its log does not show it. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Ours alone: what the suite asks for wrongly. The chains' own errors keep the shapes of the real servers. */
export class BadRequest extends Refusal {
  constructor(message) {
    super(400, message);
  }
}

/** The largest body that a request may have. */
const BODY_BYTES_MAX = 1 << 20;
/** Paths of the backend that is behind. */
const LAGGING = "/lagging";

async function read(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) throw new BadRequest("the body is too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** The JSON of a body; an empty one is an empty object. */
export function json(text) {
  if (text === "") return {};
  try {
    return JSON.parse(text);
  } catch {
    throw new BadRequest("the body is no JSON");
  }
}

/**
 * Serves a chain: `answer({path, query, method, text, lagging})` gives `{status, body}`, or `{status, text}` to be
 * sent as it is. `controls` are the calls of README.md. Control calls are done one after another; what the chain
 * serves is not kept waiting, for a control call sends through the same door as any client.
 */
export async function serve({ answer, controls, onError = asRefusal }) {
  endWithParent();
  let last = Promise.resolve();
  const calls = { ...controls, automine: (body) => automine(body, () => calls.mine({}), turn) };
  /** Does a control call when those before it are done. */
  function turn(work) {
    const done = last.then(work);
    last = done.catch(() => {});
    return done;
  }

  const server = createServer(async (request, response) => {
    const { pathname, searchParams: query } = new URL(request.url, "http://localhost");
    let result;
    try {
      const text = await read(request);
      if (pathname.startsWith("/control/")) {
        result = await turn(() => control(calls, pathname, json(text)));
      } else {
        const lagging = pathname === LAGGING || pathname.startsWith(`${LAGGING}/`);
        const path = lagging ? pathname.slice(LAGGING.length) : pathname;
        result = await answer({ path, query, text, lagging, method: request.method });
      }
    } catch (error) {
      result = (pathname.startsWith("/control/") ? asRefusal : onError)(error);
      if (!(error instanceof Refusal)) console.error(`${request.method} ${pathname}:`, error);
    }
    response.writeHead(result.status, { "content-type": "application/json" });
    response.end(result.text ?? JSON.stringify(result.body));
  });
  await new Promise((resolve) => server.listen(Number(argument("port", 0)), "127.0.0.1", resolve));
  console.log(`Listening on 127.0.0.1:${server.address().port}`);
  return `http://127.0.0.1:${server.address().port}`;
}

const asRefusal = (error) => ({
  status: error instanceof Refusal ? error.status : 500,
  body: { error: error.message ?? String(error) },
});

let timer;

/** Mines a block every so many milliseconds, or no more when that is 0. */
function automine({ every_ms: period = 0 }, mine, turn) {
  clearInterval(timer);
  const block = () => turn(mine).catch((error) => console.error("automine:", error));
  if (period > 0) timer = setInterval(block, period);
  return { every_ms: period };
}

/** Does what the path names. */
async function control(calls, path, body) {
  const name = path.slice("/control/".length);
  if (!Object.hasOwn(calls, name)) throw new BadRequest(`no control ${name}; there are ${Object.keys(calls)}`);
  return { status: 200, body: (await calls[name](body)) ?? {} };
}
