import re

from kassa_sdk import Answer, Event, FulfillContext, ServiceError, done, http, reject, retry, storage

RETRY_SECONDS = 30


class Ended(Exception):
    """The run ends early, with this outcome."""

    def __init__(self, outcome: Answer) -> None:
        self.outcome = outcome


def fulfill(event: Event, context: FulfillContext) -> Answer:
    settings = context.settings
    invoice = invoice_of(event.payload)
    if not invoice:
        return reject(f"{event.kind} is about no invoice; bind this hook to invoice.paid")
    chat = settings.get("chat_id") or (invoice.get("meta") or {}).get("telegram_chat_id")
    if not chat:
        return reject("no chat; set chat_id of the settings, or telegram_chat_id of the invoice's meta")

    try:
        values = {
            "order_id": invoice.get("order_id") or "",
            "title": invoice["title"],
            "amount": invoice["amount"],
            "asset": invoice["payable_asset"],
            "invite": invite_link(invoice, context) if settings.get("invite_to") else "",
        }
        text = fill(settings.get("text", "Paid: {title}"), values)
        sent = call("sendMessage", {"chat_id": chat, "text": text}, settings)
    except Ended as ended:
        return ended.outcome
    return done(f"message {sent.get('message_id')}")


def invoice_of(payload: object) -> dict | None:
    data = payload.get("data") if isinstance(payload, dict) else None
    return data.get("invoice") if isinstance(data, dict) else None


def invite_link(invoice: dict, context: FulfillContext) -> str:
    """One link for an invoice: a retry commits what was stored, so the next try finds it."""
    storage_key = f"invite/{invoice['id']}"
    known = storage.get(storage_key)
    if known is not None:
        return known
    wanted = {"chat_id": context.settings["invite_to"], "name": context.run, "member_limit": 1}
    link = call("createChatInviteLink", wanted, context.settings).get("invite_link")
    if not link:
        raise Ended(retry(RETRY_SECONDS, "createChatInviteLink: the answer has no link"))
    storage.set(storage_key, link)
    return link


def call(method: str, json: dict, settings: dict) -> dict:
    """What a method of the Bot API answers."""
    api_url = settings.get("api_url", "https://api.telegram.org")
    try:
        response = http.post(f"{api_url}/bot{{secret:bot_token}}/{method}", json=json)
    except ServiceError as error:
        passes = error.kind in ("timeout", "connection", "rate-limited")
        raise Ended(retry(RETRY_SECONDS, str(error)) if passes else reject(str(error))) from None
    answer = parsed(response)
    if response.ok and answer.get("ok") is True:
        return answer.get("result") or {}

    why = f"{method}: {answer.get('description') or f'status {response.status}'}"
    if response.status == 429:
        seconds = (answer.get("parameters") or {}).get("retry_after")
        raise Ended(retry(seconds if isinstance(seconds, int) and seconds > 0 else RETRY_SECONDS, why))
    is_refused = 300 <= response.status < 500
    raise Ended(reject(why) if is_refused else retry(RETRY_SECONDS, why))


def parsed(response: http.Response) -> dict:
    """Something between here and Telegram may answer a page instead of JSON."""
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def fill(template: str, values: dict) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: str(values.get(found[1], found[0])), template)
