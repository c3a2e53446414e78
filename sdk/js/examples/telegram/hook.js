import { done, http, reject, retry, ServiceError, storage } from "@kassa/sdk";

const RETRY_SECONDS = 30;

/** @type {import("@kassa/sdk").Fulfill} */
export function fulfill({ kind, payload }, { run, settings }) {
  const invoice = payload?.data?.invoice;
  if (!invoice) return reject(`${kind} is about no invoice; bind this hook to invoice.paid`);
  const chat = settings.chat_id ?? invoice.meta?.telegram_chat_id;
  if (!chat) return reject("no chat; set chat_id of the settings, or telegram_chat_id of the invoice's meta");

  let invite = "";
  if (settings.invite_to) {
    const link = inviteLink(invoice, settings, run);
    if (link.outcome) return link.outcome;
    invite = link.result;
  }

  const text = fill(settings.text ?? "Paid: {title}", {
    order_id: invoice.order_id ?? "",
    title: invoice.title,
    amount: invoice.amount,
    asset: invoice.payable_asset,
    invite,
  });
  const sent = call("sendMessage", { chat_id: chat, text }, settings);
  return sent.outcome ?? done(`message ${sent.result.message_id}`);
}

/** One link for an invoice: a retry commits what was stored, so the next try finds it. */
function inviteLink(invoice, settings, run) {
  const storageKey = `invite/${invoice.id}`;
  const known = storage.get(storageKey);
  if (known !== null) return { result: known };
  const made = call("createChatInviteLink", { chat_id: settings.invite_to, name: run, member_limit: 1 }, settings);
  if (made.outcome) return made;
  const link = made.result.invite_link;
  if (!link) return { outcome: retry(RETRY_SECONDS, "createChatInviteLink: the answer has no link") };
  storage.set(storageKey, link);
  return { result: link };
}

/** What a method of the Bot API answers, or the outcome if it did not. */
function call(method, json, { api_url = "https://api.telegram.org" }) {
  let response;
  try {
    response = http.post(`${api_url}/bot{secret:bot_token}/${method}`, { json });
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    const passes = ["timeout", "connection", "rate-limited"].includes(error.kind);
    return { outcome: passes ? retry(RETRY_SECONDS, error.message) : reject(error.message) };
  }
  const answer = parsed(response);
  if (response.ok && answer.ok === true) return { result: answer.result ?? {} };

  const why = `${method}: ${answer.description ?? `status ${response.status}`}`;
  if (response.status === 429) {
    const seconds = answer.parameters?.retry_after;
    return { outcome: retry(Number.isInteger(seconds) && seconds > 0 ? seconds : RETRY_SECONDS, why) };
  }
  const isRefused = response.status >= 300 && response.status < 500;
  return { outcome: isRefused ? reject(why) : retry(RETRY_SECONDS, why) };
}

/** Something between here and Telegram may answer a page instead of JSON. */
function parsed(response) {
  try {
    return response.json() ?? {};
  } catch {
    return {};
  }
}

const fill = (template, values) =>
  template.replace(/\{(\w+)\}/g, (all, name) => (Object.hasOwn(values, name) ? values[name] : all));
