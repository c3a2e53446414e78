import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { storage } from "@kassa/sdk";
import { fake } from "@kassa/sdk/testing";

import { fulfill } from "../examples/telegram/hook.js";

beforeEach(() => fake.reset());

const API = "https://api.telegram.org/bot{secret:bot_token}";
const invoice = { id: "inv_1", order_id: "order-1", title: "Tea", amount: "12.50", payable_asset: "USDT", meta: null };
const run = (settings = { chat_id: "42" }, changes = {}) => fulfill(
  { kind: "invoice.paid", payload: { data: { invoice: { ...invoice, ...changes } } } },
  { run: "run_1", settings },
);
const sent = { json: { ok: true, result: { message_id: 5, invite_link: "https://t.me/+x" } } };

test("it sends the text to the chat", () => {
  fake.answer = () => sent;
  assert.deepEqual(run(), { tag: "done", val: "message 5" });
  const text = "{title}: {amount} {asset} for {order_id} {other}";
  run({ text, api_url: "http://localhost:1" }, { meta: { telegram_chat_id: 7 } });
  run({ chat_id: "42", text: "[{order_id}]" }, { order_id: null });
  assert.deepEqual(fake.requests.map(({ url, json }) => [url, json]), [
    [`${API}/sendMessage`, { chat_id: "42", text: "Paid: Tea" }],
    [
      "http://localhost:1/bot{secret:bot_token}/sendMessage",
      { chat_id: 7, text: "Tea: 12.50 USDT for order-1 {other}" },
    ],
    [`${API}/sendMessage`, { chat_id: "42", text: "[]" }],
  ]);
});

test("an invite link is made once for an invoice", () => {
  const settings = { chat_id: "42", invite_to: "-100", text: "Join: {invite}" };
  fake.answer = ({ url }) => (url.endsWith("/sendMessage") ? { status: 502, text: "<html>" } : sent);
  assert.deepEqual(run(settings), { tag: "retry", val: [30, "sendMessage: status 502"] });
  assert.equal(storage.get("invite/inv_1"), "https://t.me/+x");
  fake.answer = () => sent;
  assert.equal(run(settings).tag, "done");
  assert.deepEqual(fake.requests.map(({ url, json }) => [url, json]), [
    [`${API}/createChatInviteLink`, { chat_id: "-100", name: "run_1", member_limit: 1 }],
    [`${API}/sendMessage`, { chat_id: "42", text: "Join: https://t.me/+x" }],
    [`${API}/sendMessage`, { chat_id: "42", text: "Join: https://t.me/+x" }],
  ]);
});

const failures = [
  [{ status: 429, json: { ok: false, description: "Too Many Requests", parameters: { retry_after: 7 } } }, "retry", 7],
  [{ status: 429, text: "slow down" }, "retry", 30],
  [{ status: 500, text: "" }, "retry", 30],
  [{ status: 200, text: "<html>" }, "retry", 30],
  [{ error: { tag: "timeout" } }, "retry", 30],
  [{ error: { tag: "connection", val: "refused" } }, "retry", 30],
  [{ error: { tag: "denied", val: "api.telegram.org" } }, "reject", "http: denied: api.telegram.org"],
  [{ status: 400, json: { ok: false, description: "chat not found" } }, "reject", "sendMessage: chat not found"],
  [{ status: 403, text: "null" }, "reject", "sendMessage: status 403"],
];

for (const [answer, tag, val] of failures) {
  test(`${JSON.stringify(answer)} is a ${tag}`, () => {
    fake.answer = () => answer;
    const outcome = run();
    assert.equal(outcome.tag, tag);
    assert.equal(tag === "retry" ? outcome.val[0] : outcome.val, val);
  });
}

test("no chat and no invoice are for a person", () => {
  assert.match(run({}).val, /chat_id/);
  assert.match(fulfill({ kind: "endpoint.test", payload: { data: {} } }, { settings: {} }).val, /no invoice/);
  assert.deepEqual(fake.requests, []);
});
