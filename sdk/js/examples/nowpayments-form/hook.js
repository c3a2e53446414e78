import { malformed, secrets, unsupported } from "@kassa/sdk";

const STATUSES = {
  "invoice.detected": "confirming",
  "invoice.paid": "finished",
  "invoice.overpaid": "finished",
  "invoice.underpaid": "partially_paid",
  "invoice.expired": "expired",
  "invoice.cancelled": "failed",
  "invoice.reverted": "failed",
};

/** @type {import("@kassa/sdk").Render} */
export function render({ kind, payload }, { settings }) {
  const status = STATUSES[kind];
  if (!status) return unsupported(`${kind} is about no payment`);
  const invoice = payload?.data?.invoice;
  if (!invoice) return malformed("the payload has no invoice");

  const { payable_network: network, payable_asset: symbol } = invoice;
  const asset = settings.currencies?.[`${network}/${symbol}`] ?? symbol.toLowerCase();
  const usd = invoice.base_amount_usd;
  // A handler signs what it has read and sorted and written again, so the keys are sorted here too.
  const body = JSON.stringify({
    actually_paid: number(invoice.credited_amount),
    invoice_id: invoice.id,
    order_description: invoice.title,
    order_id: invoice.order_id,
    pay_address: invoice.destination_address,
    pay_amount: number(invoice.payable_amount),
    pay_currency: asset,
    payin_extra_id: invoice.payment_comment,
    payment_id: invoice.id,
    payment_status: status,
    price_amount: number(usd ?? invoice.amount),
    price_currency: usd ? "usd" : asset,
  });
  const signature = [...secrets.sign("ipn_key", "HMAC-SHA512", body)];
  return {
    headers: {
      "content-type": "application/json",
      "x-nowpayments-sig": signature.map((byte) => byte.toString(16).padStart(2, "0")).join(""),
    },
    body,
  };
}

/** A decimal as a number, or as it is where a number could not keep all digits. */
function number(decimal) {
  const digits = decimal.replace(".", "").replace(/^0+/, "");
  const small = /^0\.0{6}/.test(decimal) && Number(decimal) !== 0;
  return (decimal.includes(".") ? digits.replace(/0+$/, "") : digits).length > 15 || small ? decimal : Number(decimal);
}
