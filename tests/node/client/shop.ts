// What a merchant's own code is like with a client that a generator made of the OpenAPI document: `schema.ts` is written
// by openapi-typescript, and this has to compile with it.

import createClient from "openapi-fetch";
import type { components, paths, webhooks } from "./schema.js";

type Invoice = components["schemas"]["InvoiceView"];
type Problem = components["schemas"]["Problem"];
type Paid = webhooks["invoice.paid"]["post"]["requestBody"]["content"]["application/json"];

export interface Sold {
  made: Invoice;
  again: Invoice;
  read: Invoice;
  listed: string[];
  refused: Problem;
  unknown: Problem;
}

export async function sell(baseUrl: string, key: string): Promise<Sold> {
  const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });
  const order = () =>
    client.POST("/v1/invoices", {
      params: { header: { "Idempotency-Key": "a-generated-client" } },
      body: { title: "Order 1042", payable_network: "sandbox", payable_asset: "USDT", amount: "25.00" },
    });
  const made = expected((await order()).data);
  const again = expected((await order()).data);
  const read = expected((await client.GET("/v1/invoices/{id}", { params: { path: { id: made.id } } })).data);
  const list = await client.GET("/v1/invoices", { params: { query: { status: "new", limit: 10 } } });
  const listed = expected(list.data).data.map((one) => one.id);
  const bad = await client.POST("/v1/invoices", {
    body: { title: "Order 1043", payable_network: "sandbox", payable_asset: "USDT", amount: "a lot" },
  });
  const nowhere = await client.GET("/v1/invoices/{id}", {
    params: { path: { id: "inv_01ARZ3NDEKTSV4RRFFQ69G5FAV" } },
  });
  return { made, again, read, listed, refused: expected(bad.error), unknown: expected(nowhere.error) };
}

// A handler of webhooks: every field that it reads is in the document.
export function receipt({ data }: Paid): string[] {
  return data.payments.map((one) => `${one.tx_hash} ${one.network} ${one.amount} ${one.asset} ${one.confirmations} ${one.sender}`);
}

export async function misspelt(baseUrl: string): Promise<void> {
  const client = createClient<paths>({ baseUrl });
  // @ts-expect-error There is no such field.
  const order: components["schemas"]["NewInvoice"] = { title: "t", payable_network: "sandbox", amuont: "1" };
  await client.POST("/v1/invoices", { body: order });
  // @ts-expect-error An amount is no number.
  await client.POST("/v1/invoices", { body: { title: "t", payable_network: "sandbox", amount: 1 } });
  // @ts-expect-error There is no such problem.
  const kind: Problem["type"] = "/problems/no_such_problem";
  // @ts-expect-error There is no such address.
  await client.GET(`/v1/invoice/${kind}`);
}

function expected<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("another answer");
  return value;
}
