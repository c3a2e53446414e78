// Signs a statement as wallets do, with the official clients: who owns an address says so, and no code of Kassa's helps.
// In: one of these on stdin. Out: JSON.
//   {"chain": "evm" | "tron", "key"?, "child"?, "statement"}   key: a private one, or else the child of the test phrase
//   {"chain": "ton", "seed", "version", "statement", "domain"?, "hashed"?}
//   {"chain": "aged", "master", "statement", "minutes"}        the statement as it would have been so long ago
// Without a statement the address alone is answered.
import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { beginCell, storeStateInit } from "@ton/core";
import { keyPairFromSeed, sign } from "@ton/crypto";
import * as ton from "@ton/ton";
import { HDNodeWallet, Wallet } from "ethers";
import { TronWeb } from "tronweb";

const PHRASE = "test test test test test test test test test test test junk";
const asked = JSON.parse(readFileSync(0, "utf8"));
const sha256 = (bytes) => createHash("sha256").update(bytes).digest();

function privateKey() {
  if (asked.key) return asked.key;
  return HDNodeWallet.fromPhrase(PHRASE, "", `m/44'/60'/0'/0/${asked.child ?? 0}`).privateKey;
}

async function evm() {
  const wallet = new Wallet(privateKey());
  const proof = asked.statement && (await wallet.signMessage(asked.statement));
  return { address: wallet.address, proof };
}

function tron() {
  const key = privateKey().slice(2);
  const client = new TronWeb({ fullHost: "http://127.0.0.1:1" });
  const proof = asked.statement && client.trx.signMessageV2(asked.statement, key);
  return { address: client.address.fromPrivateKey(key), proof };
}

// https://docs.ton.org/ecosystem/ton-connect/message-signing
function tonProof() {
  const keys = keyPairFromSeed(sha256(asked.seed));
  const wallet = ton[`WalletContract${asked.version}`].create({ workchain: 0, publicKey: keys.publicKey });
  const address = wallet.address.toString({ bounceable: false });
  if (!asked.statement) return { address };
  const domain = asked.domain ?? "shop.example";
  const payload = asked.hashed ? sha256(asked.statement).toString("hex") : asked.statement;
  const timestamp = Math.floor(Date.now() / 1000);
  const head = Buffer.alloc(4);
  head.writeInt32BE(wallet.address.workChain);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(Buffer.byteLength(domain));
  const seconds = Buffer.alloc(8);
  seconds.writeBigUInt64LE(BigInt(timestamp));
  const parts = ["ton-proof-item-v2/", head, wallet.address.hash, length, domain, seconds, payload].map(Buffer.from);
  const message = Buffer.concat([Buffer.from([0xff, 0xff]), Buffer.from("ton-connect"), sha256(Buffer.concat(parts))]);
  const signature = sign(sha256(message), keys.secretKey).toString("base64");
  const state_init = beginCell().store(storeStateInit(wallet.init)).endCell().toBoc().toString("base64");
  const proof = { timestamp, domain: { lengthBytes: Buffer.byteLength(domain), value: domain }, payload, signature, state_init };
  return { address, proof: JSON.stringify(proof) };
}

// With the master key, which nobody has but the server.
function aged() {
  const [text] = asked.statement.split("\nCode: ");
  const old = text.replace(/(?<=\nTime: )\S+/, (at) => new Date(Date.parse(at) - asked.minutes * 60_000).toISOString());
  const hmac = (key, message) => createHmac("sha256", key).update(message).digest();
  const code = hmac(hmac(Buffer.from(asked.master, "hex"), "ownership"), old).subarray(0, 16);
  return { statement: `${old}\nCode: ${code.toString("hex")}` };
}

console.log(JSON.stringify(await { aged, evm, tron, ton: tonProof }[asked.chain]()));
