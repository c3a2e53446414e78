import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import {
  clock, done, http, literal, log, noPrice, pass, pay, random, reject, retry, review, secret, secrets, ServiceError,
  split, storage, unknownPair, unsupported, webhooks,
} from "@kassa/sdk";
import { fake } from "@kassa/sdk/testing";

import * as roles from "../src/roles.js";

beforeEach(() => fake.reset());

test("storage keeps text, bytes and JSON", () => {
  storage.set("a/1", "тест");
  storage.setJson("a/2", { n: [1, null] });
  storage.set("b", new Uint8Array([255]));
  assert.equal(storage.get("a/1"), "тест");
  assert.deepEqual(storage.getJson("a/2"), { n: [1, null] });
  assert.deepEqual(storage.getBytes("b"), new Uint8Array([255]));
  assert.deepEqual([storage.get("none"), storage.getBytes("none"), storage.getJson("none")], [null, null, null]);
  assert.deepEqual(storage.getMany(["none", "a/1", "b"]), [null, "тест", "\ufffd"]);
  assert.deepEqual(storage.getManyBytes(["b", "none"]), [new Uint8Array([255]), null]);
  assert.deepEqual(storage.keys("a/"), ["a/1", "a/2"]);
  assert.deepEqual(storage.keys("a/", { after: "a/1" }), ["a/2"]);
  assert.deepEqual(storage.keys("", { limit: 1 }), ["a/1"]);
  storage.delete("a/1");
  assert.equal(storage.get("a/1"), null);
  assert.throws(() => storage.set("", "x"), { name: "ServiceError", service: "storage", kind: "bad-key" });
});

test("http sends JSON, text and secrets, and answers what came", () => {
  fake.answer = () => ({ status: 201, headers: { "x-a": "1" }, json: { id: 7 } });
  const headers = { authorization: `Bearer ${secret("token")}` };
  const response = http.post("https://a.example/{secret:key}", { json: { a: 1 }, headers });
  assert.deepEqual([response.status, response.ok, response.headers], [201, true, { "x-a": "1" }]);
  assert.deepEqual(response.json(), { id: 7 });
  assert.deepEqual(fake.requests, [{
    method: "post",
    url: "https://a.example/{secret:key}",
    headers: { "content-type": "application/json", authorization: "Bearer {secret:token}" },
    text: '{"a":1}',
    json: { a: 1 },
  }]);

  fake.answer = ({ method, text }) => ({ status: 404, text: `${method} ${text}` });
  assert.equal(http.put("https://a.example", { body: "b" }).text(), "put b");
  assert.equal(http.get("https://a.example").text(), "get ");
  assert.equal(http.delete("https://a.example").ok, false);
  assert.equal(http.head("https://a.example").text(), "head ");
  assert.equal(http.patch("https://a.example", { json: [1] }).text(), "patch [1]");
  assert.equal(http.request({ method: "propfind", url: "https://a.example" }).text(), "PROPFIND ");
  assert.equal(literal("{secret:a} {b}"), "{secret:}a} {b}");
});

test("http says why there was no answer", () => {
  fake.answer = ({ url }) => (url.endsWith("/a") ? { text: "a" } : { error: { tag: "rate-limited", val: 700 } });
  assert.throws(() => http.get("https://x.example/b"), {
    name: "ServiceError", service: "http", kind: "rate-limited", detail: 700, message: "http: rate-limited: 700",
  });
  fake.requests = [];
  const [a, b] = http.sendAll([
    { url: "https://x.example/a" },
    { method: "post", url: "https://x.example/b", json: 1 },
  ]);
  assert.equal(a.text(), "a");
  assert.ok(b instanceof ServiceError);
  assert.deepEqual(fake.requests.map(({ method }) => method), ["get", "post"]);
});

test("webhooks, secrets, the clock and the log reach the host", () => {
  assert.equal(webhooks.queue("hook.a", { b: 1 }), "evt_1");
  webhooks.queue("hook.a", {}, "ep_1");
  assert.deepEqual(fake.queued.map(({ endpoint }) => endpoint), [null, "ep_1"]);
  assert.throws(() => webhooks.queue("a", {}), { kind: "malformed" });
  fake.sign = (...parts) => Uint8Array.from(parts.map(({ length }) => length));
  assert.deepEqual(secrets.sign("key", "ES256", "ab"), new Uint8Array([3, 5, 2]));
  assert.deepEqual(random.bytes(3), new Uint8Array([0, 1, 2]));
  assert.throws(() => random.bytes(4097), { name: "ServiceError", service: "random", kind: "quota" });
  assert.equal(clock.nowMs(), fake.nowMs);
  log.warn("half \ud83c");
  assert.deepEqual(fake.logs, [{ level: "warn", message: "half \ufffd" }]);
});

test("outcomes have the contract's form", () => {
  assert.deepEqual(done(), { tag: "done", val: "" });
  assert.deepEqual(reject("why"), { tag: "reject", val: "why" });
  assert.deepEqual(retry(1.2, "why"), { tag: "retry", val: [2, "why"] });
  assert.deepEqual(retry(1e12, "why"), { tag: "retry", val: [2147483647, "why"] });
  assert.throws(() => retry(Number("soon"), "why"), /no number of seconds/);
});

