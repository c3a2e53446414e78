import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { beforeEach, test } from "node:test";

import { fake } from "@kassa/sdk/testing";

import { render } from "../examples/nowpayments-form/hook.js";

beforeEach(() => {
  fake.reset();
  fake.sign = (name, algorithm, message) => {
    assert.deepEqual([name, algorithm], ["ipn_key", "HMAC-SHA512"]);
    return createHmac("sha512", "key").update(message).digest();
  };
});

const invoice = {
  id: "inv_1", order_id: "A-7", title: "Tea & “cups”", payable_network: "tron", payable_asset: "USDT", amount: "12.50",
  payable_amount: "12.500017", credited_amount: "12.500017", destination_address: "TXYZ", payment_comment: null,
};
const rendered = (changes = {}, settings = {}) =>
  render({ kind: "invoice.paid", payload: { data: { invoice: { ...invoice, ...changes } } } }, { settings });

// As NOWPayments' documentation has it.
function sortObject(obj) {
  return Object.keys(obj).sort().reduce((result, key) => {
    result[key] = obj[key] && typeof obj[key] === "object" ? sortObject(obj[key]) : obj[key];
    return result;
  }, {});
}

test("a handler of NOWPayments takes it", () => {
  const settings = { currencies: { "tron/USDT": "usdttrc20" } };
  const { headers, body } = rendered({ base_amount_usd: "12.5" }, settings);
  assert.equal(
    body,
    '{"actually_paid":12.500017,"invoice_id":"inv_1","order_description":"Tea & “cups”","order_id":"A-7",' +
      '"pay_address":"TXYZ","pay_amount":12.500017,"pay_currency":"usdttrc20","payin_extra_id":null,' +
      '"payment_id":"inv_1","payment_status":"finished","price_amount":12.5,"price_currency":"usd"}',
  );
  for (const amount of ["100.00", "0.000001", "0.0000001", "1234567890.123456", "0.000000000000000000"]) {
    const { headers, body } = rendered({ credited_amount: amount });
    const again = JSON.stringify(sortObject(JSON.parse(body)));
    assert.equal(headers["x-nowpayments-sig"], createHmac("sha512", "key").update(again).digest("hex"), amount);
  }
  assert.equal(headers["content-type"], "application/json");
});

test("other events are passed over, and what is no invoice has a reason", () => {
  assert.equal(render({ kind: "deposit.confirmed", payload: {} }, { settings: {} }).tag, "unsupported");
  assert.equal(render({ kind: "invoice.paid", payload: null }, { settings: {} }).tag, "malformed");
});
