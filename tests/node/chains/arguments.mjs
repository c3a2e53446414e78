// The command line of a façade.

/** The value of `--name`, or the default. */
export function argument(name, otherwise) {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : process.argv[at + 1];
}

/** The number behind the colon of `--caip2`: which chain the façade claims to be. */
export function chainId(namespace, otherwise) {
  const caip2 = argument("caip2", `${namespace}:${otherwise}`);
  const [given, reference] = caip2.split(":");
  if (given !== namespace || !/^(-?\d+|0x[0-9a-f]+)$/.test(reference)) {
    console.error(`--caip2 ${caip2}: a chain of ${namespace} is wanted`);
    process.exit(2);
  }
  return Number(reference);
}

/** With `--with-parent` the façade ends when its stdin closes: so it does when whoever started it is killed. */
export function endWithParent() {
  if (process.argv.includes("--with-parent")) process.stdin.resume().on("close", () => process.exit());
}
