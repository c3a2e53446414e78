import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { storage } from "@kassa/sdk";
import { fake } from "@kassa/sdk/testing";

import { fulfill } from "../examples/license-keys/hook.js";

beforeEach(() => fake.reset());

const paid = (id, order_id = null) => ({ kind: "invoice.paid", payload: { data: { invoice: { id, order_id } } } });

test("each invoice gets one key, once", () => {
  storage.set("key/b", "BBBB-2222");
  storage.set("key/a", "AAAA-1111");
  const first = fulfill(paid("inv_1", "order-1"));
  assert.deepEqual(first, { tag: "done", val: "key …1111 for order-1" });
  assert.deepEqual(fake.queued, [{
    endpoint: null,
    event: "hook.license.issued",
    data: { invoice_id: "inv_1", order_id: "order-1", key: "AAAA-1111" },
  }]);
  assert.deepEqual(fulfill(paid("inv_1", "order-1")), first);
  assert.equal(fake.queued.length, 1);
  assert.deepEqual(storage.keys(""), ["key/b", "sold/inv_1"]);
  assert.equal(fulfill(paid("inv_2")).val, "key …2222 for inv_2");
});

test("without keys it waits, without an invoice it never will", () => {
  assert.deepEqual(fulfill(paid("inv_1")).val, [300, "no keys left; put more into storage under key/"]);
  assert.deepEqual(storage.keys(""), []);
  for (const payload of [{ data: {} }, {}, null]) {
    assert.equal(fulfill({ kind: "endpoint.test", payload }).tag, "reject");
  }
});
