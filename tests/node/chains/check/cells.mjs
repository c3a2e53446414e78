// Transactions in their own cells, as the local TON's API v2 gives them: read by @ton/core.
import assert from "node:assert/strict";
import { Cell, loadTransaction } from "@ton/core";

import { check, fits } from "./kit.mjs";

const base64 = (bytes) => Buffer.from(bytes).toString("base64");

export async function checkCells(ton) {
  const { control } = ton;
  const told = async (account, more = "") =>
    (await ton.get(`/api/v3/transactions?account=${account}&limit=100&sort=desc${more}`)).transactions;
  const ask = ({ account, lt, hash: own }, from = "/api/v2", hash = own) => {
    const id = `address=${account}&lt=${lt}&hash=${encodeURIComponent(hash)}`;
    return ton.ask(`${from}/getTransactions?${id}&limit=1&archival=true`);
  };

  await check("ton: v2 gives each transaction in cells that have its hash", async () => {
    const { address } = await control("wallet", { name: "cells" });
    for (const comment of ["one", "ж".repeat(300), undefined])
      await control("send", { from: "bank", to: "cells", value: "7", comment });
    const rows = await told(address);
    assert.equal(rows.length, 3);
    for (const row of rows) {
      const { status, body } = await ask(row);
      assert.deepEqual([status, body.ok, body.result.length], [200, true, 1]);
      const [one] = body.result;
      fits(one, "ton.v2_transaction");
      assert.deepEqual([one.transaction_id.lt, one.transaction_id.hash], [row.lt, row.hash]);
      const cell = Cell.fromBase64(one.data);
      assert.equal(base64(cell.hash()), row.hash);
      const read = loadTransaction(cell.beginParse());
      assert.equal(String(read.lt), row.lt);
      assert.equal(String(read.inMessage.info.value.coins), row.in_msg.value);
      assert.equal(base64(read.inMessage.body.hash()), one.in_msg.body_hash);
      assert.deepEqual([one.in_msg.value, one.in_msg.hash], [row.in_msg.value, row.in_msg.hash]);
      assert.deepEqual((await ask(row, "/v2", Buffer.from(row.hash, "base64").toString("hex"))).body, body);
    }
    const all = await ton.get(`/api/v2/getTransactions?address=${address}&limit=100`);
    assert.deepEqual(
      all.result.map(({ transaction_id: id }) => id.lt),
      rows.map(({ lt }) => lt),
    );
    const [newest] = rows;
    const unknown = await ask({ ...newest, hash: base64(Buffer.alloc(32, 7)) });
    assert.deepEqual([unknown.status, unknown.body.ok, unknown.body.code], [500, false, 500]);
    assert.equal((await ton.ask("/api/v2/getTransactions?address=nonsense")).body.ok, false);
    assert.equal((await ton.ask("/api/v2/getNothing")).status, 404);
    assert.equal((await ask(newest, "/lagging/api/v2")).status, 500);
    await control("mine", { blocks: 5 });
    assert.equal((await ask(newest, "/lagging/api/v2")).status, 200);
    assert.equal((await ton.get("/v3/masterchainInfo")).last.seqno, (await control("state")).head);
  });
}
