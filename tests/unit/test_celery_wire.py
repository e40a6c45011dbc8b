"""Celery's wire: what Celery has sent (``tests/interop/golden``) is read, and what we send on is still its own."""

import base64
import json
import zlib
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskbus import codec
from taskbus.codec import celery as bodies
from taskbus.errors import DecodeError, EncodeError
from taskbus.message import CHUNK, FLOW, Message
from taskbus.wire import celery, compact, formats

GOLDEN: dict[str, str] = json.loads((Path(__file__).parent.parent / "interop" / "golden" / "messages.json").read_text())
MESSAGE = Message("the-id", "shop.add", codec.encode_call((2, 3), {}), queue="shared", sent_at=1_800_000_000.25)


def read(name: str) -> Message:
    return celery.decode(GOLDEN[name].encode(), "shared", 1 << 20)


def envelope(wire: bytes) -> dict[str, Any]:
    return json.loads(wire)


def made(body: bytes, content_type: str = bodies.JSON, **headers: Any) -> bytes:
    """A message as a producer might make it."""
    given = {"task": "shop.add", "id": "the-id", **headers}
    return celery.wrap(celery.Parts(body, content_type, "utf-8", given, {"priority": 0}))


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*GOLDEN} - {"pickle"}))
def test_what_celery_sends_is_read_and_sent_on_as_the_same_call(name: str) -> None:
    message = read(name)
    again = celery.decode(celery.encode(message), "shared", 1 << 20)
    assert again._replace(celery=None) == message._replace(celery=None)
    assert celery.call_of(again) is not None and celery.call_of(again).embed == celery.call_of(message).embed
    for header, value in envelope(GOLDEN[name].encode())["headers"].items():
        assert again.celery["headers"][header] == value


@pytest.mark.parametrize(
    "name", ["plain", "full", "gzip", "bzip2", "lzma", "zstd", "brotli", "msgpack", "yaml", "protocol 1"]
)
def test_arguments_are_read_in_every_encoding_and_compression(name: str) -> None:
    message = read(name)
    assert codec.decode(message.body, message.content_type) == [[2, 3], {}]
    assert (message.id, message.task, message.queue) == ("the-id", "shop.add", "shared")


def test_every_header_is_read() -> None:
    message = read("full")
    when = datetime(2031, 5, 1, 12, tzinfo=UTC).timestamp()
    assert (message.attempt, message.priority) == (3, 5)
    assert (message.due_at, message.expires_at) == (when, when + 12 * 3600)
    assert message.headers == {"x-text": "v", "x-number": "5", "x-map": '{"a": [1]}'}
    assert celery.limits_of(message) == (10, 5) and celery.is_result_ignored(message)
    call = celery.call_of(message)
    assert call is not None
    assert (call.headers["root_id"], call.headers["parent_id"]) == ("the-root", "the-parent")
    assert (celery.shown_name(message), celery.shown_name(read("plain"))) == ("shadowed", "shop.add")
    assert [call.headers["shadow"], call.headers["argsrepr"]] == ["shadowed", "(2, 3)"]
    assert [call.embed["callbacks"][0]["task"], call.embed["errbacks"][0]["task"]] == ["shop.done", "shop.failed"]
    assert (call.embed["chain"], call.embed["chord"]) == (None, None)


def test_the_rest_of_a_chain_and_a_chord_are_carried() -> None:
    (following,) = celery.call_of(read("chain")).embed["chain"]
    assert following["task"] == "shop.add" and following["args"] == [2]
    chord = celery.call_of(read("chord"))
    assert chord.embed["chord"]["task"] == "shop.done"
    assert (chord.headers["group_index"], bool(chord.headers["group"])) == (0, True)


def test_typed_values_arrive_as_what_they_were() -> None:
    message = read("typed")
    typed = [
        datetime(2026, 2, 1, 12, 30, tzinfo=UTC), date(2026, 2, 1), time(12, 30), Decimal("1.50"), UUID(int=7), b"text",
        b"\xff\x00",
    ]  # fmt: skip
    assert codec.decode(message.body, message.content_type) == [[typed], {"k": 1}]


