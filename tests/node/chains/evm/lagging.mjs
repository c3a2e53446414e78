// The same network as a backend tells it whose head is some blocks behind: it does not know what is above.
import { hex } from "../anvil/node.mjs";

/** Where the calls about a state take their block. Left out it is the head. */
const BLOCK_PARAMETER = {
  eth_call: 1,
  eth_estimateGas: 1,
  eth_getBalance: 1,
  eth_getCode: 1,
  eth_getStorageAt: 2,
  eth_getTransactionCount: 1,
};
const NO_BLOCK = { code: -32000, message: "header not found" };
const isQuantity = (value) => typeof value === "string" && /^0x[0-9a-f]{1,16}$/i.test(value);

export class Lagging {
  #node;
  blocks = 3;

  constructor(node) {
    this.#node = node;
  }

  /** A call or a batch of them. */
  async answer(asked) {
    const heads = await this.heads();
    return Array.isArray(asked)
      ? Promise.all(asked.map((call) => this.#one(call, heads)))
      : this.#one(asked, heads);
  }

  /** What this backend takes for the head and the others. */
  async heads() {
    const tags = await Promise.all(
      ["latest", "safe", "finalized"].map(async (tag) => {
        const { number } = await this.#node.rpc("eth_getBlockByNumber", tag, false);
        return [tag, Math.max(0, Number(number) - this.blocks)];
      }),
    );
    const heads = Object.fromEntries(tags);
    return { ...heads, pending: heads.latest };
  }

  async #one(call, heads) {
    const reply = (rest) => ({ jsonrpc: "2.0", id: call.id ?? null, ...rest });
    if (call.method === "eth_blockNumber") return reply({ result: hex(heads.latest) });
    const params = this.#lowered(call, heads);
    const at = params[BLOCK_PARAMETER[call.method]];
    if (isQuantity(at) && Number(at) > heads.latest) return reply({ error: NO_BLOCK });
    const answer = await this.#forward({ ...call, params });
    return answer.error ? answer : { ...answer, result: below(answer.result, heads.latest) };
  }

  async #forward(call) {
    const headers = { "content-type": "application/json" };
    const answer = await fetch(this.#node.url, { method: "POST", headers, body: JSON.stringify(call) });
    return answer.json();
  }

  /** The parameters with its own idea of the tags. */
  #lowered({ method, params = [] }, heads) {
    const height = (value) => (Object.hasOwn(heads, value) ? hex(heads[value]) : value);
    const lowered = params.map((one) => (typeof one === "string" ? height(one) : one));
    const index = BLOCK_PARAMETER[method];
    if (index !== undefined && lowered.length === index) lowered.push(hex(heads.latest));
    if (method === "eth_getLogs" && lowered[0] && !lowered[0].blockHash) {
      const { fromBlock = "latest", toBlock = "latest", ...rest } = lowered[0];
      lowered[0] = { ...rest, fromBlock: height(fromBlock), toBlock: height(toBlock) };
    }
    return lowered;
  }
}

/** The result without what is above the head. An honest node would say that it lacks a block of which it is asked
    for the logs; those behind a balancer answer none. */
function below(result, head) {
  const above = (value) => {
    const height = value?.number ?? value?.blockNumber;
    return isQuantity(height) && Number(height) > head;
  };
  if (Array.isArray(result)) return result.filter((one) => !above(one));
  return above(result) ? null : result;
}
