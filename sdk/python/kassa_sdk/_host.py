"""Where the host's services come from, and what they answer when they cannot."""

import importlib
import re
from typing import Any, Callable, TypeVar

T = TypeVar("T")


def service(name: str) -> Any:
    """The bindings of a service in a component; elsewhere the service in memory, for tests."""
    try:
        importlib.import_module("wit_world")
    except ModuleNotFoundError:
        return getattr(importlib.import_module("kassa_sdk.testing"), name)
    return importlib.import_module(f"wit_world.imports.{name}")


class ServiceError(Exception):
    """What a service answers when it cannot.

    `kind` is the case's name in the contract (`timeout`, `denied`, `quota`, …), `detail` what it carries: a text, or
    a number of milliseconds or bytes.
    """

    def __init__(self, service: str, error: Any) -> None:
        case = type(error).__name__.split("_")[1]
        self.service = service
        self.kind = re.sub("(?!^)([A-Z])", r"-\1", case).lower()
        self.detail: str | int | None = getattr(error, "value", None)
        super().__init__(f"{service}: {self.kind}" + ("" if self.detail is None else f": {self.detail}"))


def ask(service: str, call: Callable[..., T], *arguments: Any) -> T:
    """Calls a service; the bindings raise its typed error as `Err(value)`."""
    try:
        return call(*arguments)
    except Exception as error:
        if type(error).__name__ != "Err":
            raise
        raise ServiceError(service, error.value) from None  # type: ignore[attr-defined]


def text(value: object) -> str:
    """Half of a surrogate pair is no Unicode, and would end the run at the boundary."""
    return str(value).encode("utf-8", "replace").decode()


def as_bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else text(value).encode()
