"""What the merchant keeps secret, from the hook too."""

from kassa_sdk._host import as_bytes, ask, service, text

_host = service("secrets")


def sign(secret: str, algorithm: str, message: str | bytes) -> bytes:
    """The message's signature under a secret that signs.

    `algorithm` is HMAC-SHA1, HMAC-SHA256, HMAC-SHA512, Ed25519, ES256 or RS256; wit/services.wit says what each makes
    and which keys it takes.
    """
    return ask("secrets", _host.sign, text(secret), text(algorithm), as_bytes(message))
