import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { buildHook } from "../build.mjs";
import { exports, sections } from "../component.mjs";

const sdk = join(import.meta.dirname, "..");

/** Imports, exports and manifest of a component. */
function outline(path) {
  const found = sections(readFileSync(path));
  const of = (wanted) => found.filter(({ id }) => id === wanted).map(({ content }) => content);
  // Names are plain in the bytes; what is imported are interfaces, each with a package.
  const imports = of(10).flatMap((content) => content.toString("latin1").match(/[a-z-]+:[a-z-]+\/[a-z-]+(@[0-9.]+)?/g));
  const manifests = of(0).map(String).filter((text) => text.startsWith("\x0ekassa:manifest"));
  return {
    imports: imports.map(short).sort(),
    exports: of(11).flatMap(exports).map(({ name }) => short(name)).sort(),
    manifests: manifests.map((text) => text.slice(15)),
  };
}

const short = (name) => name.replace(/^kassa:plugin\/([a-z]+)@0\.1\.0$/, "$1");

/** A hook in a folder of its own. */
async function inFolder(files, use) {
  const folder = mkdtempSync(join(tmpdir(), "kassa-hook-test-"));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("the examples import what they use and export their role", async () => {
  const license = outline(await buildHook(join(sdk, "examples/license-keys")));
  assert.deepEqual(license.imports, ["log", "storage", "webhooks"]);
  assert.deepEqual(license.exports, ["fulfiller"]);
  assert.deepEqual(license.manifests, [readFileSync(join(sdk, "examples/license-keys/plugin.toml"), "utf8")]);
  const telegram = outline(await buildHook(join(sdk, "examples/telegram")));
  assert.deepEqual(telegram.imports, ["http", "log", "storage", "types"]);
  const form = outline(await buildHook(join(sdk, "examples/nowpayments-form")));
  assert.deepEqual([form.imports, form.exports], [["log", "secrets", "types"], ["form"]]);
  const template = outline(await buildHook(join(sdk, "template")));
  assert.deepEqual(template.imports, ["log"]);
});

test("a hook has several roles and files, and globals bring the services they need", async () => {
  const manifest = 'name = "all"\nroles = ["fulfiller", "matcher", "rates"]\n';
  await inFolder({
    "plugin.toml": manifest,
    "package.json": '{"type": "module", "main": "index.js"}',
    "index.js": `
      import { pass } from "@kassa/sdk";
      export { fulfill } from "./other.js";
      export const matchTransfer = () => pass();
      export const priceOf = () => ({ mantissa: Date.now(), scale: 0, atMs: 0 });`,
    "other.js": 'import { done } from "@kassa/sdk"; export const fulfill = () => done();',
  }, async (folder) => {
    const all = outline(await buildHook(folder));
    assert.deepEqual(all.imports, ["clock", "log", "types"]);
    assert.deepEqual(all.exports, ["fulfiller", "matcher", "rates"]);
  });
});

test("what cannot be built says why", async () => {
  const failing = (files, why) => inFolder(files, (folder) => assert.rejects(buildHook(folder), why));
  const manifest = (roles) => `name = "bad"\nroles = ${roles}\n`;
  await failing({}, /plugin\.toml/);
  await failing({ "plugin.toml": 'name = "Bad"' }, /name: 1 to 40/);
  await failing({ "plugin.toml": manifest('["chain"]') }, /one or more of matcher, fulfiller, rates, form/);
  await failing({ "plugin.toml": manifest('["rates"]') }, /hook\.js/);
  const hook = (text) => ({ "plugin.toml": manifest('["rates"]'), "hook.js": text });
  await failing(hook("export const fulfill = 1"), /priceOf/);
  await failing(hook("export const priceOf = null.x"), /throws while it is loaded, which is now: .*null/);
  await failing(hook("const now = new Date(); export const priceOf = () => now;"), /clock.* while it is loaded/);
});

test("the package works without the checkout", { timeout: 120_000 }, async () => {
  await inFolder({}, async (folder) => {
    const packed = execFileSync("npm", ["pack", "--json", "--pack-destination", folder], { cwd: sdk });
    const [{ filename }] = JSON.parse(packed);
    execFileSync("tar", ["-xzf", join(folder, filename), "-C", folder]);
    cpSync(join(sdk, "node_modules"), join(folder, "package/node_modules"), { recursive: true });
    cpSync(join(sdk, "template"), join(folder, "my-hook"), { recursive: true });
    const out = execFileSync("node", ["package/build.mjs", "my-hook"], { cwd: folder });
    assert.equal(out.toString(), "my-hook/my-hook.wasm\n");
  });
});
