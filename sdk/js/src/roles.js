// Between the bindings of a role and the function that a hook exports for it.
import { log } from "./basics.js";
import { reject } from "./outcomes.js";

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

// The bindings carry 64-bit words as doubles. Beyond 2^53 they are rounded, which must never be taken for money.
function exact(number) {
  if (!Number.isSafeInteger(number)) {
    throw new RangeError("an amount is too large to be exact in JavaScript; see Large amounts in the SDK's README");
  }
  return number;
}

const toBigInt = ({ high, low }) => (BigInt(exact(high)) << 64n) | BigInt(exact(low));

const fromBigInt = (amount) => ({
  high: exact(Number(amount >> 64n)),
  low: exact(Number(BigInt.asUintN(64, amount))),
});

/** Amounts are looked at late, so that a matcher which does not ask for them works with any. */
function lazily(record, ...names) {
  const view = { ...record };
  for (const name of names) {
    if (record[name] !== null) {
      Object.defineProperty(view, name, { enumerable: true, get: () => toBigInt(record[name]) });
    }
  }
  return view;
}

export const matcher = (matchTransfer) => ({
  matchTransfer: (transfer, candidates, context) => logged(() => {
    const decision = matchTransfer(
      lazily(transfer, "amount"),
      candidates.map((candidate) => lazily(candidate, "due", "received")),
      withSettings(context),
    );
    if (decision?.tag !== "split") return decision;
    return { tag: "split", val: decision.val.map((part) => ({ ...part, amount: fromBigInt(part.amount) })) };
  }),
});

export const rates = (priceOf) => ({
  priceOf: (pair, context) => {
    const answer = logged(() => {
      const { mantissa, ...rest } = priceOf(pair, withSettings(context));
      return rest.tag ? rest : { ...rest, mantissa: exact(Number(mantissa)) };
    });
    // The bindings take the error of a result from what is thrown.
    if (answer.tag) throw answer;
    return answer;
  },
});
