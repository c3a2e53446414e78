"""What hooks are given. The contract, wit/hooks.wit, says what each thing means."""

from dataclasses import dataclass
from typing import Any


@dataclass
class Event:
    id: str
    #: `invoice.paid` and so on.
    kind: str
    #: What the webhook of this event carries: `{"type", "timestamp", "data"}`.
    payload: Any


@dataclass
class FulfillContext:
    #: The run's id, the same at every try.
    run: str
    #: Which try this is, from 1.
    attempt: int
    now_ms: int
    settings: dict[str, Any]


@dataclass
class Memo:
    #: `none`, `text` or `unreadable`.
    kind: str
    #: The text, or why there is none.
    text: str = ""


@dataclass
class Transfer:
    tx: str
    ordinal: int
    asset: int
    sender: str | None
    recipient: str
    #: Base units; None: more than 128 bits hold.
    amount: int | None
    memo: Memo
    height: int


@dataclass
class Candidate:
    due: int
    received: int
    created_ms: int
    expires_ms: int
    tag: str
    order_id: str


@dataclass
class MatchContext:
    network: str
    asset: str
    decimals: int
    now_ms: int
    settings: dict[str, Any]


@dataclass
class Part:
    #: Place in the list of candidates.
    candidate: int
    amount: int


@dataclass
class Pair:
    asset: str
    currency: str


@dataclass
class Price:
    """One whole unit costs `mantissa / 10^scale`."""

    mantissa: int
    scale: int
    #: When the source says that this was so.
    at_ms: int


@dataclass
class RatesContext:
    now_ms: int
    settings: dict[str, Any]
