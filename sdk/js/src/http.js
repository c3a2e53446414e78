import * as host from "#services";
import { ask, bytes, ServiceError, text } from "./basics.js";

class Secret {
  constructor(name) {
    this.name = name;
  }
}

/** Stands in a header for a secret that is bound to the request's host. */
export const secret = (name) => new Secret(name);

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

function raw({ method = "get", url, headers = {}, json, body = "" }) {
  const all = json === undefined ? headers : { "content-type": "application/json", ...headers };
  return {
    method,
    target: { tag: "url", val: text(url) },
    headers: Object.entries(all).map(([name, value]) => ({
      name,
      value: value instanceof Secret ? { tag: "secret", val: value.name } : { tag: "text", val: text(value) },
    })),
    body: bytes(json === undefined ? body : JSON.stringify(json)),
  };
}

const send = (request) => new Response(ask("http", () => host.http.send(raw(request))));

export const http = {
  get: (url, options) => send({ ...options, url, method: "get" }),
  post: (url, options) => send({ ...options, url, method: "post" }),
  put: (url, options) => send({ ...options, url, method: "put" }),
  delete: (url, options) => send({ ...options, url, method: "delete" }),
  sendAll: (requests) =>
    host.http.sendAll(requests.map(raw))
      .map(({ tag, val }) => (tag === "ok" ? new Response(val) : new ServiceError("http", val))),
};
