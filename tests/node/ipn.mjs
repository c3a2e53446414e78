// Judges an instant payment notification as NOWPayments' documentation tells its merchants to: the body is read, its keys
// are sorted, and what that is written as again is signed.
// In: {"key", "signature", "body"} on stdin. Out: "ok", or why not and status 1.
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

const { key, signature, body } = JSON.parse(readFileSync(0, "utf8"));

const sorted = (value) =>
  value === null || typeof value !== "object" || Array.isArray(value)
    ? value
    : Object.fromEntries(
        Object.keys(value)
          .sort()
          .map((name) => [name, sorted(value[name])]),
      );

const expected = createHmac("sha512", key).update(JSON.stringify(sorted(JSON.parse(body)))).digest("hex");
if (expected === signature) {
  console.log("ok");
} else {
  console.log(`signed ${signature}, not ${expected}`);
  process.exitCode = 1;
}
