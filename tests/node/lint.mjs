// Lints an OpenAPI document by Redocly's rules, with what redocly.yaml says of them.
//
//   node lint.mjs FILE

import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { formatProblems, getTotals, lint, loadConfig } from "@redocly/openapi-core";

const folder = dirname(fileURLToPath(import.meta.url));
const config = await loadConfig({ configPath: join(folder, "redocly.yaml") });
const problems = await lint({ ref: process.argv[2], config });
if (problems.length > 0) {
  formatProblems(problems, { format: "codeframe", totals: getTotals(problems), version: "1" });
  process.exit(1);
}