const context = { nowMs: 1, settings: '{"a":1}' };

test("a fulfiller gets JSON as objects", () => {
  const { fulfill } = roles.fulfiller(({ kind, payload }, { settings }) => done(`${kind} ${payload.x} ${settings.a}`));
  assert.deepEqual(fulfill({ kind: "k", payload: '{"x":2}' }, context), done("k 2 1"));
  assert.equal(fulfill({ kind: "k", payload: "nonsense" }, context).tag, "reject");
});

test("what ends a run is in the log", () => {
  const run = (fulfill) => () => roles.fulfiller(fulfill).fulfill({ payload: "{}" }, context);
  assert.throws(run(() => { throw new Error("told"); }), /told/);
  assert.throws(run(() => { throw "told"; }));
  assert.throws(run(async () => done()), /promise/);
  assert.throws(run(() => undefined), /answered undefined/);
  assert.deepEqual(fake.logs.map(({ level }) => level), ["error", "error", "error", "error"]);
  assert.match(fake.logs[0].message, /^Error: told\n.*at /s);
});

const word = (amount, shift) => Number(BigInt.asUintN(32, amount >> shift));
const words = (amount) => ({ w3: word(amount, 96n), w2: word(amount, 64n), w1: word(amount, 32n), w0: word(amount, 0n) });
const candidate = (due) => ({ due: words(due), received: words(0n), tag: "", orderId: "" });
const match = (hook, amount, candidates) =>
  roles.matcher(hook).matchTransfer({ tx: "1", amount }, candidates, context);

test("a matcher counts in BigInt", () => {
  const both = (transfer, [first]) => split([
    { candidate: 0, amount: first.due },
    { candidate: 1, amount: transfer.amount - first.due - first.received },
  ]);
  const sum = (3n << 64n) + 12n;
  assert.deepEqual(match(both, words(sum), [candidate(5n), candidate(9n)]), {
    tag: "split",
    val: [{ candidate: 0, amount: words(5n) }, { candidate: 1, amount: { w3: 0, w2: 3, w1: 0, w0: 7 } }],
  });
  assert.deepEqual(match(() => pay(1), words(1n), []), { tag: "pay", val: 1 });
  assert.deepEqual(match(() => review("why"), words(1n), []), { tag: "review", val: "why" });
  assert.deepEqual(match(({ amount }) => (amount === null ? pass() : pay(0)), null, []), { tag: "pass" });
});

test("every amount is exact", () => {
  const most = (1n << 128n) - 1n;
  const echo = ({ amount }) => split([{ candidate: 0, amount }]);
  for (const amount of [0n, 1n, 2n ** 53n + 1n, 2n ** 64n - 1n, most]) {
    assert.deepEqual(match(echo, words(amount), []).val, [{ candidate: 0, amount: words(amount) }]);
  }
  for (const amount of [-1n, most + 1n, 5]) {
    assert.throws(() => match(() => split([{ candidate: 0, amount }]), words(1n), []), /from 0 to 2\^128/);
  }
});

test("a price is a number, or an error of the contract", () => {
  const price = (answer) => roles.rates(() => answer).priceOf({}, context);
  assert.deepEqual(price({ mantissa: 12n, scale: 1, atMs: 5 }), { mantissa: 12, scale: 1, atMs: 5, more: [] });
  assert.throws(() => price({ mantissa: 2n ** 60n, scale: 1, atMs: 5 }), /fewer digits/);
  for (const answer of [unknownPair(), noPrice("down")]) {
    assert.throws(() => price(answer), (thrown) => thrown.tag === answer.tag);
  }
});

test("a form answers a request, or why there is none", () => {
  const delivery = (payload) => ({ id: "dlv_1", event: "evt_1", kind: "invoice.paid", payload });
  const told = { nowMs: 1, settings: "{}", secrets: ["key"] };
  const render = (hook, payload = "{}") => roles.form(hook).render(delivery(payload), told);
  const signed = ({ payload, payloadText }, { secrets: names }) => ({
    headers: { "x-sig": secrets.sign(names[0], "HMAC-SHA512", payloadText).join() },
    json: payload,
    taken: { statuses: [200], body: "ok" },
  });
  fake.sign = () => new Uint8Array([7]);
  assert.deepEqual(render(signed, '{"a":1}'), {
    method: { tag: "post" },
    headers: [["content-type", "application/json"], ["x-sig", "7"]],
    body: new TextEncoder().encode('{"a":1}'),
    taken: { statuses: [200], body: "ok", more: [] },
    more: [],
  });
  assert.deepEqual(render(() => ({ method: "put" })), {
    method: { tag: "put" }, headers: [], body: new Uint8Array(), taken: { statuses: [], body: null, more: [] }, more: [],
  });
  assert.throws(() => render(() => unsupported("why")), (thrown) => thrown.tag === "unsupported");
  assert.throws(() => render(signed, "nonsense"), (thrown) => thrown.tag === "malformed");
  fake.sign = () => { throw Object.assign(new Error(), { payload: { tag: "unknown", val: "key" } }); };
  assert.throws(() => render(signed), ({ tag, val }) => tag === "secret" && /unknown: key/.test(val));
  assert.throws(() => render(async () => ({})), /promise/);
});
