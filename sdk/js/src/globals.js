// Globals that QuickJS lacks, or that would end the run because they ask a system that is not there. The build
// puts each one only into hooks that name it.
import { clock, log } from "./basics.js";

export class TextEncoder {
  encode(text = "") {
    // What URIs are made of is UTF-8.
    const escaped = unescape(encodeURIComponent(String(text).toWellFormed()));
    const bytes = new Uint8Array(escaped.length);
    for (let at = 0; at < bytes.length; at++) bytes[at] = escaped.charCodeAt(at);
    return bytes;
  }
}

/** UTF-8 as characters of one byte each: one character beyond ASCII, or else a byte that belongs to none. */
const SEQUENCE = /* @__PURE__ */ new RegExp(
  [
    /[\xc2-\xdf][\x80-\xbf]/,
    /(?:\xe0[\xa0-\xbf]|\xed[\x80-\x9f]|[\xe1-\xec\xee\xef][\x80-\xbf])[\x80-\xbf]/,
    /(?:\xf0[\x90-\xbf]|\xf4[\x80-\x8f]|[\xf1-\xf3][\x80-\xbf])[\x80-\xbf]{2}/,
    /[\x80-\xff]/,
  ].map(({ source }) => source).join("|"),
  "g",
);

const unescaped = (binary) => decodeURIComponent(escape(binary));

export class TextDecoder {
  decode(bytes = new Uint8Array()) {
    let binary = "";
    // As many at once as a call takes as arguments.
    for (let at = 0; at < bytes.length; at += 4096) {
      binary += String.fromCharCode(...bytes.subarray(at, at + 4096));
    }
    let text;
    try {
      text = unescaped(binary);
    } catch {
      text = binary.replace(SEQUENCE, (part) => (part.length > 1 ? unescaped(part) : "\ufffd"));
    }
    return text.replace(/^\ufeff/, "");
  }
}

// A function that is marked pure: what a class extends could do something, so the build would keep the class.
const HookDate = /* @__PURE__ */ (() =>
  class Date extends globalThis.Date {
    constructor(...parts) {
      super(...(parts.length === 0 ? [clock.nowMs()] : parts));
    }

    static now() {
      return clock.nowMs();
    }
  })();

function random() {
  throw new Error("hooks have no Math.random; take random.bytes(n), or what must be unique from the run's id");
}

function shown(value) {
  if (typeof value === "string") return value;
  if (value instanceof Error) return value.stack ? `${value}\n${value.stack}` : `${value}`;
  try {
    return JSON.stringify(value, (_, inner) => (typeof inner === "bigint" ? `${inner}n` : inner)) ?? String(value);
  } catch {
    return String(value);
  }
}

const line = (write) => (...values) => write(values.map(shown).join(" "));

export const console = {
  debug: line(log.debug),
  log: line(log.info),
  info: line(log.info),
  warn: line(log.warn),
  error: line(log.error),
};

export const performance = undefined;

export { HookDate as Date, random as "Math.random" };
