// Runs a façade, asks it, and compares what it says with the shapes of recorded answers.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

const shapes = JSON.parse(readFileSync(join(import.meta.dirname, "shapes.json"), "utf8"));
const hexOf = (bytes) => (value) =>
  typeof value === "string" && new RegExp(`^([0-9a-f]{2}){${bytes}}$`).test(value);
const kinds = {
  int: Number.isSafeInteger,
  bool: (value) => typeof value === "boolean",
  null: (value) => value === null,
  text: (value) => typeof value === "string",
  object: (value) => typeof value === "object" && value !== null,
  digits: (value) => typeof value === "string" && /^\d+$/.test(value),
  hash: (value) => typeof value === "string" && /^[A-Za-z0-9+/]{43}=$/.test(value),
  raw: (value) => typeof value === "string" && /^(-1|0):[0-9A-F]{64}$/.test(value),
  opcode: (value) => typeof value === "string" && /^0x[0-9a-f]{8}$/.test(value),
  boc: (value) => typeof value === "string" && /^te6cc[A-Za-z0-9+/]+=*$/.test(value),
  hex: hexOf("0,"),
  hex2: hexOf(2),
  hex8: hexOf(8),
  hex20: hexOf(20),
  hex21: hexOf(21),
  hex32: hexOf(32),
  hex65: hexOf(65),
};

const named = (path) => path.split(".").reduce((shape, name) => shape?.[name], shapes);

/** Throws unless the value has just the fields of the shape, each of its kind. */
export function fits(value, shape, at = "") {
  if (typeof shape === "string") {
    const faults = [];
    for (const one of shape.split("|")) {
      try {
        if (kinds[one]) return assert.ok(kinds[one](value), `${at}: ${JSON.stringify(value)} is no ${one}`);
        const found = named(one);
        assert.ok(found, `no shape ${one}`);
        return fits(value, found, `${at}<${one}>`);
      } catch (error) {
        faults.push(error.message);
      }
    }
    assert.fail(faults.at(0));
  }
  if (Array.isArray(shape)) {
    assert.ok(Array.isArray(value), `${at}: no list`);
    return value.forEach((one, i) => fits(one, shape[0], `${at}[${i}]`));
  }
  assert.ok(typeof value === "object" && value !== null, `${at}: ${JSON.stringify(value)} is no object`);
  const allowed = new Set();
  for (const [name, inner] of Object.entries(shape)) {
    const field = name.replace("?", "");
    allowed.add(field);
    if (Object.hasOwn(value, field)) fits(value[field], inner, `${at}.${field}`);
    else assert.ok(name.endsWith("?"), `${at}.${field} is missing`);
  }
  for (const field of Object.keys(value)) assert.ok(allowed.has(field), `${at}.${field} is not known`);
}

/** Starts a façade, which ends with this process, and waits until it listens: {child, address}. */
async function launch(script, args) {
  const command = [join(import.meta.dirname, "..", script), "--port", "0", "--with-parent", ...args];
  const child = spawn(process.execPath, command, { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  const address = await new Promise((resolve, reject) => {
    lines.on(
      "line",
      (line) => line.startsWith("Listening on ") && resolve(line.slice("Listening on ".length)),
    );
    child.on("exit", (code) => reject(new Error(`${script} ended with ${code}`)));
  });
  return { child, address };
}

/** Throws unless a façade ends when its stdin closes. */
export async function endsWithParent(script, args) {
  const { child } = await launch(script, args);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.stdin.end();
  const late = new Promise((_, reject) => setTimeout(reject, 5000, new Error(`${script} did not end`)));
  await Promise.race([ended, late]).finally(() => child.kill("SIGKILL"));
}

/** A running façade: {url, get, post, control, stop}. */
export async function start(script, args) {
  const began = Date.now();
  const { child, address } = await launch(script, args);
  const url = `http://${address}`;
  const ask = async (path, init) => {
    const answer = await fetch(url + path, init);
    return { status: answer.status, body: await answer.json() };
  };
  const post = (path, body = {}) => ask(path, { method: "POST", body: JSON.stringify(body) });
  return {
    url,
    post,
    started_ms: Date.now() - began,
    pid: child.pid,
    get: async (path) => (await ask(path)).body,
    ask,
    control: async (name, body) => {
      const answer = await post(`/control/${name}`, body);
      assert.equal(answer.status, 200, `${name}: ${answer.body.error}`);
      return answer.body;
    },
    stop: () => child.kill("SIGKILL"),
  };
}

/** One line a check; the first that fails ends the run. */
export async function check(name, work) {
  try {
    await work();
    console.log(`ok    ${name}`);
  } catch (error) {
    console.log(`FAIL  ${name}`);
    throw error;
  }
}
