"""As much of the binary format of components as the build needs: sections are an id, a length (LEB128), bytes."""

from typing import Iterator

_CUSTOM = 0
_INSTANCE = 5
_EXPORT = 11
_PREAMBLE_BYTES = 8
#: One instance, made of exports, of which it has none.
_EMPTY_INSTANCE = b"\x01\x01\x00"


def _leb128(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def _named(name: str) -> bytes:
    return _leb128(len(name.encode())) + name.encode()


def _section(id: int, content: bytes) -> bytes:
    return bytes([id]) + _leb128(len(content)) + content


def sections(component: bytes) -> Iterator[tuple[int, bytes]]:
    """The sections of the component itself."""
    at = _PREAMBLE_BYTES
    while at < len(component):
        id, size, shift = component[at], 0, 0
        while True:
            at += 1
            size |= (component[at] & 0x7F) << shift
            shift += 7
            if component[at] < 0x80:
                break
        yield id, component[at + 1 : at + 1 + size]
        at += 1 + size


def without_export(component: bytes, name: str) -> bytes:
    """Without an exported instance that has a section of its own and that nothing refers to.

    An export counts as an instance too, so that an empty one takes its number.
    """
    # One export; its name is a plain one; what it exports is an instance.
    wanted = b"\x01\x00" + _named(name) + b"\x05"
    parts = list(sections(component))
    found = [at for at, (id, content) in enumerate(parts) if id == _EXPORT and content.startswith(wanted)]
    if len(found) != 1:
        raise ValueError(f"the component exports no instance {name}: another version of componentize-py?")
    parts[found[0]] = (_INSTANCE, _EMPTY_INSTANCE)
    return component[:_PREAMBLE_BYTES] + b"".join(_section(id, content) for id, content in parts)


def with_custom_section(component: bytes, name: str, content: bytes) -> bytes:
    return component + _section(_CUSTOM, _named(name) + content)
