// The host's services for tests under Node.js: storage in memory, and lists of what a hook did.

export const fake = {
  reset() {
    this.values = new Map();
    this.queued = [];
    this.requests = [];
    this.logs = [];
    this.nowMs = 1_767_225_600_000;
    this.answer = () => ({ error: { tag: "connection", val: "the test gives no answer; set fake.answer" } });
    this.sign = () => new Uint8Array(32);
    this.random = (count) => Uint8Array.from({ length: count }, (_, at) => at);
  },
};
fake.reset();

/** As the bindings throw a typed error. */
const fault = (tag, val) => Object.assign(new Error(tag), { payload: { tag, val } });

export const storage = {
  get: (key) => fake.values.get(key) ?? null,
  getMany: (keys) => keys.map(storage.get),
  set(key, value) {
    if (key === "" || key.includes("\0") || new TextEncoder().encode(key).length > 256) throw fault("bad-key");
    fake.values.set(key, value);
  },
  delete: (key) => void fake.values.delete(key),
  keys: (prefix, after, limit) =>
    [...fake.values.keys()]
      .filter((key) => key.startsWith(prefix) && (after === null || key > after))
      .sort()
      .slice(0, limit),
};

/** What a test sees of a request: as the hook gave it. */
function seen({ method, target, headers, body }) {
  const text = new TextDecoder().decode(body);
  const byName = Object.fromEntries(headers);
  const request = { method: method.val ?? method.tag, url: target.val, headers: byName, text };
  return byName["content-type"] === "application/json" ? { ...request, json: JSON.parse(text) } : request;
}

export const http = {
  send(raw) {
    const request = seen(raw);
    fake.requests.push(request);
    const { error, status = 200, headers = {}, json, text = json === undefined ? "" : JSON.stringify(json) } =
      fake.answer(request);
    if (error) throw fault(error.tag, error.val);
    return { status, headers: Object.entries(headers), body: new TextEncoder().encode(text) };
  },
  sendAll: (requests) =>
    requests.map((request) => {
      try {
        return { tag: "ok", val: http.send(request) };
      } catch (error) {
        return { tag: "err", val: error.payload };
      }
    }),
};

export const webhooks = {
  queue(endpoint, event, data) {
    if (!event.startsWith("hook.")) throw fault("malformed", "the event begins with hook.");
    fake.queued.push({ endpoint, event, data: JSON.parse(data) });
    return `evt_${fake.queued.length}`;
  },
};

export const secrets = { sign: (secret, algorithm, message) => fake.sign(secret, algorithm, message) };

export const random = {
  getBytes(count) {
    if (count > 4096) throw fault("quota", "4096 random bytes of a call");
    return fake.random(count);
  },
};

export const clock = { nowMs: () => fake.nowMs };
export const log = { write: (level, message) => void fake.logs.push({ level, message }) };
