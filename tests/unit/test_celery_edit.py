"""A call that came in Celery's wire gets other arguments: all else of it stays, and Celery reads it."""

import base64
import json
import zlib
from datetime import UTC, datetime
from typing import Any

import msgpack
import pytest

from taskbus import codec
from taskbus.codec import celery as bodies
from taskbus.errors import DecodeError, EncodeError
from taskbus.message import Message
from taskbus.wire import celery

LINK = {"task": "shop.mail", "args": ["done"], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": True}
EMBED = {"callbacks": [LINK], "errbacks": None, "chain": [LINK], "chord": None}
SENT = {
    "task": "shop.pay", "id": "the-id", "root_id": "the-root", "retries": 2, "argsrepr": "(1,)", "kwargsrepr": "{}",
    "timelimit": [30, 20], "origin": "gen7@shop", "tenant": "acme",
}  # fmt: skip


def came(body: bytes = b"", content_type: str = bodies.JSON, **headers: Any) -> Message:
    """A message as Celery's producer sends it."""
    body = body or json.dumps([[1], {"currency": "EUR"}, EMBED]).encode()
    parts = celery.Parts(body, content_type, "utf-8", {**SENT, **headers}, {"priority": 4, "reply_to": "answers"})
    return celery.decode(celery.wrap(parts), "shared", 1 << 20)


def arrives(message: Message) -> Message:
    """The same once it has been sent on and fetched again."""
    return celery.decode(celery.encode(message), "shared", 1 << 20)


def call(message: Message) -> Any:
    return codec.decode(message.body, message.content_type)


def test_other_arguments_take_the_place_of_the_old_ones_and_all_else_stays() -> None:
    before = came()
    after = arrives(celery.with_call(before, [2, "two"], {"currency": "USD"}))
    assert call(after) == [[2, "two"], {"currency": "USD"}]
    assert call(before) == [[1], {"currency": "EUR"}]
    assert celery.call_of(after).embed == celery.call_of(before).embed == EMBED  # type: ignore[union-attr]
    changing = {"body": b"", "celery": None}
    assert after._replace(**changing) == before._replace(**changing)
    headers = after.celery["headers"]  # type: ignore[index]
    assert {**headers, "argsrepr": "", "kwargsrepr": ""} == {
        **arrives(before).celery["headers"], "argsrepr": "", "kwargsrepr": "",  # type: ignore[index]
    }  # fmt: skip
    assert after.celery["properties"]["reply_to"] == "answers"  # type: ignore[index]


def test_what_celery_s_tools_show_of_a_call_is_its_new_arguments() -> None:
    headers = celery.with_call(came(), ["x" * 5000], {"b": 1}).celery["headers"]  # type: ignore[index]
    assert headers["kwargsrepr"] == "{'b': 1}"
    assert headers["argsrepr"].startswith("('xxx") and len(headers["argsrepr"]) <= celery.LONGEST_REPR


def test_a_compressed_body_becomes_a_plain_one_that_is_said_to_be_one() -> None:
    packed = zlib.compress(json.dumps([[1], {}, EMBED]).encode())
    before = came(packed, compression="application/x-gzip")
    after = celery.with_call(before, [3], {})
    sent = json.loads(celery.encode(after))
    assert "compression" not in sent["headers"]
    assert json.loads(base64.b64decode(sent["body"])) == [[3], {}, EMBED]
    assert call(arrives(after)) == [[3], {}]


def test_a_body_in_another_encoding_becomes_json_that_is_said_to_be_json() -> None:
    before = came(msgpack.packb([[1], {}, EMBED]), "application/x-msgpack")
    assert call(before) == [[1], {}]
    sent = json.loads(celery.encode(celery.with_call(before, [4], {})))
    assert (sent["content-type"], sent["content-encoding"]) == (bodies.JSON, "utf-8")
    assert json.loads(base64.b64decode(sent["body"])) == [[4], {}, EMBED]


def test_times_and_other_typed_values_arrive_as_what_they_are() -> None:
    at = datetime(2031, 5, 1, 12, tzinfo=UTC)
    assert call(arrives(celery.with_call(came(), [at], {"at": at}))) == [[at], {"at": at}]


def test_what_has_no_form_in_celery_s_json_is_refused() -> None:
    with pytest.raises(EncodeError, match="cannot travel as Celery's JSON"):
        celery.with_call(came(), [object()], {})


@pytest.mark.parametrize(
    ("body", "content_type", "why"),
    [
        (b"not json", bodies.JSON, "JSON"),
        (b"[1, 2, 3]", bodies.JSON, r"not Celery's \[args, kwargs, embed\]"),
        (b"\x80\x05N.", "application/x-python-serialize", "pickle"),
    ],
)
def test_a_body_that_cannot_be_read_is_not_written_over(body: bytes, content_type: str, why: str) -> None:
    message = came(body, content_type)
    with pytest.raises(DecodeError, match=why):
        celery.with_call(message, [1], {})
