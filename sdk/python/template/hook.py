from kassa_sdk import Answer, Event, FulfillContext, done


def fulfill(event: Event, context: FulfillContext) -> Answer:
    invoice = event.payload["data"]["invoice"]
    print("paid:", invoice["title"], context.settings)
    return done(f"saw {invoice['id']}")
