"""What Python expects of a system and a component has not.

Asking for it would end the run without a word, so each thing says here what to take instead. Only the entry that the
build writes imports this.
"""

import io
import os
import random
import sys
import time
from types import TracebackType
from typing import Any, Callable

from kassa_sdk import log


def _refusing(why: str) -> Callable[..., Any]:
    def refuse(*_arguments: Any, **_options: Any) -> Any:
        raise RuntimeError(why)

    return refuse


def before_the_hook() -> None:
    """Before anyone can have taken a function out of these modules."""
    no_random = _refusing("hooks have no randomness; take what must be unique from the run's id")
    os.urandom = no_random
    for name in random.__all__:
        if name.islower():
            setattr(random, name, no_random)
    no_time = _refusing("hooks have no clock of their own; take clock.now_ms() of kassa_sdk, or the context's now_ms")
    for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep"):
        setattr(time, name, no_time)


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
    """From here on it runs in the host, and speaks by its log."""
    sys.stdout = _Lines(log.info)
    sys.stderr = _Lines(log.error)
    sys.excepthook = _report
