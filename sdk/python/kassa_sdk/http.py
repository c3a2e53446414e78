"""Outbound HTTP. No answer at all is a `ServiceError`; a status never is."""

import json as _json
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from kassa_sdk._host import ServiceError, as_bytes, ask, service, text

_host = service("http")


@dataclass(frozen=True)
class secret:
    """Stands in a header for a secret that is bound to the request's host. In URLs write `{secret:NAME}`."""

    name: str


Headers = Mapping[str, str | secret]


@dataclass
class Response:
    status: int
    #: Names in lower case.
    headers: dict[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def text(self) -> str:
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Raises ValueError if it is no JSON: catch it, since anyone may stand between here and the service."""
        return _json.loads(self.text())


@dataclass
class Request:
    """For `send_all`. `json` is sent with its content type, `body` as it is."""

    url: str
    method: str = "get"
    headers: Headers | None = None
    json: Any = None
    body: str | bytes = b""

    def _raw(self) -> Any:
        headers = dict(self.headers or {})
        if self.json is not None:
            headers = {"content-type": "application/json", **headers}
        return _host.Request(
            method=_host.Method[self.method.upper()],
            target=_host.Target_Url(text(self.url)),
            headers=[_host.Header(name, _header_value(value)) for name, value in headers.items()],
            body=as_bytes(self.body if self.json is None else _json.dumps(self.json)),
        )


def _header_value(value: str | secret) -> Any:
    if isinstance(value, secret):
        return _host.HeaderValue_Secret(value.name)
    return _host.HeaderValue_Text(text(value))


def _response(raw: Any) -> Response:
    return Response(raw.status, dict(raw.headers), raw.body)


def _send(request: Request) -> Response:
    return _response(ask("http", _host.send, request._raw()))


def get(url: str, *, headers: Headers | None = None) -> Response:
    return _send(Request(url, "get", headers))


def post(url: str, *, headers: Headers | None = None, json: Any = None, body: str | bytes = b"") -> Response:
    return _send(Request(url, "post", headers, json, body))


def put(url: str, *, headers: Headers | None = None, json: Any = None, body: str | bytes = b"") -> Response:
    return _send(Request(url, "put", headers, json, body))


def delete(url: str, *, headers: Headers | None = None) -> Response:
    return _send(Request(url, "delete", headers))


def send_all(requests: Sequence[Request]) -> list[Response | ServiceError]:
    """All at the same time; answers in the same order."""
    results = _host.send_all([request._raw() for request in requests])
    return [
        _response(result.value) if type(result).__name__ == "Ok" else ServiceError("http", result.value)
        for result in results
    ]
