"""Outbound HTTP. No answer at all is a `ServiceError`; a status never is."""

import json as _json
from dataclasses import dataclass
from typing import Any, Sequence

from kassa_sdk._host import ServiceError, ask, service, text
from kassa_sdk._request import Headers, content, method_case

_host = service("http")


_OPEN = "{secret:"


def secret(name: str) -> str:
    """Stands anywhere in a header's value or a URL for a secret that is bound to the request's host."""
    return f"{_OPEN}{name}}}"


def literal(value: str) -> str:
    """A text for a header or a URL in which nothing stands for a secret: what is not your own goes through this."""
    return text(value).replace(_OPEN, _OPEN + "}")


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
    """For `send` and `send_all`. `json` is sent with its content type, `body` as it is.

    `method` is any but `CONNECT` and `TRACE`.
    """

    url: str
    method: str = "get"
    headers: Headers | None = None
    json: Any = None
    body: str | bytes = b""

    def _raw(self) -> Any:
        headers, body = content(self.headers, self.json, self.body)
        return _host.Request(
            method=method_case(_host.types, self.method),
            target=_host.Target_Url(text(self.url)),
            headers=headers,
            body=body,
        )


def _response(raw: Any) -> Response:
    return Response(raw.status, dict(raw.headers), raw.body)


def send(request: Request) -> Response:
    """With any method."""
    return _response(ask("http", _host.send, request._raw()))


def get(url: str, *, headers: Headers | None = None) -> Response:
    return send(Request(url, "get", headers))


def head(url: str, *, headers: Headers | None = None) -> Response:
    return send(Request(url, "head", headers))


def post(url: str, *, headers: Headers | None = None, json: Any = None, body: str | bytes = b"") -> Response:
    return send(Request(url, "post", headers, json, body))


def put(url: str, *, headers: Headers | None = None, json: Any = None, body: str | bytes = b"") -> Response:
    return send(Request(url, "put", headers, json, body))


def patch(url: str, *, headers: Headers | None = None, json: Any = None, body: str | bytes = b"") -> Response:
    return send(Request(url, "patch", headers, json, body))


def delete(url: str, *, headers: Headers | None = None) -> Response:
    return send(Request(url, "delete", headers))


def send_all(requests: Sequence[Request]) -> list[Response | ServiceError]:
    """All at the same time; answers in the same order."""
    results = _host.send_all([request._raw() for request in requests])
    return [
        _response(result.value) if type(result).__name__ == "Ok" else ServiceError("http", result.value)
        for result in results
    ]
