"""TensorFlow's ``Example`` message in its wire form, without TensorFlow and without a copy of what is large.

::

    Example { features: { feature: map<string, Feature> } }          each level is field 1
    Feature { oneof: bytes_list 1, float_list 2, int64_list 3 }      each list is field 1 of its message

Source: ``tensorflow/core/example/example.proto`` and ``feature.proto``; wire types as in protobuf's encoding guide.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Value", "as_example", "decode_example", "encode_example", "encode_feature"]

Value = Sequence[bytes] | Sequence[float] | Sequence[int]  # of one feature: a list of one kind

_LARGE = 4096  # bytes from which a value is passed on as it is
_BYTES, _FLOATS, _INTS = 1, 2, 3  # the fields of a Feature
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5  # wire types


def encode_example(features: Mapping[str, tuple[type, Value]]) -> list[bytes]:
    """Encode features.

    Args:
        features: by name, the kind (``bytes``, ``float`` or ``int``) and the values; an empty list keeps its kind.

    Returns:
        The message in pieces; large byte values are pieces of their own, the very objects that were given.
    """
    return as_example([piece for name, value in features.items() for piece in encode_feature(name, *value)])


def as_example(pieces: Sequence[bytes]) -> list[bytes]:
    """Make an Example of what :func:`encode_feature` returned for its features, one after the other."""
    joined: list[bytes] = []
    small: list[bytes] = [b"\x0a" + _varint(sum(map(len, pieces)))]
    for piece in pieces:
        if len(piece) < _LARGE:
            small.append(piece)
        else:
            joined += [b"".join(small), piece]
            small = []
    return [*joined, b"".join(small)] if small else joined


def encode_feature(name: str, kind: type, values: Value) -> list[bytes]:
    """Encode one feature; see :func:`encode_example`."""
    number, payload = _payload(kind, values)
    size = sum(map(len, payload))
    head = bytes((number << 3 | _DELIMITED,)) + _varint(size)
    key = name.encode()
    entry = b"\x0a" + _varint(len(key)) + key + b"\x12" + _varint(len(head) + size) + head
    return [b"\x0a" + _varint(len(entry) + size) + entry, *payload]


def decode_example(data: bytes) -> dict[str, Value]:
    """Decode features; lists of numbers may be packed or not.

    Raises:
        ValueError: the bytes are not an Example.
    """
    found: dict[str, Value] = {}
    view = memoryview(data)
    try:
        for _, features in _fields(view):
            for _, entry in _fields(_message(features)):
                parts = dict(_fields(_message(entry)))
                found[bytes(_message(parts[1])).decode()] = _values(_message(parts.get(2, view[:0])))
    except (IndexError, KeyError, TypeError, UnicodeDecodeError, struct.error) as error:
        raise ValueError(f"not an Example message ({type(error).__name__})") from error
    return found


def _payload(kind: type, values: Value) -> tuple[int, list[bytes]]:
    """Return a Feature's field number and the pieces of its list message."""
    if kind is bytes:
        pieces: list[bytes] = []
        for value in values:
            assert isinstance(value, bytes)
            pieces += [b"\x0a" + _varint(len(value)), value]
        return _BYTES, pieces
    if not values:
        return (_FLOATS if kind is float else _INTS), []
    if kind is float:
        packed, number = struct.pack(f"<{len(values)}f", *values), _FLOATS
    else:
        packed, number = b"".join(_varint(int(value)) for value in values), _INTS
    return number, [b"\x0a" + _varint(len(packed)), packed]


def _values(feature: memoryview) -> Value:
    for number, content in _fields(feature):
        entries = [value for _, value in _fields(_message(content))]
        if number == _BYTES:
            return [bytes(_message(value)) for value in entries]
        if number == _FLOATS:
            return [x for value in entries for x in struct.unpack(f"<{len(_message(value)) // 4}f", _message(value))]
        return [_signed(x) for value in entries for x in ([value] if isinstance(value, int) else _varints(value))]
    return []


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield field number and value of a message's fields: an integer, or the bytes of what is longer."""
    place = 0
    while place < len(view):
        tag, place = _read_varint(view, place)
        wire = tag & 7
        if wire == _VARINT:
            value, place = _read_varint(view, place)
            yield tag >> 3, value
            continue
        if wire == _DELIMITED:
            size, place = _read_varint(view, place)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"not an Example message (wire type {wire})")
        if place + size > len(view):
            raise ValueError("not an Example message (a field is cut off)")
        yield tag >> 3, view[place : place + size]
        place += size


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise TypeError("a number where a message is expected")
    return value


def _varint(value: int) -> bytes:
    if 0 <= value < 128:
        return bytes((value,))
    value &= 2**64 - 1  # negative numbers take ten bytes
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(view: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7


def _varints(view: memoryview) -> Iterator[int]:
    place = 0
    while place < len(view):
        value, place = _read_varint(view, place)
        yield value


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