def test_protocol_1_is_read_with_its_retries_and_sent_on_as_protocol_2() -> None:
    message = read("protocol 1")
    assert (message.attempt, message.due_at) == (2, datetime(2031, 5, 1, 12, tzinfo=UTC).timestamp())
    sent_on = envelope(celery.encode(message._replace(attempt=3)))
    assert sent_on["headers"]["task"] == "shop.add" and sent_on["headers"]["retries"] == 2
    assert json.loads(base64.b64decode(sent_on["body"]))[:2] == [[2, 3], {}]


def test_the_least_that_celery_takes_is_read() -> None:
    message = celery.decode(made(b"[[1], {}, null]"), "shared", 4096)
    assert (message.attempt, message.due_at, message.priority) == (1, None, 0)
    assert celery.call_of(message).embed == {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def test_a_time_without_a_zone_is_utc() -> None:
    message = celery.decode(made(b"[[], {}, {}]", eta="2031-05-01T12:00:00"), "shared", 4096)
    assert message.due_at == datetime(2031, 5, 1, 12, tzinfo=UTC).timestamp()


def test_our_own_words_are_not_taken_from_others() -> None:
    message = celery.decode(made(b"[[], {}, {}]", **{FLOW: "f", CHUNK: "1", "own": "kept"}), "shared", 4096)
    assert message.headers == {"own": "kept"}


def test_a_message_of_ours_carries_no_mark_of_celery() -> None:
    assert celery.call_of(MESSAGE) is None
    assert (celery.limits_of(MESSAGE), celery.is_result_ignored(MESSAGE)) == ((None, None), False)


# --- refusing --------------------------------------------------------------------------------------------------------


def test_pickle_is_refused_with_what_its_sender_must_do() -> None:
    message = read("pickle")
    assert (message.id, message.task) == ("the-id", "shop.add")
    for open_it in (lambda: codec.decode(message.body, message.content_type), lambda: celery.call_of(message)):
        with pytest.raises(DecodeError, match=r"is pickle, which may run any code.*task_serializer = 'json'"):
            open_it()


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"id": "\ud800"}, "its id is not"),
        ({"id": None}, "its id is not"), ({"task": "x" * 300}, "its task is not"), ({"retries": -1}, "its retries -1"),
        ({"retries": "one"}, "its retries"), ({"eta": "tomorrow"}, "its eta 'tomorrow'"),
        ({"expires": 5}, "its expires 5"),
        ({"eta": "1900-01-01T00:00:00"}, "its eta"),
    ],
)  # fmt: skip
def test_a_broken_header_is_named(headers: dict[str, Any], why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        celery.decode(made(b"[[], {}, {}]", **headers), "shared", 4096)


@pytest.mark.parametrize(
    ("content_type", "headers", "why"),
    [
        ("text/plain; charset=utf-8", {}, "'text/plain; charset=utf-8' is not one of a task; application/json, "),
        ("", {}, "content type '' is not one of a task"),
        ("application/data", {}, "signed by Celery's auth serializer"),
        ("application/json", {"compression": "application/x-lz4"}, "compression 'application/x-lz4' is unknown; "),
    ],
)
def test_unknown_content_is_refused_with_what_is_read(content_type: str, headers: dict[str, Any], why: str) -> None:
    message = celery.decode(made(b"hello", content_type, **headers), "shared", 4096)
    with pytest.raises(DecodeError, match=why):
        codec.decode(message.body, message.content_type)


@pytest.mark.parametrize("body", [b"[[1], {}", b"[1, 2, 3]", b"{}", b"nothing", b'[[], {}, "embed"]', b"[[]]"])
def test_a_body_that_is_none_is_refused(body: bytes) -> None:
    message = celery.decode(made(body), "shared", 4096)
    with pytest.raises(DecodeError):
        codec.decode(message.body, message.content_type)


def test_a_typed_value_of_an_unknown_type_is_refused() -> None:
    body = b'[[{"__type__": "os.system", "__value__": "true"}], {}, {}]'
    with pytest.raises(DecodeError, match=r"a value of type 'os.system' is unknown"):
        codec.decode(body, bodies.kind(bodies.JSON))


@pytest.mark.parametrize("name", ["gzip", "bzip2", "lzma", "zstd", "brotli"])
def test_a_bomb_is_refused_before_it_is_large(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from kombu.compression import compress

    packed, mime = compress(b" " * (32 << 20), name)
    assert len(packed) < 1 << 20
    with pytest.raises(DecodeError, match=f"bytes of {mime} become more than {16 << 20}"):
        codec.decode(packed, bodies.kind(bodies.JSON, mime))


def test_true_gzip_is_read_too_and_what_is_cut_short_is_not() -> None:
    kind = bodies.kind(bodies.JSON, "application/x-gzip")
    import gzip

    assert codec.decode(gzip.compress(b"[[1], {}, {}]"), kind) == [[1], {}]
    for broken in (zlib.compress(b"[[1], {}, {}]")[:-3], b"plain"):
        with pytest.raises(DecodeError, match="not application/x-gzip"):
            codec.decode(broken, kind)


def test_an_alias_of_yaml_cannot_stand_for_a_billion_values() -> None:
    lines = ["- &a0 [x]", *(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    with pytest.raises(DecodeError, match="more than 100000 items"):
        codec.decode("\n".join(lines).encode(), bodies.kind("application/x-yaml"))


def test_yaml_makes_no_objects() -> None:
    with pytest.raises(DecodeError, match="not YAML"):
        codec.decode(b"!!python/object/apply:os.getcwd []", bodies.kind("application/x-yaml"))


def test_a_body_of_protocol_1_that_protocol_2_has_no_form_for_is_refused() -> None:
    body = codec.encode({"task": "shop.add", "id": "the-id", "args": [{(1, 2): 3}], "kwargs": {}})
    wire = celery.wrap(celery.Parts(body, "application/x-msgpack", "binary", {}, {}))
    with pytest.raises(DecodeError, match="protocol 1 whose arguments are none of protocol 2"):
        celery.decode(wire, "shared", 4096)


def test_one_without_a_content_type_can_still_be_passed_on() -> None:
    bare = {**envelope(made(b"[[], {}, {}]"))}
    del bare["content-type"], bare["content-encoding"]
    message = celery.decode(json.dumps(bare).encode(), "shared", 4096)
    again = celery.decode(celery.encode(message._replace(attempt=2)), "shared", 4096)
    assert (again.attempt, again.content_type) == (2, bodies.kind(""))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(sorted({*celery._KNOWN, "own", "x-death", celery.SENT_AT, "taskbus-held-since"}))


@given(st.dictionaries(FIELDS, JSON_VALUES, max_size=6), st.dictionaries(st.just("priority"), JSON_VALUES))
def test_whatever_its_headers_hold_it_is_refused_or_can_be_passed_on(
    headers: dict[str, Any], properties: dict[str, Any]
) -> None:
    given = {"task": "shop.add", "id": "the-id", **headers}
    wire = celery.wrap(celery.Parts(b"[[], {}, {}]", bodies.JSON, "utf-8", given, properties))
    try:
        message = celery.decode(wire, "shared", 1 << 20)
    except DecodeError:
        return
    celery.limits_of(message), celery.is_result_ignored(message), celery.shown_name(message).encode()
    again = celery.decode(celery.encode(message._replace(attempt=message.attempt + 1)), "shared", 1 << 20)
    assert (again.id, again.task, again.attempt) == (message.id, message.task, message.attempt + 1)
    assert (again.due_at, again.expires_at) == (message.due_at, message.expires_at)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_an_error(noise: bytes) -> None:
    for wire in (noise, b"{" + noise, made(noise), made(b"[[], {}, {}]", id=repr(noise))):
        try:
            message = formats.decode(wire, "shared", 0, 4096)
            codec.decode(message.body, message.content_type)
        except DecodeError:
            pass


# --- writing ---------------------------------------------------------------------------------------------------------


def test_what_we_send_has_the_shape_of_what_celery_sends() -> None:
    theirs, ours = envelope(GOLDEN["plain"].encode()), envelope(celery.encode(MESSAGE))
    assert ours.keys() == theirs.keys()
    assert ours["headers"].keys() - {celery.SENT_AT} == theirs["headers"].keys()
    assert ours["properties"].keys() == theirs["properties"].keys()
    assert base64.b64decode(ours["body"]) == base64.b64decode(theirs["body"])
    different = {"origin", celery.SENT_AT, "ignore_result"}
    for name in ours["headers"].keys() - different:
        assert ours["headers"][name] == theirs["headers"][name], name


def test_what_we_send_reads_as_it_was() -> None:
    sent = MESSAGE._replace(priority=4, due_at=1_900_000_000.5, expires_at=1_900_000_060.5, headers={"x": "y"})
    message = celery.decode(celery.encode(sent), "shared", 4096)
    assert message._replace(celery=None, body=b"", content_type="") == sent._replace(body=b"", content_type="")
    assert codec.decode(message.body, message.content_type) == [[2, 3], {}]
    assert envelope(celery.encode(sent))["properties"]["expiration"] == "100000060250"


def test_our_values_become_celerys_typed_values_and_come_back() -> None:
    values = [datetime(2026, 2, 1, tzinfo=UTC), date(2026, 2, 1), Decimal("1.5"), UUID(int=7), b"\xff", {"a": [1]}]
    sent = MESSAGE._replace(body=codec.encode_call((values,), {}))
    message = celery.decode(celery.encode(sent), "shared", 4096)
    assert codec.decode(message.body, message.content_type) == [[values], {}]


def test_what_celerys_json_has_no_form_for_is_refused_where_it_is_sent() -> None:
    sent = MESSAGE._replace(body=codec.encode_call(({(1, 2): 3},), {}))
    with pytest.raises(EncodeError, match=r"task 'shop.add' cannot be sent to queue 'shared'"):
        celery.encode(sent)


def test_a_retry_changes_what_a_retry_changes_and_nothing_else() -> None:
    before, message = envelope(GOLDEN["full"].encode()), read("full")
    after = envelope(celery.encode(message._replace(attempt=4, due_at=1_950_000_000.0)))
    assert after["body"] == before["body"]
    changed = {name for name in after["headers"] if after["headers"][name] != before["headers"].get(name)}
    assert changed == {"retries", "eta"}
    assert (after["headers"]["retries"], after["headers"]["eta"]) == (3, "2031-10-17T10:40:00+00:00")
    assert after["properties"]["delivery_tag"] != before["properties"]["delivery_tag"]


def test_a_header_of_ours_is_carried_and_goes_again() -> None:
    message = read("plain")
    marked = celery.decode(celery.encode(message._replace(headers={"taskbus-held-since": "5"})), "shared", 1 << 20)
    assert marked.headers == {"taskbus-held-since": "5"}
    assert "taskbus-held-since" not in envelope(celery.encode(marked._replace(headers={})))["headers"]


def test_what_brokers_add_is_not_sent_on() -> None:
    message = celery.decode(made(b"[[], {}, {}]", **{"x-death": [{"count": 1}], "x-first-death-queue": "q"}), "q", 4096)
    assert message.headers == {}
    assert not [name for name in envelope(celery.encode(message))["headers"] if name.startswith("x-")]


def test_a_message_in_parts_is_whole_again() -> None:
    parts = celery.unwrap(GOLDEN["full"].encode())
    assert celery.decode(celery.wrap(parts), "shared", 1 << 20)._replace(celery=None) == read("full")._replace(
        celery=None
    )
    assert parts.properties == {"correlation_id": "the-id", "reply_to": parts.properties["reply_to"], "priority": 5,
                                "delivery_mode": 2, "expiration": parts.properties["expiration"]}  # fmt: skip


# --- which format ----------------------------------------------------------------------------------------------------


def test_a_queue_says_in_which_format_it_is_sent_to() -> None:
    assert formats.encode(MESSAGE, {"shared"})[:1] == celery.FIRST
    assert formats.encode(MESSAGE, {"other"}) == compact.encode(MESSAGE)
    assert formats.encode(read("plain"))[:1] == celery.FIRST


@pytest.mark.parametrize("header", [FLOW, CHUNK])
def test_what_celery_cannot_know_stays_in_our_format(header: str) -> None:
    message = MESSAGE._replace(headers={header: "x"})
    assert formats.encode(message, {"shared"}) == compact.encode(message)


def test_both_formats_are_read() -> None:
    assert formats.decode(compact.encode(MESSAGE), "shared", 0, 4096) == MESSAGE
    assert formats.decode(celery.encode(MESSAGE), "shared", 0, 4096).id == MESSAGE.id
