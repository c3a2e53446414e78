"""Webhooks to the merchant's own endpoints."""

import json
from typing import Any

from kassa_sdk._host import ask, service, text

_host = service("webhooks")


def queue(event: str, data: dict[str, Any], endpoint: str | None = None) -> str:
    """Answers the event's id.

    `event` begins with `hook.`; without an endpoint's id it goes to all that listen to it.
    """
    return ask("webhooks", _host.queue, endpoint, text(event), json.dumps(data))
