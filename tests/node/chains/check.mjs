// Checks the local chains by the official clients, as the networks of the shipped manifests.
// usage: node chains/check.mjs [name…]
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { evmClient, tonClient, tronClient } from "./check/clients.mjs";
import { checkCommon } from "./check/common.mjs";
import { checkEvm } from "./check/evm.mjs";
import { check, endsWithParent, start } from "./check/kit.mjs";
import { checkTon } from "./check/ton.mjs";
import { checkTron } from "./check/tron.mjs";

const plugins = join(import.meta.dirname, "../../../chain-plugins");
const chains = [
  { name: "evm", manifest: "evm/base.toml", own: checkEvm, client: evmClient, reorgs: true },
  { name: "tron", manifest: "tron/tron.toml", own: checkTron, client: tronClient, reorgs: true },
  { name: "ton", manifest: "ton/ton.toml", own: checkTon, client: tonClient, reorgs: false },
];

/** What a manifest says of its chain: no more TOML is read than is there. */
function network(path) {
  const [head, ...assets] = readFileSync(join(plugins, path), "utf8").split("[[asset]]");
  const field = (text, name) => new RegExp(`^${name} = "?([^"\\n]*)`, "m").exec(text)?.[1] ?? null;
  return {
    caip2: field(head, "caip2"),
    assets: assets.map((text) => ({
      contract: field(text, "contract"),
      decimals: Number(field(text, "decimals")),
    })),
  };
}

/** Resident megabytes, where the system tells. */
function memory(pid) {
  try {
    return `${Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024)} MB`;
  } catch {
    return "unknown memory";
  }
}

async function run({ name, manifest, own, client, reorgs }) {
  const { caip2, assets } = network(manifest);
  const script = `${name}.mjs`;
  const args = ["--caip2", caip2];
  const chain = await start(script, args);
  try {
    await own(chain, assets);
    await checkCommon(name, chain, assets, client, { reorgs });
    console.log(`      ${script}: ready after ${chain.started_ms} ms, ${memory(chain.pid)} at the end`);
  } finally {
    chain.stop();
  }
  await check(`${name}: ends with the one who started it`, () => endsWithParent(script, args));
}

try {
  const asked = process.argv.slice(2);
  const wanted = chains.filter(({ name }) => asked.length === 0 || asked.includes(name));
  // Two at a time: the second one on an EVM takes the contracts that the first has compiled.
  const lanes = [wanted.filter(({ name }) => name !== "ton"), wanted.filter(({ name }) => name === "ton")];
  await Promise.all(
    lanes.map(async (lane) => {
      for (const chain of lane) await run(chain);
    }),
  );
} catch (error) {
  console.error(error);
  process.exitCode = 1;
}
process.exit();
