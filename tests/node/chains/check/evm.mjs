// A local EVM network, driven by ethers alone.
import assert from "node:assert/strict";
import { Contract, id, parseEther, Wallet, zeroPadValue } from "ethers";

import { ERC20, provider } from "./clients.mjs";
import { check } from "./kit.mjs";

export async function checkEvm(evm, assets) {
  const chain = provider(evm.url);
  const behind = provider(`${evm.url}/lagging`);
  const rpc = async (path, body) => (await evm.post(path, body)).body;
  const call = (method, ...params) => ({ jsonrpc: "2.0", id: 7, method, params });
  const token = assets.find(({ contract }) => contract).contract;
  const { addresses } = await evm.control("prepare", { assets });
  const to = addresses[0];

  await check("evm: calls and batches are anvil's own, byte by byte", async () => {
    assert.deepEqual(await rpc("/", call("eth_chainId")), { jsonrpc: "2.0", id: 7, result: "0x2105" });
    const batch = [call("eth_blockNumber"), { ...call("no_such"), id: "a" }];
    const answers = await rpc("/", batch);
    assert.deepEqual(
      answers.map(({ id: one }) => one),
      [7, "a"],
    );
    assert.equal(answers[1].error.code, -32601);
    const raw = await fetch(evm.url, { method: "POST", body: JSON.stringify(call("eth_gasPrice")) });
    assert.match(await raw.text(), /^\{"jsonrpc":"2.0","id":7,"result":"0x[0-9a-f]+"\}$/);
    assert.equal((await rpc("/", "nonsense")).error.code !== undefined, true);
    assert.equal((await fetch(`${evm.url}/elsewhere`, { method: "POST" })).status, 404);
  });

  await check("evm: safe and final are 8 and 16 blocks below the head", async () => {
    const { head, final } = await evm.control("state");
    const heights = await Promise.all(["latest", "safe", "finalized"].map((tag) => chain.getBlock(tag)));
    assert.deepEqual(
      heights.map(({ number }) => number),
      [head, head - 8, head - 16],
    );
    assert.equal(final, head - 16);
  });

  await check("evm: a stranger's wallet pays by itself; blocks are not of the future", async () => {
    const payer = new Wallet(id("a stranger's key"), chain);
    await evm.control("pay", { to: payer.address, asset: null, units: String(parseEther("1")) });
    const sent = await payer.sendTransaction({ to, value: 12345n });
    assert.equal(await chain.getBalance(to), 0n);
    await evm.control("mine");
    const receipt = await sent.wait();
    assert.equal(receipt.status, 1);
    assert.equal(await chain.getBalance(to), 12345n);
    const { timestamp } = await chain.getBlock("latest");
    assert.ok(timestamp <= Date.now() / 1000);
  });

  await check("evm: tokens are found by their logs; look-alikes have other addresses", async () => {
    const { head } = await evm.control("state");
    await evm.control("pay", { to, asset: token, units: "777", times: 3 });
    await evm.control("impostors", { to, asset: token, units: "777" });
    await evm.control("failure", { to, asset: token, units: "777" });
    const topics = [id("Transfer(address,address,uint256)"), null, zeroPadValue(to, 32)];
    const logs = await chain.getLogs({ fromBlock: head + 1, topics });
    assert.equal(logs.filter(({ address }) => address === token).length, 3);
    assert.equal(logs.filter(({ address }) => address !== token).length, 2);
    assert.ok(logs.every(({ data }) => BigInt(data) === 777n));
    assert.equal(await new Contract(token, ERC20, chain).symbol(), "USDT");
  });

  await check("evm: who is behind has lower tags, and no block, receipt or log from above", async () => {
    const { head } = await evm.control("mine", { blocks: 5 });
    const { tx } = await evm.control("pay", { to, asset: token, units: "5" });
    assert.equal(await behind.getBlockNumber(), head - 2);
    for (const [tag, down] of Object.entries({ latest: 0, safe: 8, finalized: 16, pending: 0 }))
      assert.equal((await behind.getBlock(tag)).number, head + 1 - 3 - down);
    const top = await chain.getBlock("latest");
    assert.equal(await behind.getBlock(top.number), null);
    assert.equal(await behind.getBlock(top.hash), null);
    assert.equal(await behind.getTransactionReceipt(tx), null);
    assert.equal(await behind.getTransaction(tx), null);
    const logs = (from, toBlock) => ({ address: token, fromBlock: from, toBlock });
    assert.equal((await chain.getLogs(logs(head, "latest"))).length, 1);
    assert.deepEqual(await behind.getLogs(logs(head - 3, "latest")), []);
    assert.deepEqual(await behind.getLogs(logs(head - 3, head + 1)), []);
    assert.deepEqual(await behind.getLogs({ blockHash: top.hash }), []);
    await assert.rejects(behind.getBalance(to, top.number), /header not found/);
    const batch = [call("eth_blockNumber"), call("eth_getBlockByNumber", "latest", false)];
    const [number, block] = await rpc("/lagging", batch);
    assert.equal(number.result, block.result.number);
  });
}
