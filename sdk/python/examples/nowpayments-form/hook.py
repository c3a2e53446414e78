import json

from kassa_sdk import Answer, Delivery, FormContext, Rendered, malformed, secrets, unsupported

STATUSES = {
    "invoice.detected": "confirming",
    "invoice.paid": "finished",
    "invoice.overpaid": "finished",
    "invoice.underpaid": "partially_paid",
    "invoice.expired": "expired",
    "invoice.cancelled": "failed",
    "invoice.reverted": "failed",
}


def render(delivery: Delivery, context: FormContext) -> Rendered | Answer:
    status = STATUSES.get(delivery.kind)
    if not status:
        return unsupported(f"{delivery.kind} is about no payment")
    data = delivery.payload.get("data") if isinstance(delivery.payload, dict) else None
    invoice = data.get("invoice") if isinstance(data, dict) else None
    if not invoice:
        return malformed("the payload has no invoice")

    network, symbol = invoice["payable_network"], invoice["payable_asset"]
    asset = context.settings.get("currencies", {}).get(f"{network}/{symbol}", symbol.lower())
    usd = invoice.get("base_amount_usd")
    fields = {
        "actually_paid": number(invoice["credited_amount"]),
        "invoice_id": text(invoice["id"]),
        "order_description": text(invoice["title"]),
        "order_id": text(invoice["order_id"]),
        "pay_address": text(invoice["destination_address"]),
        "pay_amount": number(invoice["payable_amount"]),
        "pay_currency": text(asset),
        "payin_extra_id": text(invoice["payment_comment"]),
        "payment_id": text(invoice["id"]),
        "payment_status": text(status),
        "price_amount": number(usd or invoice["amount"]),
        "price_currency": text("usd" if usd else asset),
    }
    # A handler signs what it has read and sorted and written again: so the keys are sorted, and everything is written
    # as JavaScript writes it.
    body = "{" + ",".join(f'"{key}":{value}' for key, value in sorted(fields.items())) + "}"
    signature = secrets.sign("ipn_key", "HMAC-SHA512", body).hex()
    return Rendered({"content-type": "application/json", "x-nowpayments-sig": signature}, body=body)


def text(value: str | None) -> str:
    return json.dumps(value, ensure_ascii=False)


def number(decimal: str) -> str:
    """A decimal as JavaScript writes the number; as a text where it could not keep all digits."""
    whole, _, fraction = decimal.partition(".")
    fraction = fraction.rstrip("0")
    is_small = whole == "0" and fraction.startswith("000000")
    if len((whole + fraction).lstrip("0")) > 15 or is_small:
        return text(decimal)
    return f"{whole}.{fraction}" if fraction else whole
