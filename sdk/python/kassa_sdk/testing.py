"""The host's services for tests: storage in memory, and lists of what a hook did."""

import json
from dataclasses import dataclass, make_dataclass
from enum import Enum
from types import SimpleNamespace
from typing import Any, Callable


@dataclass
class FakeRequest:
    """What a test sees of a request: as the hook wrote it, `{secret:NAME}` where a secret goes."""

    method: str
    url: str
    headers: dict[str, Any]
    text: str
    json: Any = None


class Fake:
    """Reset it before each test. Storage is filled and read with the SDK's own `storage`."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.values: dict[str, bytes] = {}
        self.queued: list[dict[str, Any]] = []
        self.requests: list[FakeRequest] = []
        self.logs: list[tuple[str, str]] = []
        self.now_ms = 1_767_225_600_000
        self.answer: Callable[[FakeRequest], Any] = lambda _request: fail(
            "connection", "the test gives no answer; set fake.answer"
        )
        self.sign: Callable[[str, str, bytes], bytes] = lambda _secret, _algorithm, _message: bytes(32)
        self.random: Callable[[int], bytes] = lambda count: bytes(at % 256 for at in range(count))


fake = Fake()


def answer(status: int = 200, *, json: Any = None, text: str = "", headers: dict[str, str] | None = None) -> Any:
    """An answer for `fake.answer` to give."""
    body = text if json is None else _dumped(json)
    return SimpleNamespace(status=status, headers=list((headers or {}).items()), body=body.encode())


def fail(kind: str, detail: str | int | None = None) -> Any:
    """No answer; `kind` is a case of `http-error` in the contract."""
    raise _fault("HttpError", kind, detail)


_dumped = json.dumps


class Err(Exception):
    """As the bindings raise a typed error, and give it in lists."""

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.value = value


@dataclass
class Ok:
    value: Any


def _fault(variant: str, kind: str, detail: str | int | None = None) -> Err:
    name = f"{variant}_{kind.title().replace('-', '')}"
    return Err(make_dataclass(name, [] if detail is None else ["value"])(*[] if detail is None else [detail]))


class storage:
    @staticmethod
    def get(key: str) -> bytes | None:
        return fake.values.get(key)

    @staticmethod
    def get_many(keys: list[str]) -> list[bytes | None]:
        return [fake.values.get(key) for key in keys]

    @staticmethod
    def set(key: str, value: bytes) -> None:
        if not key or "\0" in key or len(key.encode()) > 256:
            raise _fault("StorageError", "bad-key")
        fake.values[key] = value

    @staticmethod
    def delete(key: str) -> None:
        fake.values.pop(key, None)

    @staticmethod
    def keys(prefix: str, after: str | None, limit: int) -> list[str]:
        found = [key for key in fake.values if key.startswith(prefix) and (after is None or key > after)]
        return sorted(found)[:limit]


class types:
    Method_Get = make_dataclass("Method_Get", [])
    Method_Head = make_dataclass("Method_Head", [])
    Method_Post = make_dataclass("Method_Post", [])
    Method_Put = make_dataclass("Method_Put", [])
    Method_Patch = make_dataclass("Method_Patch", [])
    Method_Delete = make_dataclass("Method_Delete", [])
    Method_Other = make_dataclass("Method_Other", ["value"])


class http:
    types = types
    Target_Url = make_dataclass("Target_Url", ["value"])
    Request = make_dataclass("Request", ["method", "target", "headers", "body"])

    @staticmethod
    def send(raw: Any) -> Any:
        headers = dict(raw.headers)
        text = raw.body.decode()
        parsed = json.loads(text) if headers.get("content-type") == "application/json" else None
        method = getattr(raw.method, "value", type(raw.method).__name__.split("_")[1].lower())
        request = FakeRequest(method, raw.target.value, headers, text, parsed)
        fake.requests.append(request)
        return fake.answer(request)

    @staticmethod
    def send_all(requests: list[Any]) -> list[Any]:
        def result(raw: Any) -> Any:
            try:
                return Ok(http.send(raw))
            except Err as error:
                return error

        return [result(raw) for raw in requests]


class webhooks:
    @staticmethod
    def queue(endpoint: str | None, event: str, data: str) -> str:
        if not event.startswith("hook."):
            raise _fault("WebhooksError", "malformed", "the event begins with hook.")
        fake.queued.append({"endpoint": endpoint, "event": event, "data": json.loads(data)})
        return f"evt_{len(fake.queued)}"


class secrets:
    @staticmethod
    def sign(secret: str, algorithm: str, message: bytes) -> bytes:
        return fake.sign(secret, algorithm, message)


class random:
    @staticmethod
    def get_bytes(count: int) -> bytes:
        if count > 4096:
            raise _fault("RandomError", "quota", "4096 random bytes of a call")
        return fake.random(count)


class clock:
    @staticmethod
    def now_ms() -> int:
        return fake.now_ms


class log:
    Level = Enum("Level", ["DEBUG", "INFO", "WARN", "ERROR"])

    @staticmethod
    def write(level: Any, message: str) -> None:
        fake.logs.append((level.name.lower(), message))
