import { done } from "@kassa/sdk";

/** @type {import("@kassa/sdk").Fulfill} */
export function fulfill({ payload }, { settings }) {
  const { invoice } = payload.data;
  console.log("paid:", invoice.title, settings);
  return done(`saw ${invoice.id}`);
}
