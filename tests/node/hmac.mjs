// Judges a signature with node:crypto, so that no code of Kassa judges its own.
// In: {"key", "signature", "body"} on stdin. Out: "ok", or why not and status 1.
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

const { key, signature, body } = JSON.parse(readFileSync(0, "utf8"));
const expected = createHmac("sha512", key).update(body).digest("hex");
console.log(expected === signature ? "ok" : `signed ${signature}, not ${expected}`);
process.exitCode = expected === signature ? 0 : 1;
