// Generates a client of the OpenAPI document that a server hands out, compiles it with the shop that uses it, and runs
// that.
//
//   node run.mjs URL KEY    prints what the shop saw, as JSON

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import openapiTS, { astToString } from "openapi-typescript";

const here = dirname(fileURLToPath(import.meta.url));
const packages = join(here, "../node_modules");
const [url, key] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "kassa-client-"));
try {
  const schema = await openapiTS(new URL("/openapi.json", url));
  writeFileSync(join(folder, "schema.ts"), astToString(schema));
  writeFileSync(join(folder, "package.json"), '{"type": "module"}');
  copyFileSync(join(here, "shop.ts"), join(folder, "shop.ts"));
  symlinkSync(packages, join(folder, "node_modules"));
  const strict = ["--strict", "--noUncheckedIndexedAccess", "--target", "es2022", "--module", "nodenext", "--skipLibCheck"];
  const tsc = join(packages, "typescript/bin/tsc");
  execFileSync(process.execPath, [tsc, ...strict, "--lib", "es2022,dom,dom.iterable", "shop.ts"], {
    cwd: folder,
    stdio: ["ignore", 2, 2],
  });
  const shop = await import(pathToFileURL(join(folder, "shop.js")).href);
  console.log(JSON.stringify(await shop.sell(url, key)));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
