// Compiles every contract of a folder and prints the path of a JSON file: {name: {code, runtime, selectors}}.
// usage: node compile.mjs <contracts> <cache>. What was compiled once is found again by the hash of its sources.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [folder, cache] = process.argv.slice(2);
const here = import.meta.dirname;
const sources = {};
for (const name of readdirSync(folder).filter((name) => name.endsWith(".sol")).sort()) {
  sources[name] = { content: readFileSync(join(folder, name), "utf8") };
}

const hash = createHash("sha256");
hash.update(JSON.stringify(sources));
hash.update(readFileSync(join(here, "package-lock.json")));
hash.update(readFileSync(join(here, "compile.mjs")));
const file = join(cache, `contracts-${hash.digest("hex").slice(0, 16)}.json`);

if (!existsSync(file)) {
  const { default: solc } = await import("solc");
  const input = {
    language: "Solidity",
    sources,
    settings: {
      optimizer: { enabled: true, runs: 200 },
      outputSelection: { "*": { "*": ["evm.bytecode.object", "evm.deployedBytecode.object", "evm.methodIdentifiers"] } },
    },
  };
  const imported = (path) => {
    const found = join(here, "node_modules", path);
    return existsSync(found) ? { contents: readFileSync(found, "utf8") } : { error: `${path} is not installed` };
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: imported }));
  const errors = (output.errors ?? []).filter((error) => error.severity === "error");
  if (errors.length > 0) {
    console.error(errors.map((error) => error.formattedMessage).join("\n"));
    process.exit(1);
  }
  const contracts = {};
  for (const source of Object.keys(sources)) {
    for (const [name, contract] of Object.entries(output.contracts[source] ?? {})) {
      contracts[name] = {
        code: contract.evm.bytecode.object,
        runtime: contract.evm.deployedBytecode.object,
        selectors: contract.evm.methodIdentifiers,
      };
    }
  }
  mkdirSync(cache, { recursive: true });
  // Another run may do the same at once: the file appears whole or not at all.
  writeFileSync(`${file}.${process.pid}`, JSON.stringify(contracts));
  renameSync(`${file}.${process.pid}`, file);
}
console.log(file);
