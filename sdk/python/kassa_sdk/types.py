"""What hooks are given. The contract, wit/hooks.wit, says what each thing means."""

from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

#: What a later version of the contract may say beside a record's fields, by name; nothing yet. Ignore what you do not
#: know.
More = list[tuple[str, str]]


@dataclass
class Event:
    id: str
    #: `invoice.paid` and so on.
    kind: str
    #: What the webhook of this event carries: `{"type", "timestamp", "data"}`.
    payload: Any
    more: More = field(default_factory=list)


@dataclass
class FulfillContext:
    #: The run's id, the same at every try.
    run: str
    #: Which try this is, from 1.
    attempt: int
    now_ms: int
    settings: dict[str, Any]
    more: More = field(default_factory=list)


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
    more: More = field(default_factory=list)


@dataclass
class Candidate:
    due: int
    received: int
    created_ms: int
    expires_ms: int
    tag: str
    order_id: str
    more: More | None = None


@dataclass
class MatchContext:
    network: str
    asset: str
    decimals: int
    now_ms: int
    settings: dict[str, Any]
    more: More = field(default_factory=list)


@dataclass
class Part:
    #: Index in the list of candidates.
    candidate: int
    amount: int


@dataclass
class Pair:
    asset: str
    currency: str
    more: More = field(default_factory=list)


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
    more: More = field(default_factory=list)


@dataclass
class Delivery:
    """An event on its way to one endpoint."""

    #: The delivery's id, the same at each attempt.
    id: str
    #: The event's id, the same at each endpoint.
    event: str
    #: `invoice.paid` and so on.
    kind: str
    created_ms: int
    #: Which attempt this is, from 1.
    attempt: int
    #: What the form `standard` sends.
    payload: Any
    #: The same as text.
    payload_text: str
    #: The endpoint's id.
    endpoint: str
    url: str
    more: More = field(default_factory=list)


@dataclass
class FormContext:
    now_ms: int
    settings: dict[str, Any]
    #: The names of the secrets that are set.
    secrets: list[str] = field(default_factory=list)
    more: More = field(default_factory=list)


@dataclass
class Rendered:
    """What goes to the endpoint, and what it has to answer."""

    headers: Mapping[str, str] = field(default_factory=dict)
    #: Sent with its content type; or `body`, as it is.
    json: Any = None
    body: str | bytes = b""
    method: str = "post"
    #: The status codes that mean that the delivery is taken; none: any from 200 to 299.
    statuses: Sequence[int] = ()
    #: A text that has to be in the answer's body too.
    answer: str | None = None
