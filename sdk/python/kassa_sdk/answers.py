"""What the functions of the roles answer."""

import math
from typing import Any, NamedTuple, Sequence

from kassa_sdk._host import text
from kassa_sdk.types import Part


class Answer(NamedTuple):
    """A case of the contract and what it carries."""

    tag: str
    val: Any = None


def done(note: str = "") -> Answer:
    """Fulfiller: done; the note is shown to the merchant."""
    return Answer("done", text(note))


def retry(seconds: float, why: str) -> Answer:
    """Fulfiller: not now, try again after so many seconds."""
    if not seconds >= 0:
        raise ValueError(f"retry: {seconds} is no number of seconds")
    # The boundary takes whole numbers, and no larger ones.
    return Answer("retry", (math.ceil(min(seconds, 2**31 - 1)), text(why)))


def reject(why: str) -> Answer:
    """Fulfiller: never, a person shall look."""
    return Answer("reject", text(why))


def pay(candidate: int) -> Answer:
    """Matcher: all of it pays the candidate at this index."""
    return Answer("pay", candidate)


def split(parts: Sequence[Part]) -> Answer:
    """Matcher: it is split; the rest goes to review."""
    return Answer("split", list(parts))


def review(why: str) -> Answer:
    """Matcher: a person shall look."""
    return Answer("review", text(why))


def pass_() -> Answer:
    """Matcher: no opinion, the built-in policy decides."""
    return Answer("pass")


def unknown_pair() -> Answer:
    """Rates: there is no such price."""
    return Answer("unknown-pair")


def no_price(why: str) -> Answer:
    """Rates: the source did not answer usefully."""
    return Answer("source", text(why))


def unsupported(why: str) -> Answer:
    """Form: no word for events of this kind; the delivery ends here, and is no failure."""
    return Answer("unsupported", text(why))


def malformed(why: str) -> Answer:
    """Form: the payload is not what the form expects."""
    return Answer("malformed", text(why))
