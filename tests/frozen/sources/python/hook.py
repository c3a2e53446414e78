import json

from kassa_sdk import (
    Answer,
    Delivery,
    Event,
    FormContext,
    FulfillContext,
    Rendered,
    clock,
    done,
    http,
    log,
    pay,
    random,
    reject,
    secrets,
    storage,
    unknown_pair,
    unsupported,
    webhooks,
)
from kassa_sdk import Price


def fulfill(event: Event, context: FulfillContext) -> Answer:
    invoice_id = event.payload["data"]["invoice"]["id"]
    storage.set("gone", "soon")
    storage.delete("gone")
    storage.set(f"seen/{invoice_id}", random.randbytes(8).hex())
    keys = storage.keys("seen/", limit=10)
    seen, gone = storage.get_many([f"seen/{invoice_id}", "gone"])
    if f"seen/{invoice_id}" not in keys or len(seen or "") != 16 or gone is not None:
        return reject("the storage lost something")
    response = http.post(
        f"{context.settings['url']}/told",
        headers={"authorization": "Bearer {secret:token}"},
        json={"id": invoice_id},
    )
    if not response.ok:
        return reject(f"status {response.status}")
    webhooks.queue("hook.frozen.told", {"id": invoice_id})
    log.info(f"attempt {context.attempt}")
    return done(f"told of {invoice_id}")


def match_transfer(transfer, candidates, _context) -> Answer:
    log.info(f"{transfer.amount} for one of {len(candidates)}")
    return pay(0)


def price_of(pair, _context) -> Price | Answer:
    return Price(25, 2, clock.now_ms()) if pair.asset == "SBX" else unknown_pair()


def render(delivery: Delivery, _context: FormContext) -> Rendered | Answer:
    if delivery.kind != "invoice.paid":
        return unsupported(f"no word for {delivery.kind}")
    body = json.dumps({"paid": delivery.payload["data"]["invoice"]["id"]}, separators=(",", ":"))
    signature = secrets.sign("key", "HMAC-SHA512", body).hex()
    return Rendered({"x-signature": signature}, body=body, method="PUT", statuses=[200, 204])
