#!/usr/bin/env node
// Makes a component of a hook's folder: plugin.toml and hook.js become <name>.wasm.
import { cpSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { componentize } from "componentize-qjs";
import { build, formatMessages } from "esbuild";
import { parse } from "smol-toml";

import { withCustomSection, withoutExport } from "./component.mjs";

const here = import.meta.dirname;
// The published package has a copy of the contract; a checkout has the contract itself.
const contract = [join(here, "wit"), join(here, "../../wit")].find((folder) => existsSync(folder));

/** The function that a hook exports for each role. */
const FUNCTIONS = { matcher: "matchTransfer", fulfiller: "fulfill", rates: "priceOf", form: "render" };

/** Builds the hook of a folder, and answers the path of its component. */
export async function buildHook(folder) {
  const manifestText = readFileSync(join(folder, "plugin.toml"));
  const { name, roles } = readManifest(manifestText.toString());
  const { source, services } = await bundle(resolve(folder), roles);
  // For size: hooks mostly wait, and the host compiles a third less when the hook is uploaded.
  const component = await withWorld(services, roles, (witPath) =>
    componentize({ witPath, jsSource: source, sync: true, stubWasi: true, optSize: true }));
  // The function that took the snapshot is still exported, and the host refuses exports that are no role.
  const exported = withoutExport(component.component, "init");
  const path = join(folder, `${name}.wasm`);
  writeFileSync(path, withCustomSection(exported, "kassa:manifest", manifestText));
  return path;
}

function readManifest(text) {
  const { name, roles } = parse(text);
  // It names a file; the host checks the rest.
  if (!/^[a-z0-9-]{1,40}$/.test(name)) throw new Error("plugin.toml: name: 1 to 40 of a-z, 0-9 and -");
  const known = Object.keys(FUNCTIONS);
  if (!Array.isArray(roles) || roles.length === 0 || !roles.every((role) => known.includes(role))) {
    throw new Error(`plugin.toml: roles: one or more of ${known.join(", ")}`);
  }
  return { name, roles };
}

/** One module of all that the hook needs, and the services that are left in it. */
async function bundle(folder, roles) {
  const names = roles.map((role) => FUNCTIONS[role]).join(", ");
  const entry = [
    `import { ${names} } from ${JSON.stringify(join(folder, mainFile(folder)))};`,
    `import * as roles from ${JSON.stringify(join(here, "src/roles.js"))};`,
    ...roles.map((role) => `export const ${role} = roles.${role}(${FUNCTIONS[role]});`),
  ].join("\n");
  const { outputFiles: [file], metafile, warnings } = await build({
    stdin: { contents: entry, resolveDir: folder, sourcefile: "hook" },
    absWorkingDir: folder,
    bundle: true,
    write: false,
    metafile: true,
    format: "esm",
    target: "es2024",
    conditions: ["component"],
    inject: [join(here, "src/globals.js")],
    plugins: [services],
    logLevel: "silent",
  });
  for (const text of await formatMessages(warnings, { kind: "warning" })) console.warn(text.trimEnd());
  const [output] = Object.values(metafile.outputs);
  return { source: file.text, services: output.imports.map(({ path }) => path) };
}

function mainFile(folder) {
  const path = join(folder, "package.json");
  return (existsSync(path) && JSON.parse(readFileSync(path, "utf8")).main) || "hook.js";
}

/** The services stay imports, unless nothing uses them; the SDK is the one that builds. */
const services = {
  name: "kassa",
  setup({ onResolve }) {
    onResolve({ filter: /^kassa:plugin\// }, ({ path }) => ({ path, external: true, sideEffects: false }));
    onResolve({ filter: /^@kassa\/sdk$/ }, () => ({ path: join(here, "src/index.js"), sideEffects: false }));
  },
};

/** Hands over a folder with the contract and a world of just these services and roles. */
async function withWorld(services, roles, use) {
  const folder = mkdtempSync(join(tmpdir(), "kassa-hook-"));
  try {
    cpSync(contract, join(folder, "deps/kassa"), { recursive: true });
    const items = [
      ...services.map((service) => `import ${service};`),
      ...roles.map((role) => `export kassa:plugin/${role}@0.1.0;`),
    ];
    writeFileSync(join(folder, "world.wit"), `package kassa:build;\nworld hook {\n${items.join("\n")}\n}\n`);
    return await use(folder);
  } catch (error) {
    const [, called] = /unknown import: `([^`]+)`/.exec(error.message) ?? [];
    if (called) throw new Error(`the hook calls ${called} while it is loaded, which is now; call it in its functions`);
    const [, thrown] = /module evaluation: (.+)/s.exec(error.message) ?? [];
    // Its places are in a text that nobody has written.
    const text = thrown?.replace(/ \(componentize-qjs:user\.js:\d+:\d+\)/g, "");
    throw text ? new Error(`the hook throws while it is loaded, which is now: ${text}`) : error;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

// Installed, it is started through a link.
if (process.argv[1] && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  const folder = process.argv[2];
  if (!folder) {
    console.error("usage: kassa-hook-build <folder with plugin.toml and hook.js>");
    process.exit(2);
  }
  try {
    console.log(await buildHook(folder));
  } catch (error) {
    const said = error.errors ? await formatMessages(error.errors, { kind: "error" }) : [error.message];
    console.error(said.join("").trimEnd());
    process.exit(1);
  }
}
