"""The host's time, rounded down to 100 ms."""

from kassa_sdk._host import service

_host = service("clock")


def now_ms() -> int:
    """Milliseconds since 1970."""
    return _host.now_ms()
