// The local TRON, driven by tronweb alone.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { TronWeb } from "tronweb";

import { TRC20 } from "./clients.mjs";
import { check, fits } from "./kit.mjs";

const CHAIN_ID = "2b6653dc";
const TRANSFER = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
const sha256 = (hex) => createHash("sha256").update(Buffer.from(hex, "hex")).digest("hex");
const word = (address) => TronWeb.address.toHex(address).slice(2).padStart(64, "0");
const number = (value) => BigInt(value).toString(16).padStart(64, "0");

export async function checkTron(tron, assets) {
  const wallet = (path, body) => tron.post(`/wallet/${path}`, body).then(({ body: answer }) => answer);
  const solidity = (path, body) =>
    tron.post(`/walletsolidity/${path}`, body).then(({ body: answer }) => answer);
  const info = (value) => wallet("gettransactioninfobyid", { value });
  const account = (name) => tron.control("account", { name });
  const alice = await account("alice");
  const shop = await account("shop");
  const client = new TronWeb({ fullHost: tron.url, privateKey: alice.private_key });
  const mine = (blocks = 1) => tron.control("mine", { blocks });

  await check("tron: the first block ends in the chain id", async () => {
    const { blockID, block_header } = await wallet("getblockbynum", { num: 0 });
    assert.match(blockID, new RegExp(`^0{16}[0-9a-f]{40}${CHAIN_ID}$`));
    assert.equal(block_header.raw_data.number, undefined);
  });

  await check("tron: blocks have java-tron's shape and name their parents", async () => {
    await mine(20);
    const { block } = await wallet("getblockbylimitnext", { startNum: 0, endNum: 21 });
    assert.equal(block.length, 21);
    for (const [height, one] of block.entries()) {
      if (height === 0) continue;
      fits(one, "tron.block");
      assert.equal(one.block_header.raw_data.number, height);
      assert.equal(one.blockID.slice(0, 16), height.toString(16).padStart(16, "0"));
      assert.equal(one.block_header.raw_data.parentHash, block[height - 1].blockID);
      assert.ok(
        height === 1 ||
          one.block_header.raw_data.timestamp >= block[height - 1].block_header.raw_data.timestamp + 3000,
      );
      assert.deepEqual(await wallet("getblockbynum", { num: height }), one);
    }
    assert.equal((await client.trx.getCurrentBlock()).blockID, block[20].blockID);
    assert.deepEqual(await wallet("getblockbynum", { num: 99 }), {});
    assert.deepEqual(await tron.get("/wallet/getblockbynum?num=7"), block[7]);
  });

  await check("tron: solid is 18 blocks below the head, or as far as is asked", async () => {
    const at = async () => (await solidity("getnowblock")).block_header.raw_data.number;
    assert.equal(await at(), 2);
    assert.deepEqual(await solidity("getblockbynum", { num: 3 }), {});
    await tron.control("finality", { blocks: 5 });
    assert.equal(await at(), 15);
    await tron.control("finality", { blocks: 18 });
  });

  await check(
    "tron: TRX by tronweb; the id is the hash, the signer the owner, the receiver the richer",
    async () => {
      const before = await client.trx.getUnconfirmedBalance(shop.address);
      const sent = await client.trx.sendTransaction(shop.address, 1_234_567);
      assert.equal(sent.result, true);
      assert.deepEqual(await wallet("gettransactionbyid", { value: sent.txid }), {});
      await mine();
      const told = await client.trx.getTransaction(sent.txid);
      fits(told, "tron.transaction");
      assert.equal(sha256(told.raw_data_hex), told.txID);
      assert.equal(TronWeb.address.toHex(client.trx.ecRecover(told)), alice.hex);
      assert.deepEqual(told.raw_data.contract[0], {
        parameter: {
          value: { to_address: shop.hex, owner_address: alice.hex, amount: 1_234_567 },
          type_url: "type.googleapis.com/protocol.TransferContract",
        },
        type: "TransferContract",
      });
      assert.deepEqual(told.ret, [{ contractRet: "SUCCESS" }]);
      const became = await info(sent.txid);
      fits(became, "tron.native_info");
      assert.deepEqual(await wallet("gettransactioninfobyblocknum", { num: became.blockNumber }), [became]);
      const block = await wallet("getblockbynum", { num: became.blockNumber });
      assert.deepEqual(block.transactions, [told]);
      assert.equal(block.block_header.raw_data.timestamp, became.blockTimeStamp);
      assert.equal(await client.trx.getUnconfirmedBalance(shop.address), before + 1_234_567);
      assert.deepEqual(await solidity("gettransactioninfobyid", { value: sent.txid }), {});
      await mine(18);
      assert.deepEqual(await client.trx.getTransactionInfo(sent.txid), became);
    },
  );

  await check("tron: a memo is in the signed data", async () => {
    const { tx } = await tron.control("send", {
      from: "bob",
      to: "shop",
      sun: 5,
      memo: "order-17 ✓",
      mine: 1,
    });
    const told = await wallet("gettransactionbyid", { value: tx });
    assert.equal(Buffer.from(told.raw_data.data, "hex").toString(), "order-17 ✓");
    assert.equal(sha256(told.raw_data_hex), tx);
  });

  const token = await tron.control("deploy", { contract: "Token", types: ["uint8"], values: [6] });
  await tron.control("mint", { token: token.address, to: "alice", units: "1000000000", mine: 1 });

  await check("tron: TRC-20 by tronweb; the log tells of it, the contract's answer does not", async () => {
    const contract = client.contract(TRC20, token.address);
    assert.equal(Number(await contract.decimals().call()), 6);
    const txID = await contract.transfer(shop.address, 25_000_000).send({ feeLimit: 50_000_000 });
    await mine();
    const became = await info(txID);
    fits(became, "tron.contract_info");
    assert.equal(became.receipt.result, "SUCCESS");
    assert.equal(became.result, undefined);
    assert.deepEqual(became.contractResult, ["0".repeat(64)]);
    assert.equal(became.contract_address, token.hex);
    assert.deepEqual(became.log, [
      {
        address: token.hex.slice(2),
        topics: [TRANSFER, word(alice.address), word(shop.address)],
        data: number(25_000_000),
      },
    ]);
    const told = await wallet("gettransactionbyid", { value: txID });
    fits(told, "tron.transaction");
    assert.equal(sha256(told.raw_data_hex), txID);
    assert.equal(told.raw_data.fee_limit, 50_000_000);
    assert.equal(await contract.balanceOf(shop.address).call(), 25_000_000n);
  });

  const sender = await tron.control("deploy", { contract: "Sender" });

  await check("tron: three equal transfers in one transaction are three logs", async () => {
    await tron.control("mint", { token: token.address, to: sender.address, units: "1000", mine: 1 });
    const { tx } = await tron.control("call", {
      from: "alice",
      contract: sender.address,
      function: "many(address,address,uint256,uint256)",
      values: [token.address, "shop", "7", "3"],
      mine: 1,
    });
    const { log } = await info(tx);
    assert.equal(log.length, 3);
    assert.deepEqual(log[0], log[2]);
  });

  await check(
    "tron: a failed transfer is in a block and has no log; too little energy is told apart",
    async () => {
      const broke = await tron.control("send_token", {
        from: "broke",
        token: token.address,
        to: "shop",
        units: "1",
        mine: 1,
      });
      assert.equal(broke.contract_ret, "REVERT");
      const became = await info(broke.tx);
      fits(became, "tron.contract_info");
      assert.deepEqual([became.result, became.receipt.result, became.log], ["FAILED", "REVERT", undefined]);
      assert.equal(Buffer.from(became.resMessage, "hex").toString(), "REVERT opcode executed");
      const short = await tron.control("send_token", {
        from: "alice",
        token: token.address,
        to: "fresh",
        units: "1",
        fee_limit: 1000,
        mine: 1,
      });
      assert.equal((await info(short.tx)).receipt.result, "OUT_OF_ENERGY");
      const undone = await tron.control("call", {
        from: "alice",
        contract: sender.address,
        function: "undone(address,address,uint256)",
        values: [token.address, "shop", "1"],
        mine: 1,
      });
      assert.equal((await info(undone.tx)).log, undefined);
    },
  );

  await check(
    "tron: attacks: a look-alike's log, a fee token's net, a transfer of zero by a stranger",
    async () => {
      const fake = await tron.control("deploy", { contract: "LookAlike" });
      const claim = await tron.control("call", {
        from: "bob",
        contract: fake.address,
        function: "claim(address,address,uint256)",
        values: ["alice", "shop", "25000000"],
        mine: 1,
      });
      const [log] = (await info(claim.tx)).log;
      assert.deepEqual([log.address, log.topics[2]], [fake.hex.slice(2), word(shop.address)]);
      const fee = await tron.control("deploy", { contract: "FeeToken" });
      await tron.control("mint", { token: fee.address, to: "alice", units: "1000", mine: 1 });
      const taxed = await tron.control("send_token", {
        from: "alice",
        token: fee.address,
        to: "shop",
        units: "1000",
        mine: 1,
      });
      const toShop = (await info(taxed.tx)).log.find(({ topics }) => topics[2] === word(shop.address));
      assert.equal(toShop.data, number(990));
      const zero = await tron.control("call", {
        from: "bob",
        contract: token.address,
        function: "transferFrom(address,address,uint256)",
        values: ["alice", "shop", "0"],
        mine: 1,
      });
      assert.equal((await info(zero.tx)).log[0].data, number(0));
    },
  );

  await check("tron: TRX from inside a contract is told by no log; TRC-10 is another type", async () => {
    const before = await client.trx.getUnconfirmedBalance(shop.address);
    const { tx } = await tron.control("call", {
      from: "alice",
      contract: sender.address,
      function: "forward(address)",
      values: ["shop"],
      sun: 777,
      mine: 1,
    });
    const became = await info(tx);
    fits(became, "tron.contract_info");
    assert.equal(became.log, undefined);
    assert.equal(became.internal_transactions[0].transferTo_address, shop.hex);
    assert.deepEqual(became.internal_transactions[0].callValueInfo, [{ callValue: 777 }]);
    assert.equal(await client.trx.getUnconfirmedBalance(shop.address), before + 777);
    const asset = await tron.control("send_asset", { from: "alice", to: "shop", amount: 9, mine: 1 });
    const told = await wallet("gettransactionbyid", { value: asset.tx });
    fits(told, "tron.transaction");
    assert.equal(told.raw_data.contract[0].type, "TransferAssetContract");
    assert.equal(told.raw_data.contract[0].parameter.value.amount, 9);
    assert.equal(await client.trx.getUnconfirmedBalance(shop.address), before + 777);
  });

  await check(
    "tron: refuses what was altered, is signed by another, comes twice, or is too late",
    async () => {
      const made = async (amount) =>
        client.trx.sign(await client.transactionBuilder.sendTrx(shop.address, amount, alice.address));
      const code = async (transaction) => (await wallet("broadcasttransaction", transaction)).code;
      const good = await made(11);
      const other = await made(12);
      assert.equal(await code({ ...good, raw_data: other.raw_data }), "OTHER_ERROR");
      assert.equal(await code({ ...good, txID: other.txID }), "OTHER_ERROR");
      assert.equal(await code({ ...good, signature: other.signature }), "SIGERROR");
      assert.equal(await code({ ...good, signature: [] }), "SIGERROR");
      assert.equal((await wallet("broadcasttransaction", good)).result, true);
      assert.equal(await code(good), "DUP_TRANSACTION_ERROR");
      await tron.control("mine", { blocks: 25, seconds: 3 });
      assert.equal(await code(other), "TRANSACTION_EXPIRATION_ERROR");
    },
  );

  await check(
    "tron: a fork has other blocks; transactions are gone, again, or in another block",
    async () => {
      const sent = await tron.control("send", { from: "alice", to: "shop", sun: 4321, mine: 1 });
      const later = await tron.control("fund", { to: "latecomer", sun: "777" });
      const height = sent.height;
      const parent = (await wallet("getblockbynum", { num: height - 1 })).blockID;
      const witness = (await wallet("getblockbynum", { num: height })).block_header.raw_data.witness_address;
      const balance = await client.trx.getUnconfirmedBalance(shop.address);
      const where = () => tron.control("where", { tx: sent.tx });

      await tron.control("reorg", { depth: 1, include: "same" });
      const same = await where();
      assert.equal(same.height, height);
      assert.notEqual(same.hash, sent.hash);
      const again = await wallet("getblockbynum", { num: height });
      assert.equal(again.block_header.raw_data.parentHash, parent);
      assert.notEqual(again.block_header.raw_data.witness_address, witness);
      assert.equal(again.transactions[0].txID, sent.tx);

      await tron.control("reorg", { depth: 2, include: "later" });
      const moved = await where();
      assert.equal(moved.height, height + 2);
      assert.equal((await wallet("getblockbynum", { num: height })).transactions, undefined);
      assert.equal(await client.trx.getUnconfirmedBalance(shop.address), balance);

      await tron.control("reorg", { depth: 1, include: "none" });
      assert.deepEqual(await info(sent.tx), {});
      assert.deepEqual(await wallet("gettransactionbyid", { value: sent.tx }), {});
      assert.equal(await client.trx.getUnconfirmedBalance(shop.address), balance - 4321);
      assert.equal((await tron.control("fund", { to: "latecomer", sun: "0" })).balance, later.balance);
      const { block } = await wallet("getblockbylimitnext", { startNum: height - 3, endNum: height + 3 });
      for (let i = 1; i < block.length; i++)
        assert.equal(block[i].block_header.raw_data.parentHash, block[i - 1].blockID);
    },
  );

  await check("tron: payments that fail by themselves or for want of energy, and an asset of TRC-10", async () => {
    const { addresses } = await tron.control("prepare", { assets });
    const { contract } = assets.find((one) => one.contract);
    const last = async (what, request) => {
      await tron.control(what, { to: addresses[0], units: "5000", memo: "m", ...request });
      const { head } = await tron.control("state");
      return {
        infos: await wallet("gettransactioninfobyblocknum", { num: head }),
        types: (await wallet("getblockbynum", { num: head })).transactions.map(
          ({ raw_data: { contract: [{ type }] } }) => type,
        ),
      };
    };
    const failed = await last("failure", { asset: contract });
    assert.deepEqual(
      failed.infos.map(({ receipt }) => receipt.result),
      ["REVERT", "OUT_OF_ENERGY"],
    );
    const { infos: [undone] } = await last("failure", { asset: null });
    fits(undone, "tron.contract_info");
    assert.deepEqual(
      undone.internal_transactions.map(({ rejected }) => rejected),
      [true],
    );
    assert.ok((await last("impostors", { asset: contract })).types.includes("TransferAssetContract"));
  });
}
