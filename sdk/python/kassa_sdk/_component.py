"""What Python expects of a system, given by the host, or refused with a word.

Asking a system that is not there would end the run without any. Only the entry that the build writes imports this.
While the hook is loaded, which is at build time, Python has its own; from then on it runs in the host.
"""

import builtins
import datetime
import io
import os
import random
import sys
import time
from types import TracebackType
from typing import Any, Callable

from kassa_sdk import clock, log

_is_loaded = False


def _replace(module: Any, name: str, replacement: Callable[..., Any]) -> None:
    original = getattr(module, name)

    def function(*arguments: Any, **options: Any) -> Any:
        return (replacement if _is_loaded else original)(*arguments, **options)

    setattr(module, name, function)


def _refusing(why: str) -> Callable[..., Any]:
    def refuse(*_arguments: Any, **_options: Any) -> Any:
        raise RuntimeError(why)

    return refuse


class _Datetime(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> "_Datetime":
        return cls.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls) -> "_Datetime":
        return cls.now(datetime.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> "_Datetime":
        return cls.now()


def before_the_hook() -> None:
    """Before anyone can have taken a function out of these modules."""
    for name in ("time", "monotonic", "perf_counter"):
        _replace(time, name, lambda: clock.now_ms() / 1_000)
        _replace(time, f"{name}_ns", lambda: clock.now_ms() * 1_000_000)
    _replace(time, "sleep", _refusing("hooks cannot wait; answer retry(seconds, why)"))
    datetime.datetime = _Datetime  # type: ignore[misc]
    no_random = _refusing(
        "hooks have no randomness of their own; take kassa_sdk.random, or what stays the same from the run's id"
    )
    _replace(os, "urandom", no_random)
    _replace(builtins, "open", _refusing("hooks have no files; what lasts is in storage"))
    for name in random.__all__:
        if name.islower():
            _replace(random, name, no_random)


class _NoMore:
    """Finds no module: those that were loaded are all there are."""

    @staticmethod
    def find_spec(name: str, *_arguments: Any) -> None:
        raise ImportError(f"{name} was not loaded when the hook was built; import it at the top of a file")


class _Lines(io.TextIOBase):
    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._write(line)
        return len(text)


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # Not by `traceback`, which would look for the source's lines in files.
    frames = []
    while trace:
        code = trace.tb_frame.f_code
        frames.append(f"  {code.co_filename}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    log.error("\n".join([f"{kind.__name__}: {error}", *frames]))


def after_the_hook() -> None:
    global _is_loaded
    _is_loaded = True
    sys.meta_path[:] = [_NoMore]
    sys.stdout = _Lines(log.info)
    sys.stderr = _Lines(log.error)
    sys.excepthook = _report
