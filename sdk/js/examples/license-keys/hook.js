import { done, reject, retry, storage, webhooks } from "@kassa/sdk";

/** @type {import("@kassa/sdk").Fulfill} */
export function fulfill({ kind, payload }) {
  const invoice = payload?.data?.invoice;
  if (!invoice) return reject(`${kind} is about no invoice; bind this hook to invoice.paid and invoice.overpaid`);

  const [storageKey] = storage.keys("key/", { limit: 1 });
  // What this invoice was given, and what is for sale next, by one question.
  const [sold, key] = storage.getMany([`sold/${invoice.id}`, ...(storageKey ? [storageKey] : [])]);
  if (sold !== null) return done(note(sold, invoice));
  if (!storageKey) return retry(300, "no keys left; put more into storage under key/");

  storage.delete(storageKey);
  storage.set(`sold/${invoice.id}`, key);
  webhooks.queue("hook.license.issued", { invoice_id: invoice.id, order_id: invoice.order_id, key });
  return done(note(key, invoice));
}

/** Notes are read by more people than keys are for. */
const note = (key, invoice) => `key …${[...key].slice(-4).join("")} for ${invoice.order_id ?? invoice.id}`;
