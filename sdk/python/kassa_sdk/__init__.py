"""Write Kassa hooks in Python. The services are the modules storage, http, webhooks, secrets, clock and log."""

from kassa_sdk._host import ServiceError
from kassa_sdk.answers import (
    Answer,
    done,
    no_price,
    pass_,
    pay,
    reject,
    retry,
    review,
    split,
    unknown_pair,
)
from kassa_sdk.types import (
    Candidate,
    Event,
    FulfillContext,
    MatchContext,
    Memo,
    Pair,
    Part,
    Price,
    RatesContext,
    Transfer,
)

__all__ = [
    "Answer", "Candidate", "Event", "FulfillContext", "MatchContext", "Memo", "Pair", "Part", "Price", "RatesContext",
    "ServiceError", "Transfer", "done", "no_price", "pass_", "pay", "reject", "retry", "review", "split",
    "unknown_pair",
]
