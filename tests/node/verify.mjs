// Verifies a webhook with the `standardwebhooks` package, so that no code of Kassa judges its own signature.
// In: {"secret", "headers", "body"} on stdin. Out: "ok", or why not and status 1.
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const { secret, headers, body } = JSON.parse(readFileSync(0, "utf8"));
try {
  new Webhook(secret).verify(body, headers);
  console.log("ok");
} catch (error) {
  console.log(`${error.name}: ${error.message}`);
  process.exitCode = 1;
}
