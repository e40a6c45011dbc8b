"""The compact wire format: what is written can be read, and nothing else can."""

import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from taskbus.errors import DecodeError, EncodeError
from taskbus.message import Message, new_id
from taskbus.wire import compact

LIMIT = 1 << 20
PLAIN = Message("t1", "mail.send", b"\x92\x90\x80", sent_at=1.8e9)

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)
instants = st.floats(0, 9e10) | st.integers(0, 10**10)
messages = st.builds(
    Message,
    celery=st.none(),
    id=texts,
    task=texts,
    body=st.binary(max_size=300),
    content_type=texts,
    queue=texts,
    priority=st.integers(0, 9),
    attempt=st.integers(1, (1 << 31) - 1),
    sent_at=instants,
    due_at=st.none() | instants,
    expires_at=st.none() | instants,
    headers=st.dictionaries(texts, texts, max_size=10),
)


def read(wire: bytes, limit: int = LIMIT) -> Message:
    return compact.decode(wire, "default", 0, limit)


@given(messages)
def test_a_message_that_is_written_reads_as_it_was(message: Message) -> None:
    wire = compact.encode(message)
    assert compact.decode(wire, message.queue, message.priority, len(wire)) == message


@given(messages)
def test_writing_what_was_read_gives_the_same_bytes(message: Message) -> None:
    wire = compact.encode(message)
    assert compact.encode(read(wire)) == wire


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_read_or_refused_and_nothing_else(wire: bytes) -> None:
    try:
        assert type(read(wire)) is Message
    except DecodeError as error:
        assert len(str(error)) < 1000


@given(messages, st.data())
def test_a_message_cut_short_is_refused(message: Message, data: st.DataObject) -> None:
    wire = compact.encode(message)
    length = data.draw(st.integers(0, len(wire) - 1))
    with pytest.raises(DecodeError):
        read(wire[:length])


@given(messages, st.binary(min_size=1, max_size=20))
def test_a_message_with_something_behind_it_is_refused(message: Message, tail: bytes) -> None:
    with pytest.raises(DecodeError):
        read(compact.encode(message) + tail)


@given(messages, st.data())
def test_flipped_bits_give_another_message_or_an_error(message: Message, data: st.DataObject) -> None:
    wire = bytearray(compact.encode(message))
    for _ in range(data.draw(st.integers(1, 5))):
        wire[data.draw(st.integers(0, len(wire) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = read(bytes(wire))
    except DecodeError:
        return
    assert compact.decode(compact.encode(found), found.queue, found.priority, LIMIT) == found


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=8,
)


@given(messages, st.integers(0, 9), anything)
def test_a_field_of_any_other_kind_is_refused_or_fits(message: Message, place: int, value: Any) -> None:
    fields = msgpack.unpackb(compact.encode(message))
    fields[place] = value
    try:
        wire = msgpack.packb(fields)
    except (ValueError, UnicodeError):
        assume(False)
        return
    try:
        found = read(wire)
    except DecodeError:
        return
    assert type(found.id) is type(found.task) is type(found.content_type) is str
    assert type(found.body) is bytes and type(found.attempt) is int and found.attempt >= 1
    assert all(type(key) is type(text) is str for key, text in found.headers.items())
    assert all(at is None or 0 <= at < 1e11 for at in (found.sent_at, found.due_at, found.expires_at))


@given(messages, st.lists(anything, max_size=3))
def test_fields_that_a_later_version_adds_are_left_unread(message: Message, more: list[Any]) -> None:
    try:
        wire = msgpack.packb([*msgpack.unpackb(compact.encode(message)), *more])
    except (ValueError, UnicodeError):
        assume(False)
        return
    assert read(wire).id == message.id


def test_another_version_is_refused_by_its_number() -> None:
    wire = msgpack.packb([2, *msgpack.unpackb(compact.encode(PLAIN))[1:]])
    with pytest.raises(DecodeError, match="version 2 is unknown here"):
        read(wire)


@pytest.mark.parametrize(
    "opener", [b"\x91", b"\x81\xa1k", b"\xdc\x00\x40", b"\xdd\x00\x00\x00\x40", b"\xde\x00\x01\xa1k"]
)
def test_nesting_however_deep_is_refused(opener: bytes) -> None:
    for depth in (100, 1023, 1025, 50_000):
        with pytest.raises(DecodeError):
            read(opener * depth)
        with pytest.raises(DecodeError):
            read(b"\x9a\x01" + opener * depth)


@pytest.mark.parametrize(
    "claim",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xdc\xff\xff" * 300_000,
        b"\xdd\x00\x01\x00\x00" * 200_000,
        b"\x9a" * LIMIT,
        b"\x90" * LIMIT,
    ],
)
def test_claims_of_length_do_not_allocate(claim: bytes) -> None:
    wire = (b"\x9a\x01\xa1a" + claim)[:LIMIT]
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            read(wire)
        assert tracemalloc.get_traced_memory()[1] < 4 * LIMIT
    finally:
        tracemalloc.stop()


def test_a_message_beyond_the_limit_is_refused_unread() -> None:
    wire = compact.encode(PLAIN._replace(body=b"x" * 1000))
    assert read(wire, len(wire)).body == b"x" * 1000
    with pytest.raises(DecodeError, match="larger than max_message_bytes"):
        read(wire, len(wire) - 1)


def test_a_body_of_a_mebibyte_travels() -> None:
    message = PLAIN._replace(body=bytes(range(256)) * 4096)
    assert read(compact.encode(message), 2 * LIMIT).body == message.body


def test_headers_beyond_the_limit_are_refused() -> None:
    for headers in ({str(number): "" for number in range(65)}, {"a": "x" * 8192}):
        assert "headers" in compact.header_fault(headers)
        with pytest.raises(DecodeError):
            read(compact.encode(PLAIN._replace(headers=headers)))
    assert compact.header_fault({str(number): "x" * 100 for number in range(64)}) == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "x" * 201},
        {"task": "x" * 201},
        {"due_at": -1.0},
        {"due_at": float("nan")},
        {"expires_at": 1e11},
        {"id": "caf\udce9"},
        {"headers": {"a": "caf\udce9"}},
    ],
)
def test_what_could_not_be_read_is_not_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(EncodeError, match="cannot be sent"):
        compact.encode(PLAIN._replace(**wrong))


def test_ids_made_later_sort_later_and_are_version_7_uuids() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(len(each) == 36 and each[14] == "7" and each[19] in "89ab" for each in ids)
    stamps = [each[:13] for each in ids]
    assert stamps == sorted(stamps)
