"""The host's log; `print` writes here too."""

from kassa_sdk._host import service, text

_host = service("log")


def debug(message: object) -> None:
    _host.write(_host.Level.DEBUG, text(message))


def info(message: object) -> None:
    _host.write(_host.Level.INFO, text(message))


def warn(message: object) -> None:
    _host.write(_host.Level.WARN, text(message))


def error(message: object) -> None:
    _host.write(_host.Level.ERROR, text(message))
