"""What requests of `http` and of forms have in common."""

import json as _json
from typing import Any, Mapping

from kassa_sdk._host import as_bytes, text

Headers = Mapping[str, str]

_METHODS = ("get", "head", "post", "put", "patch", "delete")


def method_case(types: Any, name: str) -> Any:
    """The contract's case of a method, by its name in any letters."""
    if name.lower() in _METHODS:
        return getattr(types, f"Method_{name.title()}")()
    return types.Method_Other(text(name).upper())


def content(headers: Headers | None, json: Any, body: str | bytes) -> tuple[list[tuple[str, str]], bytes]:
    """Headers as pairs, and the body: JSON brings its content type."""
    all = dict(headers or {})
    if json is not None:
        all = {"content-type": "application/json", **all}
    return [(name, text(value)) for name, value in all.items()], as_bytes(body if json is None else _json.dumps(json))
