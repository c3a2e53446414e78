// What the two façades share: an HTTP server on loopback, JSON in and out, and arguments of the command line.
import { createServer } from "node:http";

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

/** The value of `--name`, or the default. */
export function argument(name, otherwise) {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : process.argv[at + 1];
}

/** The largest body that a request may have. */
const BODY_BYTES_MAX = 1 << 20;

async function read(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) throw new BadRequest("the body is too large");
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString("utf8");
  if (text === "") return {};
  try {
    return JSON.parse(text);
  } catch {
    throw new BadRequest("the body is no JSON");
  }
}

/**
 * Serves `answer(path, query, body, method)`, which gives `{status, body}`, and prints the address when ready.
 * Control calls are done one after another; what the chain serves is not kept waiting, for a control call sends
 * through the same door as any client.
 */
export async function serve(port, answer, onError) {
  let last = Promise.resolve();
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://localhost");
    let result;
    try {
      const body = await read(request);
      const turn = () => answer(url.pathname, url.searchParams, body, request.method);
      if (url.pathname.startsWith("/control/")) {
        const done = last.then(turn);
        last = done.catch(() => {});
        result = await done;
      } else {
        result = await turn();
      }
    } catch (error) {
      result = onError(error, url.pathname);
      if (!(error instanceof Refusal)) console.error(`${request.method} ${url.pathname}:`, error);
    }
    response.writeHead(result.status, { "content-type": "application/json" });
    response.end(JSON.stringify(result.body));
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  console.log(`Listening on 127.0.0.1:${server.address().port}`);
  return server.address().port;
}

let automine;

/** Mines a block every so many milliseconds, or no more when that is 0. */
function every({ every_ms: period = 0 }, url) {
  clearInterval(automine);
  const mine = () =>
    fetch(`${url}/control/mine`, { method: "POST" }).catch((error) => console.error("automine:", error));
  if (period > 0) automine = setInterval(mine, period);
  return { every_ms: period };
}

/** Does what the path names. Both chains have `automine`; the rest is theirs. */
export async function control(controls, path, body, url) {
  const name = path.slice("/control/".length);
  if (name === "automine") return { status: 200, body: every(body, url) };
  if (!Object.hasOwn(controls, name))
    throw new BadRequest(`no control ${name}; there are ${Object.keys(controls)}`);
  return { status: 200, body: (await controls[name](body)) ?? {} };
}
