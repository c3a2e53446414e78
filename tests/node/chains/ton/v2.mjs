// toncenter's API v2, as far as the plugin uses it: transactions in their own cells.
import { Address } from "@ton/core";

import { base64, boc, messageCells, rawAddress, readMessage } from "./shapes.mjs";

const ROWS_MAX = 100;
const ROWS = 10;
/** What a lite server says of a transaction that it does not have, or does not have any more. */
const UNKNOWN = "LITE_SERVER_UNKNOWN: cannot locate transaction in block with specified logical time";

const friendly = (address, bounceable) => (address ? address.toString({ bounceable }) : "");
const text = (number) => String(number ?? 0);

function tellMessage(cell) {
  const { info, init, body } = readMessage(cell);
  const internal = info.type === "internal";
  return {
    "@type": "raw.message",
    hash: base64(cell.hash()),
    source: info.type === "external-in" ? "" : friendly(info.src, true),
    destination: info.type === "external-out" ? "" : friendly(info.dest, true),
    value: internal ? text(info.value.coins) : "0",
    extra_currencies: [],
    fwd_fee: internal ? text(info.forwardFee) : "0",
    ihr_fee: internal ? text(info.ihrFee) : "0",
    created_lt: text(info.createdLt),
    body_hash: base64(body.hash()),
    msg_data: { "@type": "msg.dataRaw", body: boc(body), init_state: init ? boc(init) : "" },
  };
}

function tellTransaction({ raw, told, account }) {
  const { inbound, outbound } = messageCells(raw);
  const storage = raw.description.storagePhase?.storageFeesCollected ?? 0n;
  const fees = raw.totalFees.coins;
  return {
    "@type": "raw.transaction",
    address: { "@type": "accountAddress", account_address: friendly(Address.parse(account), true) },
    utime: raw.now,
    data: boc(raw.raw),
    transaction_id: { "@type": "internal.transactionId", lt: told.lt, hash: told.hash },
    fee: text(fees),
    storage_fee: text(storage),
    other_fee: text(fees - storage),
    in_msg: inbound && tellMessage(inbound),
    out_msgs: outbound.map(tellMessage),
  };
}

const refused = (code, error) => ({ status: code, body: { ok: false, error, code } });

/** The API; `lag()` says how far it is behind, `{blocks, transactions}`. */
export function api(chain, lag) {
  /** From the newest, or from the one that is named, backwards. */
  function getTransactions(query) {
    const whole = (name, otherwise) => {
      const value = query.get(name) ?? "";
      return /^\d+$/.test(value) ? BigInt(value) : otherwise;
    };
    let account;
    try {
      account = rawAddress(Address.parse(query.get("address")));
    } catch {
      return refused(416, "Incorrect address");
    }
    const limit = Number(whole("limit", BigInt(ROWS)));
    if (limit < 1 || limit > ROWS_MAX) return refused(422, "limit is out of range");
    const rows = chain
      .visible(lag())
      .filter((one) => one.account === account)
      .reverse();
    const [lt, hash] = [whole("lt"), query.get("hash")];
    let first = 0;
    if (lt !== undefined && hash !== null) {
      const wanted = /^[0-9a-f]{64}$/i.test(hash) ? Buffer.from(hash, "hex") : Buffer.from(hash, "base64");
      first = rows.findIndex((one) => one.lt === lt && one.told.hash === base64(wanted));
      if (first === -1) return refused(500, UNKNOWN);
    }
    const found = rows.slice(first, first + limit).filter((one) => one.lt > whole("to_lt", 0n));
    return { status: 200, body: { ok: true, result: found.map(tellTransaction) } };
  }

  return (path, query, method) =>
    path === "/getTransactions" && method === "GET" ? getTransactions(query) : undefined;
}
