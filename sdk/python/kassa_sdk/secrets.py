"""What the merchant keeps secret, from the hook too."""

from kassa_sdk._host import as_bytes, ask, service

_host = service("secrets")


def hmac_sha256(secret: str, message: str | bytes) -> bytes:
    """32 bytes, under a secret that signs."""
    return ask("secrets", _host.hmac_sha256, secret, as_bytes(message))
