// The common control calls, checked alike on each chain: what a client of the chain sees of them.
import assert from "node:assert/strict";

import { check } from "./kit.mjs";

const LAG = 3;
const MEMO = "order 17 ✓";

/** `chain` is a running façade, `assets` what the network's manifest lists, `client(url)` one of clients.mjs. */
export async function checkCommon(name, chain, assets, client, { reorgs }) {
  const { control } = chain;
  const straight = client(chain.url);
  const behind = client(`${chain.url}/lagging`);
  const { addresses } = await control("prepare", { assets });
  const token = assets.find(({ contract }) => contract).contract;
  const both = [null, token];
  const is = (what, work) => check(`${name}: ${what}`, work);
  let units = 1_000_000;
  /** An amount of its own for each payment. */
  const next = () => String((units += 1017));

  await is("state is the head as a client sees it", async () => {
    const { head, final, hash } = await control("state");
    assert.deepEqual(await straight.head(), { height: head, hash });
    assert.ok(final <= head);
    assert.ok((await control("mine", { blocks: 2 })).head === head + 2);
  });

  await is("listed tokens stand at their own addresses, receivers are new", async () => {
    for (const { contract, decimals } of assets.filter((one) => one.contract))
      assert.equal(await straight.decimals(contract), decimals);
    const again = await control("prepare", { assets });
    assert.equal(new Set([...addresses, ...again.addresses]).size, 8);
    for (const address of addresses) assert.equal(await straight.received(address, token), 0n);
  });

  await is("a payment arrives, with its memo", async () => {
    for (const asset of both) {
      for (const to of addresses) {
        const before = await straight.received(to, asset);
        const paid = next();
        const { tx } = await control("pay", { to, asset, units: paid, memo: MEMO });
        assert.equal((await straight.received(to, asset)) - before, BigInt(paid));
        assert.equal(await straight.where(tx), (await control("state")).head);
        assert.equal((await straight.memo(tx, asset)) ?? MEMO, MEMO);
      }
    }
  });

  await is("several movements at once, and equal payments before a block", async () => {
    for (const asset of both) {
      const to = addresses[0];
      const before = await straight.received(to, asset);
      const paid = next();
      await control("pay", { to, asset, units: paid, memo: null, times: 3 });
      const waiting = [];
      for (let i = 0; i < 2; i++)
        waiting.push((await control("pay", { to, asset, units: paid, mine: 0 })).tx);
      assert.notEqual(waiting[0], waiting[1]);
      assert.equal(await straight.where(waiting[0]), undefined);
      const { head } = await control("mine");
      for (const tx of waiting) assert.equal(await straight.where(tx), head);
      assert.equal((await straight.received(to, asset)) - before, 5n * BigInt(paid));
    }
  });

  await is("what only looks like a payment is in a block and brings nothing", async () => {
    for (const to of addresses.slice(0, 2)) {
      for (const asset of both) {
        const all = () => Promise.all(both.map((one) => straight.received(to, one)));
        const before = await all();
        const { head } = await control("state");
        const { count } = await control("impostors", { to, asset, units: next(), memo: MEMO });
        assert.ok(count >= 3);
        assert.equal((await control("state")).head, head + 1);
        assert.deepEqual(await all(), before);
      }
    }
  });

  await is("a transfer of nothing is in a block", async () => {
    for (const asset of both) {
      const before = await straight.received(addresses[0], asset);
      const { tx } = await control("nothing", { to: addresses[0], asset, memo: null });
      assert.ok(asset === null || tx !== null);
      if (tx !== null) assert.equal(await straight.where(tx), (await control("state")).head);
      assert.equal(await straight.received(addresses[0], asset), before);
    }
  });

  await is("a payment that failed is in a block and brings nothing", async () => {
    for (const to of [addresses[1], addresses[2]]) {
      for (const asset of both) {
        const before = await straight.received(to, asset);
        const { txs } = await control("failure", { to, asset, units: "100000000", memo: MEMO });
        const { head } = await control("state");
        assert.ok(txs.length >= 1);
        for (const tx of txs) assert.equal(await straight.where(tx), head);
        assert.equal(await straight.received(to, asset), before);
      }
    }
  });

  await is("the owner of an address sends to it", async () => {
    const to = addresses[1];
    await control("pay", { to, asset: token, units: next() });
    const { head } = await control("state");
    assert.equal((await control("to_itself", { to, asset: token, units: "1000", memo: MEMO })).count, 1);
    assert.equal((await control("state")).head, head + 1);
  });

  await is("who is behind knows nothing of what is above, while others do", async () => {
    await control("mine", { blocks: LAG });
    for (const asset of both) {
      const to = addresses[0];
      const before = await straight.received(to, asset);
      const paid = next();
      const { tx } = await control("pay", { to, asset, units: paid });
      const seen = () =>
        Promise.all(
          [straight, behind].map(async (one) => ({
            head: (await one.head()).height,
            received: await one.received(to, asset),
            where: await one.where(tx),
          })),
        );
      const { head } = await control("state");
      const after = before + BigInt(paid);
      assert.deepEqual(await seen(), [
        { head, received: after, where: head },
        { head: head - LAG, received: before, where: undefined },
      ]);
      const there = await control("lag", { blocks: 1 });
      assert.deepEqual(await behind.head(), { height: there.head, hash: there.hash });
      assert.equal(there.head, head - 1);
      await control("lag", { blocks: LAG });
      await control("mine", { blocks: LAG });
      assert.deepEqual((await seen())[1], { head, received: after, where: head });
    }
  });

  await is("a reorg replaces blocks; what was paid is gone, or comes again in the last one", async () => {
    const to = addresses[3];
    for (const asset of both) {
      const before = await straight.received(to, asset);
      const paid = next();
      const { tx } = await control("pay", { to, asset, units: paid });
      const { head, hash } = await control("mine");
      const below = await straight.hash(head - 2);
      const gone = await control("reorg", { depth: 2, include: "none" });
      assert.deepEqual([gone.ancestor, gone.head], [head - 2, head + 1]);
      assert.notEqual(await straight.hash(head), hash);
      assert.equal(await straight.hash(head - 2), below);
      assert.equal(await straight.where(tx), undefined);
      assert.equal(await straight.received(to, asset), before);

      const moved = (await control("pay", { to, asset, units: paid })).tx;
      const later = await control("reorg", { depth: 1, include: "later" });
      assert.equal(await straight.received(to, asset), before + BigInt(paid));
      // On TON a transaction is another one in another block.
      if (reorgs) assert.equal(await straight.where(moved), later.head);
    }
  });

  await is("blocks come by themselves when asked to; it says whether they stay", async () => {
    const before = (await control("state")).head;
    await control("automine", { every_ms: 30 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    await control("automine", { every_ms: 0 });
    assert.ok((await control("state")).head > before);
    assert.equal((await control("describe")).reorgs, reorgs);
  });

  await is("refuses what it does not know", async () => {
    assert.equal((await chain.post("/control/nonsense")).status, 400);
    const unlisted = { to: addresses[0], asset: addresses[1], units: "1" };
    assert.equal((await chain.post("/control/pay", unlisted)).status, 400);
    assert.equal((await chain.post("/control/reorg", { depth: 0 })).status, 400);
  });
}
