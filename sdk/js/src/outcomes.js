// What the functions of the roles answer.
import { text } from "./basics.js";

export const done = (note = "") => ({ tag: "done", val: text(note) });
export const reject = (why) => ({ tag: "reject", val: text(why) });

export function retry(seconds, why) {
  if (!(seconds >= 0)) throw new RangeError(`retry: ${seconds} is no number of seconds`);
  // The boundary takes whole numbers, and no larger ones.
  return { tag: "retry", val: [Math.min(Math.ceil(seconds), 2 ** 31 - 1), text(why)] };
}

export const pay = (candidate) => ({ tag: "pay", val: candidate });
export const split = (parts) => ({ tag: "split", val: parts });
export const review = (why) => ({ tag: "review", val: text(why) });
export const pass = () => ({ tag: "pass" });

export const unknownPair = () => ({ tag: "unknown-pair" });
export const noPrice = (why) => ({ tag: "source", val: text(why) });

export const unsupported = (why) => ({ tag: "unsupported", val: text(why) });
export const malformed = (why) => ({ tag: "malformed", val: text(why) });
