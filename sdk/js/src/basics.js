// The services that need little: text and JSON beside bytes, and errors that say what happened.
import * as host from "#services";

/** What a service answers when it cannot. `kind` is the case's name in the contract, `detail` what it carries. */
export class ServiceError extends Error {
  constructor(service, { tag, val }) {
    super(`${service}: ${tag}${val === undefined ? "" : `: ${val}`}`);
    this.name = "ServiceError";
    this.service = service;
    this.kind = tag;
    this.detail = val;
  }
}

/** Calls a service; the bindings throw its typed error as `payload`. */
export function ask(service, call) {
  try {
    return call();
  } catch (error) {
    throw error.payload ? new ServiceError(service, error.payload) : error;
  }
}

/** Half of a surrogate pair is no Unicode, and would end the run at the boundary. */
export const text = (value) => String(value).toWellFormed();

export const bytes = (value) => (value instanceof Uint8Array ? value : new TextEncoder().encode(value));

export const storage = {
  getBytes: (key) => ask("storage", () => host.storage.get(text(key))),
  get: (key) => {
    const value = storage.getBytes(key);
    return value && new TextDecoder().decode(value);
  },
  getJson: (key) => {
    const value = storage.get(key);
    return value && JSON.parse(value);
  },
  getManyBytes: (keys) =>
    ask("storage", () => host.storage.getMany(keys.map(text))).map((value) => value ?? null),
  getMany: (keys) => storage.getManyBytes(keys).map((value) => value && new TextDecoder().decode(value)),
  set: (key, value) => ask("storage", () => host.storage.set(text(key), bytes(value))),
  setJson: (key, value) => storage.set(key, JSON.stringify(value)),
  delete: (key) => ask("storage", () => host.storage.delete(text(key))),
  keys: (prefix, { after = null, limit = 1000 } = {}) =>
    ask("storage", () => host.storage.keys(text(prefix), after && text(after), limit)),
};

export const webhooks = {
  queue: (event, data, endpoint = null) =>
    ask("webhooks", () => host.webhooks.queue(endpoint, text(event), text(JSON.stringify(data)))),
};

export const secrets = {
  sign: (secret, algorithm, message) =>
    ask("secrets", () => host.secrets.sign(text(secret), text(algorithm), bytes(message))),
};

export const random = {
  bytes: (count) => ask("random", () => host.random.getBytes(count)),
};

export const clock = {
  nowMs: () => host.clock.nowMs(),
};

export const log = {
  debug: (message) => host.log.write("debug", text(message)),
  info: (message) => host.log.write("info", text(message)),
  warn: (message) => host.log.write("warn", text(message)),
  error: (message) => host.log.write("error", text(message)),
};
