// Between the bindings of a role and the function that a hook exports for it.
import { log, ServiceError } from "./basics.js";
import { content, methodCase } from "./http.js";
import { malformed, reject } from "./outcomes.js";

/** An exception ends the run without a word to the host: what it was has to be said before. */
function logged(call) {
  try {
    const answer = call();
    if (typeof answer?.then === "function") {
      throw new TypeError("the hook answered a promise; services answer at once, so leave out async and await");
    }
    if (typeof answer !== "object") throw new TypeError(`the hook answered ${answer}; see what its role answers`);
    return answer;
  } catch (error) {
    log.error(error instanceof Error ? `${error}\n${error.stack}` : `thrown: ${error}`);
    throw error;
  }
}

const withSettings = (context) => ({ ...context, settings: JSON.parse(context.settings) });

export const fulfiller = (fulfill) => ({
  fulfill: (event, context) => logged(() => {
    let payload;
    try {
      payload = JSON.parse(event.payload);
    } catch {
      return reject("the event's payload is no JSON; see the event in the list of events");
    }
    return fulfill({ ...event, payload }, withSettings(context));
  }),
});

const toBigInt = ({ w3, w2, w1, w0 }) =>
  [w3, w2, w1, w0].reduce((amount, word) => (amount << 32n) | BigInt(word), 0n);

function fromBigInt(amount) {
  if (typeof amount !== "bigint" || BigInt.asUintN(128, amount) !== amount) {
    throw new RangeError(`an amount is a BigInt from 0 to 2^128 - 1, not ${amount}`);
  }
  const word = (shift) => Number(BigInt.asUintN(32, amount >> shift));
  return { w3: word(96n), w2: word(64n), w1: word(32n), w0: word(0n) };
}

const withAmounts = (record, ...names) =>
  ({ ...record, ...Object.fromEntries(names.map((name) => [name, record[name] && toBigInt(record[name])])) });

export const matcher = (matchTransfer) => ({
  matchTransfer: (transfer, candidates, context) => logged(() => {
    const decision = matchTransfer(
      withAmounts(transfer, "amount"),
      candidates.map((candidate) => withAmounts(candidate, "due", "received")),
      withSettings(context),
    );
    if (decision?.tag !== "split") return decision;
    return { tag: "split", val: decision.val.map((part) => ({ ...part, amount: fromBigInt(part.amount) })) };
  }),
});

// The bindings carry 64-bit words as doubles. Beyond 2^53 they are rounded, which must never be taken for a price.
function exact(number) {
  if (!Number.isSafeInteger(number)) {
    throw new RangeError("a mantissa is a whole number up to 2^53; give the price fewer digits");
  }
  return number;
}

/** The bindings take the error of a result, which is a case of the contract, from what is thrown. */
function orThrown(answer) {
  if (answer.tag) throw answer;
  return answer;
}

export const rates = (priceOf) => ({
  priceOf: (pair, context) => {
    const answer = logged(() => {
      const { mantissa, ...rest } = priceOf(pair, withSettings(context));
      return rest.tag ? rest : { more: [], ...rest, mantissa: exact(Number(mantissa)) };
    });
    return orThrown(answer);
  },
});

/** A request as the contract has it. */
function rendered({ method = "post", taken: { statuses = [], body = null } = {}, ...rest }) {
  return { method: methodCase(method), ...content(rest), taken: { statuses, body, more: [] }, more: [] };
}

export const form = (render) => ({
  render: (delivery, context) => orThrown(logged(() => {
    let payload;
    try {
      payload = JSON.parse(delivery.payload);
    } catch {
      return malformed("the payload is no JSON");
    }
    try {
      const answer = render({ ...delivery, payload, payloadText: delivery.payload }, withSettings(context));
      return typeof answer !== "object" || answer.tag || answer.then ? answer : rendered(answer);
    } catch (error) {
      // A secret that is missing or unfit is the merchant's to mend, and no defect of the hook.
      if (error instanceof ServiceError && error.service === "secrets") return { tag: "secret", val: error.message };
      throw error;
    }
  })),
});
