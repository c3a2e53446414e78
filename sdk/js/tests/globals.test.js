import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { fake } from "@kassa/sdk/testing";

import * as globals from "../src/globals.js";

beforeEach(() => fake.reset());

const encoder = new globals.TextEncoder();
const decoder = new globals.TextDecoder();

test("text becomes UTF-8 as Node's own does it", () => {
  const edges = "\u0000\u007f\u0080\u07ff\u0800\uffff\u{10000}\u{10ffff}";
  for (const text of ["", "abc", "ñ☕🍵", edges, "half \ud83c pair", "x".repeat(10_000)]) {
    assert.deepEqual(encoder.encode(text), new TextEncoder().encode(text));
    assert.equal(decoder.decode(encoder.encode(text)), text.toWellFormed());
  }
});

test("whatever bytes come, text is decoded and what is sound in them survives", () => {
  const broken = [
    [0xff], [0xc3], [0xc3, 0x28], [0xe2, 0x82], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xc0, 0xaf],
    [0xe0, 0x80, 0x80], [0xf0, 0x80, 0x80, 0x80], [0xf8, 0x88, 0x80, 0x80, 0x80],
  ];
  for (const bytes of broken) {
    const sound = new TextEncoder().encode("é🍵");
    const text = decoder.decode(new Uint8Array([...sound, ...bytes, ...sound]));
    assert.match(text, /^é🍵\ufffd+\(?é🍵$/);
  }
  assert.equal(decoder.decode(new Uint8Array([0xef, 0xbb, 0xbf, 0x61])), "a");
});

test("the date is the host's", () => {
  assert.equal(globals.Date.now(), fake.nowMs);
  assert.equal(new globals.Date().toISOString(), "2026-01-01T00:00:00.000Z");
  assert.equal(new globals.Date(0).getTime(), 0);
  assert.ok(new globals.Date() instanceof Date);
});

test("there is no randomness", () => assert.throws(globals["Math.random"], /no Math.random/));

test("the console writes to the log", () => {
  const loop = {};
  loop.self = loop;
  globals.console.log("a", 1, { b: 2n }, undefined, loop);
  globals.console.error(new Error("why"));
  assert.deepEqual(fake.logs[0], { level: "info", message: 'a 1 {"b":"2n"} undefined [object Object]' });
  assert.equal(fake.logs[1].level, "error");
  assert.match(fake.logs[1].message, /^Error: why\n/);
});
