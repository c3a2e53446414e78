"""Key-value storage of this hook. Keys have at most 256 bytes; there is `None` where there is no value."""

import json
from typing import Any, Sequence

from kassa_sdk._host import as_bytes, ask, service, text

_host = service("storage")


def get_bytes(key: str) -> bytes | None:
    return ask("storage", _host.get, text(key))


def get(key: str) -> str | None:
    """The value as text."""
    value = get_bytes(key)
    return None if value is None else value.decode(errors="replace")


def get_many_bytes(keys: Sequence[str]) -> list[bytes | None]:
    """The values of up to 100 keys at once, in their order."""
    return ask("storage", _host.get_many, [text(key) for key in keys])


def get_many(keys: Sequence[str]) -> list[str | None]:
    """The same as text."""
    return [None if value is None else value.decode(errors="replace") for value in get_many_bytes(keys)]


def get_json(key: str) -> Any:
    value = get(key)
    return None if value is None else json.loads(value)


def set(key: str, value: str | bytes) -> None:
    ask("storage", _host.set, text(key), as_bytes(value))


def set_json(key: str, value: Any) -> None:
    set(key, json.dumps(value))


def delete(key: str) -> None:
    ask("storage", _host.delete, text(key))


def keys(prefix: str, *, after: str | None = None, limit: int = 1000) -> list[str]:
    """Ascending; at most 1,000 at once, then on with `after`."""
    return ask("storage", _host.keys, text(prefix), None if after is None else text(after), limit)
