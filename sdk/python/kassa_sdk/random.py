"""Randomness that is recorded with the run: a replay is given the same."""

from kassa_sdk._host import ask, service

_host = service("random")


def randbytes(count: int) -> bytes:
    """Bytes that nobody can guess, at most 4,096 in a call of the hook."""
    return ask("random", _host.get_bytes, count)
