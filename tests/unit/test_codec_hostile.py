"""Hostile bytes: decoded or refused as ``DecodeError``, in little time and memory."""

import json
import pickle
import time
import tracemalloc
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskbus import codec
from taskbus.errors import DecodeError

in_both = pytest.mark.parametrize("encoding", codec.CONTENT_TYPES)

leaves = (
    st.none() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes() | st.dates() | st.times()
    | st.timedeltas() | st.uuids() | st.decimals() | st.integers(-(1 << 500), 1 << 500)
)  # fmt: skip
keys = st.integers() | st.text() | st.uuids() | st.tuples(st.integers(), st.text())
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4) | st.sets(keys, max_size=4),
    max_leaves=15,
)


def decode_or_refuse(data: bytes, encoding: str) -> None:
    """Decode in bounded memory; anything but a value or a ``DecodeError`` fails the test."""
    try:
        codec.decode(data, encoding)
    except DecodeError as error:
        assert len(str(error)) <= 600


@in_both
@settings(max_examples=400)
@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_are_decoded_or_refused(encoding: str, data: bytes) -> None:
    decode_or_refuse(data, encoding)


@in_both
@settings(max_examples=200)
@given(value=values, data=st.data())
def test_mangled_encodings_are_decoded_or_refused(encoding: str, value: Any, data: st.DataObject) -> None:
    mangled = bytearray(codec.encode(value, encoding))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(mangled) - 1))
        mangled[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        if not mangled:
            break
    decode_or_refuse(bytes(mangled), encoding)


@given(st.integers(-128, 127), st.binary(max_size=40))
def test_extensions_of_any_code_and_payload_are_decoded_or_refused(code: int, payload: bytes) -> None:
    decode_or_refuse(msgpack.packb([msgpack.ExtType(code & 0x7F, payload)]), "msgpack")
    decode_or_refuse(b"\xc7" + bytes([len(payload), code & 0xFF]) + payload, "msgpack")


tagged_names = st.sampled_from(
    ["$set", "$frozenset", "$map", "$bytes", "$float", "$int", "$date", "$datetime", "$time", "$timedelta", "$uuid",
     "$decimal", "$path"]
)  # fmt: skip
scraps = st.recursive(
    st.none() | st.integers() | st.text(max_size=9) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(tagged_names, inner, max_size=2),
    max_leaves=8,
)


@settings(max_examples=300)
@given(tagged_names, scraps)
def test_tags_that_hold_nonsense_are_decoded_or_refused(name: str, scrap: Any) -> None:
    decode_or_refuse(json.dumps([{name: scrap}]).encode(), "json")


@pytest.mark.parametrize("code", [0, 11, 42, 127, -2])
def test_extensions_of_others_are_refused(code: int) -> None:
    with pytest.raises(DecodeError):
        codec.decode(b"\xd6" + bytes([code & 0xFF]) + b"\x00\x00\x00\x00", "msgpack")


def test_a_timestamp_of_msgpack_itself_is_a_datetime() -> None:
    instant = datetime(2026, 2, 1, 12, tzinfo=UTC)
    assert codec.decode(msgpack.packb([instant], datetime=True)) == [instant]
    for payload in (b"\xff" * 8, b"\xff" * 12, b""):
        decode_or_refuse(b"\xc7" + bytes([len(payload), 0xFF]) + payload, "msgpack")


def test_a_pickle_is_bytes_and_stays_bytes() -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return pytest.fail, ("a pickle was loaded",)

    for encoding in codec.CONTENT_TYPES:
        assert isinstance(codec.decode(codec.encode(pickle.dumps(Bomb()), encoding), encoding), bytes)
        with pytest.raises(DecodeError):
            codec.decode(pickle.dumps(Bomb()), encoding)


SET8 = b"\xc7\xff\x07"
BOMBS = {
    "nested arrays": ("msgpack", b"\x91" * 1_000_000),
    "nested claims": ("msgpack", b"\xdd\x00\x0f\xff\xff" * 200_000),
    "few nested claims": ("msgpack", b"\xdd\x00\x0f\xff\xff" * 60 + b"\x01" * 90_000),
    "nested maps": ("msgpack", b"\x81\xa1a" * 300_000),
    "nested sets": ("msgpack", SET8 * 300_000),
    "nested sets in small": ("msgpack", b"\xd4\x07" * 500_000),
    "nested sets with true lengths": ("msgpack", b""),
    "a claim of four gibi": ("msgpack", b"\xdd\xff\xff\xff\xff"),
    "a text of four gibi": ("msgpack", b"\xdb\xff\xff\xff\xff"),
    "bytes of four gibi": ("msgpack", b"\xc6\xff\xff\xff\xff"),
    "an extension of four gibi": ("msgpack", b"\xc9\xff\xff\xff\xff\x01"),
    "a set of four gibi": ("msgpack", b"\xc9\xff\xff\xff\xff\x07\xdd\xff\xff\xff\xff"),
    "a million empty arrays": ("msgpack", b"\xdd\x00\x0f\x42\x40" + b"\x90" * 1_000_000),
    "a million numbers": ("msgpack", b"\xdd\x00\x0f\x42\x40" + b"\x01" * 1_000_000),
    "many arrays of numbers": ("msgpack", b"\xdc\x00\x64" + (b"\xdc\x27\x10" + b"\x01" * 10_000) * 100),
    "nested JSON arrays": ("json", b"[" * 1_000_000),
    "nested JSON maps": ("json", b'{"a":' * 200_000),
    "a million JSON arrays": ("json", b"[" + b"[]," * 300_000 + b"[]]"),
    "a million JSON numbers": ("json", b"[" + b"1," * 500_000 + b"1]"),
    "a JSON number of a million digits": ("json", b"1" * 1_000_000),
    "JSON quotes": ("json", b'"' * 1_000_000),
    "JSON backslashes": ("json", b'["' + b"\\" * 900_000 + b"[" * 100),
    "brackets in a JSON text": ("json", b'["' + b"[" * 900_000 + b'", [' + b"[" * 70),
    "a huge integer": ("json", json.dumps({"$int": "f" * 1_000_000}).encode()),
    "a huge exponent": ("json", b'{"$set":[{"$decimal":"1e999999999999999999"},{"$decimal":"1e-99999999999"}]}'),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_little_time_and_memory(name: str) -> None:
    encoding, data = BOMBS[name]
    if not data:
        for _ in range(200):
            data = b"\xc9" + (len(data) + 1).to_bytes(4, "big") + b"\x07\x91" + data
    tracemalloc.start()
    started = time.process_time()
    try:
        decode_or_refuse(data, encoding)
        assert tracemalloc.get_traced_memory()[1] < 80 << 20
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 5.0  # a second or two under tracing; without limits: minutes, or no memory


@pytest.mark.parametrize("container", ["set", "map"])
@in_both
def test_keys_chosen_to_collide_are_refused(encoding: str, container: str) -> None:
    colliding = [Decimal(number * (2**61 - 1)) for number in range(1, 20_000)]
    assert len({hash(each) for each in colliding}) == 1
    if encoding == "msgpack":
        written = [msgpack.ExtType(6, str(each).encode()) for each in colliding]
        data = (
            msgpack.packb(msgpack.ExtType(7, msgpack.packb(written)))
            if container == "set"
            else b"\xdf" + len(written).to_bytes(4, "big") + b"".join(msgpack.packb(each) + b"\x01" for each in written)
        )
    else:
        texts = [{"$decimal": str(each)} for each in colliding]
        data = json.dumps({"$set": texts} if container == "set" else {"$map": [[each, 1] for each in texts]}).encode()
    with pytest.raises(DecodeError, match="same hash"):
        codec.decode(data, encoding, max_bytes=4 << 20)


@pytest.mark.parametrize(
    "text",
    [
        '{"$set": {"a": 1}}', '{"$set": [[{"a": 1}]]}', '{"$map": [[1]]}', '{"$map": 7}', '{"$bytes": "*"}',
        '{"$float": "1"}', '{"$date": "tomorrow"}', '{"$uuid": "x"}', '{"$timedelta": "1e400"}', '{"$int": "zz"}',
        '{"$path": 1}', '{"$decimal": "1.2.3"}', '{"$timedelta": "99999999999999999999999"}', "", "[1,]", "nul", "\x00",
    ],
)  # fmt: skip
def test_malformed_json_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        codec.decode(text.encode(), "json")
