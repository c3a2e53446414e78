// The contracts of tests/contracts, compiled when they are needed first.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { AbiCoder, id } from "ethers";

import { argument } from "../arguments.mjs";
import { BadRequest } from "../http.mjs";

const here = import.meta.dirname;
let compiled;

async function load() {
  const cache = argument("cache", join(tmpdir(), `kassa-contracts-${userInfo().uid}`));
  const compile = [join(here, "../../compile.mjs"), join(here, "../../../contracts"), cache];
  // In a process of its own: the compiler is large, and is needed once.
  const run = () => promisify(execFile)(process.execPath, compile).then(({ stdout }) => stdout.trim());
  return JSON.parse(await readFile(argument("contracts") ?? (await run()), "utf8"));
}

const words = (types, values) => AbiCoder.defaultAbiCoder().encode(types, values).slice(2);

/** The types in a signature: `transfer(address,uint256)`. */
export const typesOf = (signature) => signature.match(/\((.*)\)/)[1].split(",").filter(Boolean);

/** What a call carries. */
export const calldata = (signature, values) =>
  id(signature).slice(0, 10) + words(typesOf(signature), values);

/** Deploys contracts, each `[name, types, values]`, in one block. Answers their addresses. */
export async function deploy(node, wanted) {
  compiled ??= load();
  const all = await compiled;
  const transactions = wanted.map(([name, types = [], values = []]) => {
    if (!all[name]) throw new BadRequest(`no contract ${name}`);
    return { data: `0x${all[name].code}${words(types, values)}` };
  });
  return (await node.setUp(transactions)).map(({ contractAddress }) => contractAddress);
}
