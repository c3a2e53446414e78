// The local TON, driven by @ton/ton and @ton/core alone.
import assert from "node:assert/strict";
import { Address, beginCell, Cell, external, internal, loadTransaction, storeMessage } from "@ton/core";
import { keyPairFromSeed, sha256_sync } from "@ton/crypto";
import { WalletContractV5R1 } from "@ton/ton";

import { checkCells } from "./cells.mjs";
import { check, fits } from "./kit.mjs";

const base64 = (bytes) => Buffer.from(bytes).toString("base64");
const hashOf = (boc) => base64(Cell.fromBase64(boc).hash());
const hexToBase64 = (text) => base64(Buffer.from(text, "hex"));
const toBoc = (cell) => cell.toBoc().toString("base64");
const TRANSFER_IN = "0x178d4519";
const NOTIFICATION = "0x7362d09c";

export async function checkTon(ton, assets) {
  const api = (path) => ton.get(`/api/v3${path}`);
  const { control } = ton;
  const get = async (address, method, stack = []) =>
    (await ton.post("/runGetMethod", { address, method, stack })).body;
  const of = async (address, more = "") =>
    (await api(`/transactions?account=${address}&limit=1000&sort=asc${more}`)).transactions;
  const last = async (address) => (await of(address)).at(-1);

  await check("ton: masterchain blocks have the recorded shape and follow each other", async () => {
    await control("mine", { blocks: 30 });
    const { blocks } = await api("/blocks?workchain=-1&limit=1000&sort=desc");
    blocks.reverse();
    for (const [i, block] of blocks.entries()) {
      fits(block, "ton.block");
      if (i === 0) continue;
      assert.deepEqual(block.prev_blocks, [
        { workchain: -1, shard: "8000000000000000", seqno: blocks[i - 1].seqno },
      ]);
      assert.equal(block.seqno, blocks[i - 1].seqno + 1);
      assert.ok(
        BigInt(block.start_lt) >= BigInt(blocks[i - 1].end_lt) &&
          BigInt(block.end_lt) > BigInt(block.start_lt),
      );
      assert.ok(Number(block.gen_utime) >= Number(blocks[i - 1].gen_utime));
    }
    assert.equal(new Set(blocks.map(({ root_hash }) => root_hash)).size, blocks.length);
    const { first, last: head } = await api("/masterchainInfo");
    assert.deepEqual(head, blocks.at(-1));
    assert.deepEqual((await api("/blocks?workchain=-1&limit=1&sort=asc")).blocks, [first]);
    const page = await api("/blocks?workchain=-1&limit=3&offset=2&sort=desc");
    assert.deepEqual(page.blocks, blocks.slice(-5, -2).reverse());
    assert.deepEqual((await api(`/blocks?workchain=-1&seqno=${blocks[4].seqno}`)).blocks, [blocks[4]]);
    const shard = (await api(`/blocks?workchain=0&mc_seqno=${head.seqno}`)).blocks;
    assert.deepEqual(
      shard.map((one) => one.masterchain_block_ref.seqno),
      [head.seqno],
    );
  });

  await control("wallet", { name: "alice", version: "v4", fund: "50000000000" });
  await control("wallet", { name: "bob", fund: "50000000000" });
  const shop = await control("wallet", { name: "shop" });

  /** What the control call answered, found by hash, equal to what @ton/core reads from the cell. */
  async function verified({ hash, boc }) {
    assert.equal(hashOf(boc), hash);
    const [told] = (await api(`/transactions?hash=${encodeURIComponent(hash)}`)).transactions;
    fits(told, "ton.transaction");
    const read = loadTransaction(Cell.fromBase64(boc).beginParse());
    assert.equal(String(read.lt), told.lt);
    assert.equal(read.now, told.now);
    assert.equal(String(read.prevTransactionLt), told.prev_trans_lt);
    assert.equal(read.address.toString(16).padStart(64, "0").toUpperCase(), told.account.slice(2));
    assert.equal(read.outMessagesCount, told.out_msgs.length);
    assert.equal(read.description.aborted, told.description.aborted);
    assert.equal(String(read.totalFees.coins), told.total_fees);
    for (const { message_content: content } of [told.in_msg, ...told.out_msgs])
      assert.equal(hashOf(content.body), content.hash);
    assert.equal(base64(read.inMessage.body.hash()), told.in_msg.message_content.hash);
    return told;
  }

  await check("ton: a payment with a comment arrives at an address without a contract", async () => {
    const sent = await control("send", {
      from: "alice",
      to: "shop",
      value: "1000000000",
      comment: "order-1",
    });
    const told = await Promise.all(sent.transactions.map(verified));
    assert.deepEqual(
      told.map(({ mc_block_seqno }) => mc_block_seqno),
      [sent.head, sent.head],
    );
    const paid = told[1];
    assert.equal(paid.account, shop.address);
    assert.deepEqual(
      [paid.description.aborted, paid.description.compute_ph.reason, paid.in_msg.value],
      [true, "no_state", "1000000000"],
    );
    assert.equal(paid.in_msg.opcode, "0x00000000");
    const body = Cell.fromBase64(paid.in_msg.message_content.body).beginParse();
    assert.equal(body.loadUint(32), 0);
    assert.equal(body.loadStringTail(), "order-1");
    assert.equal((await control("balance", { of: "shop" })).balance, "1000000000");
    assert.equal(paid.in_msg.hash, told[0].out_msgs[0].hash);
    assert.equal(told[0].in_msg.source, null);
    // By either transaction and by either message it is the same trace.
    const hex = (hash) => Buffer.from(hash, "base64").toString("hex");
    for (const [by, hash] of [
      ["tx_hash", told[0].hash],
      ["tx_hash", paid.hash],
      ["msg_hash", told[0].in_msg.hash],
      ["msg_hash", paid.in_msg.hash],
    ]) {
      const { traces } = await api(`/traces?${by}=${hex(hash)}&include_actions=false&limit=1`);
      assert.equal(traces.length, 1);
      assert.deepEqual(traces[0].transactions_order, [told[0].hash, paid.hash]);
      assert.deepEqual(traces[0].transactions[paid.hash], paid);
    }
    assert.deepEqual((await api(`/traces?tx_hash=${"ab".repeat(32)}`)).traces, []);
  });

  await check(
    "ton: other bodies: long, binary, as if encrypted, none, three at once, what bounces",
    async () => {
      const long = "ж".repeat(300);
      await control("send", { from: "bob", to: "shop", value: "1", comment: long });
      const body = Cell.fromBase64((await last(shop.address)).in_msg.message_content.body).beginParse();
      body.loadUint(32);
      assert.equal(body.loadStringTail(), long);
      await control("send", { from: "bob", to: "shop", value: "2", binary: "00ff10" });
      const binary = Cell.fromBase64((await last(shop.address)).in_msg.message_content.body).beginParse();
      assert.equal(binary.loadUintBig(64), 0xff00_ff10n);
      await control("send", { from: "bob", to: "shop", value: "3", encrypted: "abcd" });
      assert.equal((await last(shop.address)).in_msg.opcode, "0x2167da4b");
      await control("send", { from: "bob", to: "shop", value: "4" });
      const bare = (await last(shop.address)).in_msg;
      assert.deepEqual([bare.opcode, bare.value], [null, "4"]);
      const before = (await of(shop.address)).length;
      await control("send", { from: "bob", to: "shop", value: "5", comment: "three", times: 3 });
      assert.equal((await of(shop.address)).length, before + 3);
      const back = await control("send", {
        from: "alice",
        to: "shop",
        value: "1000000000",
        comment: "bounce",
        bounce: true,
      });
      const refused = await last(shop.address);
      fits(refused, "ton.transaction");
      assert.equal(refused.description.bounce.type, "ok");
      assert.equal(back.transactions.at(-1).opcode, "0xffffffff");
    },
  );

  await check("ton: an account's transactions are linked by lt and hash; cursors are inclusive", async () => {
    const rows = await of(shop.address);
    for (let i = 1; i < rows.length; i++) {
      assert.ok(BigInt(rows[i].lt) > BigInt(rows[i - 1].lt));
      assert.deepEqual([rows[i].prev_trans_lt, rows[i].prev_trans_hash], [rows[i - 1].lt, rows[i - 1].hash]);
      const {
        blocks: [block],
      } = await api(`/blocks?workchain=-1&seqno=${rows[i].mc_block_seqno}`);
      assert.ok(BigInt(block.start_lt) < BigInt(rows[i].lt) && BigInt(rows[i].lt) < BigInt(block.end_lt));
    }
    assert.deepEqual(
      await of(shop.non_bounceable, `&start_lt=${rows[2].lt}&end_lt=${rows[3].lt}`),
      rows.slice(2, 4),
    );
    const newest = (await api(`/transactions?account=${shop.address}&limit=2`)).transactions;
    assert.deepEqual(newest, rows.slice(-2).reverse());
    const inBlock = (
      await api(`/transactionsByMasterchainBlock?seqno=${rows[0].mc_block_seqno}&sort=asc&limit=100`)
    ).transactions;
    assert.deepEqual(
      inBlock,
      (await api(`/transactions?mc_seqno=${rows[0].mc_block_seqno}&sort=asc&limit=100`)).transactions,
    );
    assert.equal((await ton.ask("/api/v3/transactions?account=nonsense")).status, 422);
    assert.equal((await ton.ask("/api/v3/transactions?limit=1001")).status, 422);
    const [state] = (await api(`/accountStates?address=${shop.address}`)).accounts;
    fits(state, "ton.account");
    assert.deepEqual([state.last_transaction_hash, state.status], [rows.at(-1).hash, "uninit"]);
  });

  const usdt = await control("deploy_jetton", { name: "usdt", decimals: 6 });
  await control("mint", { jetton: "usdt", to: "alice", units: "1000000000" });
  const mine = await control("jetton_wallet", { jetton: "usdt", owner: "shop" });
  const pay = (more) =>
    control("send_jetton", { from: "alice", jetton: "usdt", to: "shop", units: "25000000", ...more });

  await check(
    "ton: the jetton is the standard one; its master tells where an owner's wallet is",
    async () => {
      const owner = toBoc(beginCell().storeAddress(Address.parse(shop.address)).endCell());
      const { exit_code, stack } = await get(usdt.address, "get_wallet_address", [
        { type: "slice", value: owner },
      ]);
      assert.equal(exit_code, 0);
      assert.equal(
        Cell.fromBase64(stack[0].value).beginParse().loadAddress().toRawString().toUpperCase(),
        mine.address,
      );
      const data = await get(usdt.address, "get_jetton_data");
      assert.equal(BigInt(data.stack[0].value), 1_000_000_000n);
      assert.equal((await get(mine.address, "get_wallet_data")).exit_code, -13);
      assert.match(hashOf(data.stack[4].value), /^p2DWKdU0/);
    },
  );

  await check(
    "ton: jettons with the comment inline, by reference, with nothing forwarded, malformed",
    async () => {
      const inside = async () => {
        const told = await last(mine.address);
        assert.deepEqual(
          [told.in_msg.opcode, told.description.aborted, told.description.compute_ph.success],
          [TRANSFER_IN, false, true],
        );
        const body = Cell.fromBase64(told.in_msg.message_content.body).beginParse();
        body.skip(32 + 64);
        assert.equal(body.loadCoins(), 25_000_000n);
        assert.equal(
          body.loadAddress().toRawString().toUpperCase(),
          (await control("wallet", { name: "alice" })).address,
        );
        body.loadMaybeAddress();
        body.loadCoins();
        return { told, body };
      };
      const sent = await pay({ comment: "order-2", payload: "inline" });
      await Promise.all(sent.transactions.map(verified));
      const inline = await inside();
      assert.equal(inline.body.loadBit(), false);
      assert.equal(inline.body.loadUint(32), 0);
      assert.equal(inline.body.loadStringTail(), "order-2");
      assert.deepEqual(
        [(await last(shop.address)).in_msg.opcode, (await last(shop.address)).in_msg.value],
        [NOTIFICATION, "1"],
      );
      await pay({ comment: "order-3", forward: "0" });
      const ref = await inside();
      assert.equal(ref.body.loadBit(), true);
      assert.equal(ref.body.loadRef().beginParse().skip(32).loadStringTail(), "order-3");
      assert.equal(
        ref.told.out_msgs.some(({ opcode }) => opcode === NOTIFICATION),
        false,
      );
      await pay({ payload: "malformed" });
      assert.equal((await inside()).body.remainingRefs, 0);
      const [wallet] = (
        await api(`/jetton/wallets?owner_address=${shop.address}&jetton_address=${usdt.address}`)
      ).jetton_wallets;
      fits(wallet, "ton.jetton_wallet");
      assert.deepEqual([wallet.address, wallet.balance], [mine.address, "75000000"]);
      assert.equal(BigInt((await get(mine.address, "get_wallet_data")).stack[0].value), 75_000_000n);
      const { jetton_transfers: rows } = await api(
        `/jetton/transfers?owner_address=${shop.address}&direction=in&sort=asc`,
      );
      rows.forEach((row) => fits(row, "ton.jetton_transfer"));
      // As on the real server: what lies inline is lost there.
      assert.deepEqual(
        rows.map(({ forward_payload }) => forward_payload !== null),
        [false, true],
      );
    },
  );

  await check(
    "ton: forgeries: a notification from anyone, a sibling that is none, the same code with another master",
    async () => {
      await control("forge_notification", {
        from: "bob",
        to: "shop",
        units: "777",
        claimed_from: "alice",
        comment: "order-4",
      });
      const forged = await last(shop.address);
      assert.equal(forged.in_msg.opcode, NOTIFICATION);
      assert.notEqual(forged.in_msg.source, mine.address);
      await control("forge_internal_transfer", { from: "bob", jetton: "usdt", to: "shop", units: "777" });
      const refused = await last(mine.address);
      fits(refused, "ton.transaction");
      assert.deepEqual(
        [
          refused.in_msg.opcode,
          refused.description.aborted,
          refused.description.compute_ph.exit_code,
          refused.description.bounce.type,
        ],
        [TRANSFER_IN, true, 707, "ok"],
      );
      const fake = await control("deploy_jetton", { name: "fake", admin: "bob" });
      await control("mint", { jetton: "fake", to: "bob", units: "1000" });
      await control("send_jetton", {
        from: "bob",
        jetton: "fake",
        to: "shop",
        units: "1000",
        comment: "order-5",
      });
      const theirs = await control("jetton_wallet", { jetton: "fake", owner: "shop" });
      assert.notEqual(theirs.address, mine.address);
      const notified = await last(shop.address);
      assert.deepEqual([notified.in_msg.opcode, notified.in_msg.source], [NOTIFICATION, theirs.address]);
      const { jetton_wallets: rows } = await api(`/jetton/wallets?owner_address=${shop.address}`);
      assert.deepEqual(rows.map(({ jetton }) => jetton).sort(), [usdt.address, fake.address].sort());
      assert.equal(rows[0].code_hash, rows[1].code_hash);
    },
  );

  await check("ton: a trace may take several blocks; the index may trail behind the state", async () => {
    const sent = await pay({ comment: "spread", spread: true });
    const seqnos = sent.transactions.map(({ mc_block_seqno }) => mc_block_seqno);
    assert.equal(new Set(seqnos).size, seqnos.length);
    await control("lag", { blocks: 2, transactions: 1 });
    const { head } = await pay({ comment: "late" });
    const behind = (path) => ton.get(`/lagging/api/v3${path}`);
    const balance = async (from) =>
      (await from(`/jetton/wallets?address=${mine.address}`)).jetton_wallets[0].balance;
    assert.equal((await behind("/masterchainInfo")).last.seqno, head - 2);
    assert.ok((await behind("/transactions?limit=1")).transactions[0].mc_block_seqno <= head - 3);
    assert.equal(BigInt((await get(mine.address, "get_wallet_data")).stack[0].value), 125_000_000n);
    assert.notEqual(await balance(behind), "125000000");
    assert.equal(await balance(api), "125000000");
    await control("lag", {});
    assert.equal((await behind("/masterchainInfo")).last.seqno, head - 3);
  });

  await check(
    "ton: blocks are taken back: their transactions are gone, or happen again elsewhere",
    async () => {
      await pay({ comment: "for good" });
      const kept = await of(mine.address);
      const { head } = await pay({ comment: "taken back" });
      const lost = await last(mine.address);
      const before = (await api("/blocks?workchain=-1&limit=2")).blocks;
      await control("reorg", { depth: 1, include: "none" });
      assert.deepEqual(await of(mine.address), kept);
      const after = (await api("/blocks?workchain=-1&limit=3")).blocks;
      assert.deepEqual(after[2], before[1]);
      assert.equal(after[1].seqno, before[0].seqno);
      assert.notEqual(after[1].root_hash, before[0].root_hash);
      assert.equal(after[0].seqno, head + 1);
      assert.equal((await api(`/transactions?hash=${encodeURIComponent(lost.hash)}`)).transactions.length, 0);

      const { head: empty, hash } = await control("mine", {});
      await control("reorg", { depth: 1 });
      assert.notEqual((await api(`/blocks?workchain=-1&seqno=${empty}`)).blocks[0].root_hash, hexToBase64(hash));

      const sent = await pay({ comment: "again" });
      await control("reorg", { depth: 1, include: "later" });
      const again = await last(mine.address);
      assert.equal(again.mc_block_seqno, sent.head + 1);
      assert.notEqual(again.hash, sent.transactions.find(({ account }) => account === mine.address).hash);
      const body = ({ in_msg }) => in_msg.message_content.body;
      assert.equal((await of(mine.address)).length, kept.length + 1);
      assert.notEqual(body(again), body(lost));
    },
  );

  await check("ton: a wallet of @ton/ton sends by itself", async () => {
    const { publicKey, secretKey } = keyPairFromSeed(sha256_sync("somebody"));
    const wallet = WalletContractV5R1.create({ publicKey, walletId: { networkGlobalId: -239 } });
    await control("send", { from: "bank", to: wallet.address.toString(), value: "1000000000" });
    const message = internal({ to: Address.parse(shop.address), value: 42n, bounce: false, body: "by hand" });
    const body = wallet.createTransfer({
      seqno: 0,
      secretKey,
      messages: [message],
      sendMode: 1,
      timeout: 2 ** 31,
    });
    const make = (signed) =>
      toBoc(
        beginCell()
          .store(storeMessage(external({ to: wallet.address, init: wallet.init, body: signed })))
          .endCell(),
      );
    assert.equal((await ton.post("/api/v3/message", { boc: make(body) })).status, 200);
    await control("mine", {});
    assert.equal((await last(shop.address)).in_msg.source, wallet.address.toRawString().toUpperCase());
    assert.equal(Number((await get(wallet.address.toString(), "seqno")).stack[0].value), 1);
    const stranger = keyPairFromSeed(sha256_sync("stranger")).secretKey;
    const forged = wallet.createTransfer({
      seqno: 1,
      secretKey: stranger,
      messages: [message],
      sendMode: 1,
      timeout: 2 ** 31,
    });
    assert.equal((await ton.post("/api/v3/message", { boc: make(forged) })).status, 500);
  });

  await check("ton: impostors: the owner's own message comes back; there is as much as was counted", async () => {
    const { addresses } = await control("prepare", { assets });
    const [, to] = addresses;
    const before = await of(to);
    const { contract } = assets.find((one) => one.contract);
    assert.equal((await control("impostors", { to, asset: contract, units: "5000" })).count, 5);
    const came = (await of(to)).slice(before.length);
    const notified = came.filter(({ in_msg }) => in_msg.opcode === NOTIFICATION);
    assert.deepEqual([notified.length, came.filter(({ in_msg }) => in_msg.bounced).length], [2, 1]);
  });

  await checkCells(ton);
}
