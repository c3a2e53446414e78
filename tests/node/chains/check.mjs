// Checks both local chains by the official clients. usage: node chains/check.mjs [--anvil <program>]
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readFileSync } from "node:fs";

import { start } from "./check/kit.mjs";
import { checkTon } from "./check/ton.mjs";
import { checkTron } from "./check/tron.mjs";
import { argument } from "./http.mjs";

const here = import.meta.dirname;
const arch = process.arch === "arm64" ? "arm64" : "amd64";
const platform = `${process.platform}-${arch}`;
const anvil = argument("anvil", join(here, `../node_modules/@foundry-rs/anvil-${platform}/bin/anvil`));

/** Resident megabytes, where the system tells. */
function memory(pid) {
  try {
    return `${Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024)} MB`;
  } catch {
    return "unknown memory";
  }
}

async function run(script, args, checks) {
  const chain = await start(script, args);
  try {
    await checks(chain);
    console.log(`      ${script}: ready after ${chain.started_ms} ms, ${memory(chain.pid)} at the end`);
  } finally {
    chain.stop();
  }
}

const cache = mkdtempSync(join(tmpdir(), "kassa-chains-"));
try {
  const compile = [join(here, "../compile.mjs"), join(here, "../../contracts"), cache];
  const contracts = execFileSync(process.execPath, compile, { encoding: "utf8" }).trim();
  await run("tron.mjs", ["--anvil", anvil, "--contracts", contracts], checkTron);
  await run("ton.mjs", [], checkTon);
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  rmSync(cache, { recursive: true, force: true });
}
process.exit();
