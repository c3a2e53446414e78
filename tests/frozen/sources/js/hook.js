import { clock, done, http, log, pay, random, reject, secrets, storage, unknownPair, unsupported, webhooks } from "@kassa/sdk";

const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** @type {import("@kassa/sdk").Fulfill} */
export function fulfill({ payload }, { settings, attempt }) {
  const { id } = payload.data.invoice;
  storage.set("gone", "soon");
  storage.delete("gone");
  storage.set(`seen/${id}`, hex(random.bytes(8)));
  const keys = storage.keys("seen/", { limit: 10 });
  const [seen, gone] = storage.getMany([`seen/${id}`, "gone"]);
  if (!keys.includes(`seen/${id}`) || seen?.length !== 16 || gone !== null) return reject("the storage lost something");
  const response = http.post(`${settings.url}/told`, {
    headers: { authorization: "Bearer {secret:token}" },
    json: { id },
  });
  if (!response.ok) return reject(`status ${response.status}`);
  webhooks.queue("hook.frozen.told", { id });
  log.info(`attempt ${attempt}`);
  return done(`told of ${id}`);
}

/** @type {import("@kassa/sdk").MatchTransfer} */
export function matchTransfer(transfer, candidates) {
  log.info(`${transfer.amount} for one of ${candidates.length}`);
  return pay(0);
}

/** @type {import("@kassa/sdk").PriceOf} */
export function priceOf({ asset }) {
  return asset === "SBX" ? { mantissa: 25, scale: 2, atMs: clock.nowMs() } : unknownPair();
}

/** @type {import("@kassa/sdk").Render} */
export function render({ kind, payload }) {
  if (kind !== "invoice.paid") return unsupported(`no word for ${kind}`);
  const body = JSON.stringify({ paid: payload.data.invoice.id });
  const signature = hex(secrets.sign("key", "HMAC-SHA512", body));
  return { method: "put", headers: { "x-signature": signature }, body, taken: { statuses: [200, 204] } };
}
