"""Write Kassa hooks in Python. The services are the modules storage, http, webhooks, secrets, random, clock and log."""

from kassa_sdk._host import ServiceError
from kassa_sdk.answers import (
    Answer,
    done,
    malformed,
    no_price,
    pass_,
    pay,
    reject,
    retry,
    review,
    split,
    unknown_pair,
    unsupported,
)
from kassa_sdk.types import (
    Candidate,
    Delivery,
    Event,
    FormContext,
    FulfillContext,
    MatchContext,
    Memo,
    Pair,
    Part,
    Price,
    RatesContext,
    Rendered,
    Transfer,
)

__all__ = [
    "Answer", "Candidate", "Delivery", "Event", "FormContext", "FulfillContext", "MatchContext", "Memo", "Pair", "Part",
    "Price", "RatesContext", "Rendered", "ServiceError", "Transfer", "done", "malformed", "no_price", "pass_", "pay",
    "reject", "retry", "review", "split", "unknown_pair", "unsupported",
]
