import * as host from "#services";
import { ask, bytes, ServiceError, text } from "./basics.js";

const OPEN = "{secret:";

/** Stands in a header's value or a URL for a secret that is bound to the request's host. */
export const secret = (name) => `${OPEN}${name}}`;

/** A text for a header or a URL in which nothing stands for a secret. */
export const literal = (value) => text(value).replaceAll(OPEN, `${OPEN}}`);

const METHODS = ["get", "head", "post", "put", "patch", "delete"];

/** The contract's case of a method, by its name in any letters. */
export function methodCase(name) {
  const tag = text(name).toLowerCase();
  return METHODS.includes(tag) ? { tag } : { tag: "other", val: tag.toUpperCase() };
}

/** Headers as pairs, and the body: JSON brings its content type. */
export function content({ headers = {}, json, body = "" }) {
  const all = json === undefined ? headers : { "content-type": "application/json", ...headers };
  return {
    headers: Object.entries(all).map(([name, value]) => [name, text(value)]),
    body: bytes(json === undefined ? body : JSON.stringify(json)),
  };
}

class Response {
  constructor({ status, headers, body }) {
    this.status = status;
    this.headers = Object.fromEntries(headers);
    this.body = body;
  }

  get ok() {
    return this.status >= 200 && this.status < 300;
  }

  text() {
    return new TextDecoder().decode(this.body);
  }

  json() {
    return JSON.parse(this.text());
  }
}

const raw = ({ method = "get", url, ...rest }) =>
  ({ method: methodCase(method), target: { tag: "url", val: text(url) }, ...content(rest) });

const send = (request) => new Response(ask("http", () => host.http.send(raw(request))));

export const http = {
  request: (request) => send(request),
  get: (url, options) => send({ ...options, url, method: "get" }),
  head: (url, options) => send({ ...options, url, method: "head" }),
  post: (url, options) => send({ ...options, url, method: "post" }),
  put: (url, options) => send({ ...options, url, method: "put" }),
  patch: (url, options) => send({ ...options, url, method: "patch" }),
  delete: (url, options) => send({ ...options, url, method: "delete" }),
  sendAll: (requests) =>
    host.http.sendAll(requests.map(raw))
      .map(({ tag, val }) => (tag === "ok" ? new Response(val) : new ServiceError("http", val))),
};
