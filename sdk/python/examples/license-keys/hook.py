from kassa_sdk import Answer, Event, FulfillContext, done, reject, retry, storage, webhooks


def fulfill(event: Event, _context: FulfillContext) -> Answer:
    invoice = invoice_of(event.payload)
    if not invoice:
        return reject(f"{event.kind} is about no invoice; bind this hook to invoice.paid and invoice.overpaid")

    storage_keys = storage.keys("key/", limit=1)
    # What this invoice was given, and what is for sale next, by one question.
    sold, *for_sale = storage.get_many([f"sold/{invoice['id']}", *storage_keys])
    if sold is not None:
        return done(note(sold, invoice))
    if not storage_keys:
        return retry(300, "no keys left; put more into storage under key/")

    key = for_sale[0] or ""
    storage.delete(storage_keys[0])
    storage.set(f"sold/{invoice['id']}", key)
    issued = {"invoice_id": invoice["id"], "order_id": invoice.get("order_id"), "key": key}
    webhooks.queue("hook.license.issued", issued)
    return done(note(key, invoice))


def invoice_of(payload: object) -> dict | None:
    data = payload.get("data") if isinstance(payload, dict) else None
    return data.get("invoice") if isinstance(data, dict) else None


def note(key: str, invoice: dict) -> str:
    """Notes are read by more people than keys are for."""
    return f"key …{key[-4:]} for {invoice.get('order_id') or invoice['id']}"
