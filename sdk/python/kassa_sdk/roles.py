"""Between the bindings of a role and the function that a hook has for it.

`types` is the module of the role's types in the bindings. Each answers the class that the bindings look for.
"""

import json
from typing import Any, Callable

from kassa_sdk._host import ServiceError, text
from kassa_sdk._request import content, method_case
from kassa_sdk.answers import Answer, malformed, reject
from kassa_sdk.types import (
    Candidate,
    Delivery,
    Event,
    FormContext,
    FulfillContext,
    MatchContext,
    Memo,
    Pair,
    Price,
    RatesContext,
    Rendered,
    Transfer,
)


def _lowered(types: Any, union: str, answer: Any) -> Any:
    if not isinstance(answer, Answer):
        raise TypeError(f"the hook answered {answer!r}; see what its role answers")
    case = getattr(types, f"{union}_{answer.tag.title().replace('-', '')}")
    return case() if answer.val is None else case(answer.val)


def _fields(record: Any) -> dict[str, Any]:
    """Of a context, with its settings as a dict."""
    return {**vars(record), "settings": json.loads(record.settings)}


def fulfiller(hook: Callable[[Event, FulfillContext], Answer], types: Any) -> type:
    def fulfill(_self: object, event: Any, context: Any) -> Any:
        try:
            payload = json.loads(event.payload)
        except ValueError:
            answer = reject("the event's payload is no JSON; see the event in the list of events")
        else:
            answer = hook(Event(**{**vars(event), "payload": payload}), FulfillContext(**_fields(context)))
        return _lowered(types, "Outcome", answer)

    return type("Fulfiller", (), {"fulfill": fulfill})


def _integer(amount: Any) -> int:
    return amount.w3 << 96 | amount.w2 << 64 | amount.w1 << 32 | amount.w0


def _memo(memo: Any) -> Memo:
    return Memo(type(memo).__name__.split("_")[1].lower(), getattr(memo, "value", ""))


def matcher(hook: Callable[[Transfer, list[Candidate], MatchContext], Answer], types: Any) -> type:
    def match_transfer(_self: object, transfer: Any, candidates: list[Any], context: Any) -> Any:
        amount = None if transfer.amount is None else _integer(transfer.amount)
        answer = hook(
            Transfer(**{**vars(transfer), "amount": amount, "memo": _memo(transfer.memo)}),
            [
                Candidate(**{**vars(each), "due": _integer(each.due), "received": _integer(each.received)})
                for each in candidates
            ],
            MatchContext(**_fields(context)),
        )
        if isinstance(answer, Answer) and answer.tag == "split":
            answer = Answer("split", [types.Part(part.candidate, _words(types, part.amount)) for part in answer.val])
        return _lowered(types, "Decision", answer)

    return type("Matcher", (), {"match_transfer": match_transfer})


def _words(types: Any, amount: int) -> Any:
    return types.types.Amount(*(amount >> shift & 0xFFFF_FFFF for shift in (96, 64, 32, 0)))


def rates(hook: Callable[[Pair, RatesContext], Price | Answer], types: Any) -> type:
    def price_of(_self: object, pair: Any, context: Any) -> Any:
        answer = hook(Pair(**vars(pair)), RatesContext(**_fields(context)))
        if isinstance(answer, Price):
            return types.Price(answer.mantissa, answer.scale, answer.at_ms, [])
        raise types.Err(_lowered(types, "RatesError", answer))

    return type("Rates", (), {"price_of": price_of})


def form(hook: Callable[[Delivery, FormContext], Rendered | Answer], types: Any) -> type:
    def render(_self: object, delivery: Any, context: Any) -> Any:
        try:
            payload = json.loads(delivery.payload)
        except ValueError:
            raise types.Err(_lowered(types, "FormError", malformed("the payload is no JSON"))) from None
        told = Delivery(**{**vars(delivery), "payload": payload, "payload_text": delivery.payload})
        try:
            answer = hook(told, FormContext(**_fields(context)))
        except ServiceError as error:
            # A secret that is missing or unfit is the merchant's to mend, and no defect of the hook.
            if error.service != "secrets":
                raise
            answer = Answer("secret", str(error))
        if isinstance(answer, Rendered):
            return _request(types, answer)
        raise types.Err(_lowered(types, "FormError", answer))

    return type("Form", (), {"render": render})


def _request(types: Any, rendered: Rendered) -> Any:
    headers, body = content(rendered.headers, rendered.json, rendered.body)
    answer = None if rendered.answer is None else text(rendered.answer)
    taken = types.Taken(list(rendered.statuses), answer, [])
    return types.Request(method_case(types.types, rendered.method), headers, body, taken, [])
