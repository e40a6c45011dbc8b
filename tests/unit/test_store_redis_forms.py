"""The bytes that the Redis store keeps, and what it asks for: all that is pure."""

import math
from collections.abc import Mapping
from dataclasses import replace

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskbus.database.remark import Weight
from taskbus.outcome import Failure, Reason, State
from taskbus.store import redis_changes, redis_cluster, redis_letters, redis_look
from taskbus.store import redis_records as records
from taskbus.store.base import Bury, Change, DeadLetter, Exhume, FailedAttempt, Filter, Purge, StoredResult
from taskbus.store.redis_changes import KEPT_FOR, LONGEST, Packed, pack_changes, to_payload
from taskbus.testing.clock import START
from taskbus.testing.records import dead, saved

instants = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=50)
failures = st.builds(Failure, texts, texts, texts)
results = st.builds(
    StoredResult, st.just("t1"), texts, st.sampled_from(State), st.none() | st.binary(), texts, st.none() | failures,
    st.integers(1, 1000), instants, instants,
)  # fmt: skip
attempts = st.builds(FailedAttempt, st.just("t1"), st.integers(1, 1000), instants, instants, texts, failures)
letters = st.builds(
    DeadLetter, texts, texts, texts, st.sampled_from(Reason), failures, st.binary(), texts, st.integers(0, 9),
    st.integers(1, 1000), instants, instants,
)  # fmt: skip


# --- records ---


@given(results, instants)
def test_a_result_is_read_as_it_was_written(result: StoredResult, expires_at: float) -> None:
    data = records.from_result(result, expires_at, records.packing())
    assert records.to_result("t1", data) == result
    assert records.expires_at(data) == records.expires_at(data[: records.RESULT_HEAD.size]) == expires_at
    assert data[:1] == (records.FINAL if result.state.is_final else records.OPEN)


@given(st.lists(attempts, unique_by=lambda each: each.attempt))
def test_attempts_are_read_oldest_first(given_: list[FailedAttempt]) -> None:
    pack = records.packing()
    fields = {str(each.attempt).encode(): records.from_attempt(each, pack) for each in given_}
    assert list(records.to_attempts("t1", fields)) == sorted(given_, key=lambda each: each.attempt)


@given(letters)
def test_a_letter_is_put_together_again_from_head_and_body(letter: DeadLetter) -> None:
    place, head, body = records.from_letter(letter, records.packing())
    traceback, wire = records.unpack(body)
    found = records.to_letter(letter.task_id, place, head)
    assert replace(found, failure=replace(found.failure, traceback=traceback), wire=wire) == letter


@given(instants, instants)
def test_places_sort_as_the_instants_do(one: float, other: float) -> None:
    assert records.instant_of(records.place_of(one)) == one
    if one != other:
        assert (records.place_of(one) < records.place_of(other)) == (one < other)


@given(st.text(), st.text())
def test_ids_as_bytes_sort_as_the_texts_do(one: str, other: str) -> None:
    assert records.to_id(records.to_bytes(one)) == one
    assert (records.to_bytes(one) < records.to_bytes(other)) == (one < other)


def test_half_of_a_surrogate_pair_is_spelled_out() -> None:
    result = saved("t1", failure=Failure("FileNotFoundError", "caf\udce9.txt")).result
    found = records.to_result("t1", records.from_result(result, 0.0, records.packing())).failure
    assert found is not None and found.message == "caf\\udce9.txt"


# --- changes ---


@pytest.mark.parametrize(
    ("ttl", "milliseconds"),
    [(60.0, 60_000), (0.0004, 1), (0.0, 1), (-5.0, 1), (math.inf, int(LONGEST * 1000)), (1e300, int(LONGEST * 1000))],
)
def test_a_time_to_live_is_what_redis_takes(ttl: float, milliseconds: int) -> None:
    (((_, _, px, data),),) = pack_changes([saved("t1", ttl=ttl)], None)
    assert (px, records.expires_at(data)) == (milliseconds, math.inf)


def test_where_a_clock_was_passed_in_redis_keeps_a_result_longer_than_it_counts() -> None:
    (((_, _, px, data),),) = pack_changes([saved("t1", ttl=10.0)], START)
    assert (px, records.expires_at(data)) == (int((10 + KEPT_FOR) * 1000), START + 10)


def test_a_set_is_cut_where_it_is_too_long_or_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_changes, "CHUNK_SIZE", 3)
    monkeypatch.setattr(redis_changes, "CHUNK_BYTES", 1000)
    changes: list[Change] = [*(Purge(f"t{number}") for number in range(7)), Bury(dead("big", wire=b"w" * 2000))]
    chunks = list(pack_changes([*changes, Purge("last")], None))
    assert [[change[1] for change in chunk] for chunk in chunks] == [
        [b"t0", b"t1", b"t2"], [b"t3", b"t4", b"t5"], [b"t6", b"big"], [b"last"],
    ]  # fmt: skip
    assert list(pack_changes([], None)) == []


def test_a_payload_asks_first_only_where_something_must_be_found() -> None:
    for changes, asks in (([Purge("t1"), saved("t1")], False), ([saved("t1"), Exhume("t2")], True)):
        (chunk,) = pack_changes(changes, None)
        prefix, now, asked, packed = msgpack.unpackb(to_payload(chunk, "shop:", None), raw=True)
        assert (prefix, now, asked, len(packed)) == (b"shop:", 0.0, asks, 2)


# --- a cluster ---


def test_the_index_hears_of_what_was_done_and_of_the_places_of_what_was_taken() -> None:
    tasks: dict[bytes, list[Packed]] = {
        b"t1": [("p", b"t1"), ("b", b"t1", b"place-1-", b"head", b"body"), ("x", b"t1"), ("f", b"t1")],
        b"t2": [("x", b"t2")],
        b"t3": [("p", b"t3"), ("r", b"t3", 1, b"")],
    }
    answers: Mapping[bytes, list[object]] = {b"t1": [1, b"", b"place-1-"], b"t2": [0], b"t3": [1, b"place-3-"]}
    assert redis_cluster._index_changes(tasks, dict(answers)) == [
        tasks[b"t1"][1], ("x", b"t1", b"place-1-"), ("p", b"t3", b"place-3-"),
    ]  # fmt: skip


# --- what is asked of the index ---


def test_a_page_begins_after_the_letter_before_it_or_at_the_filter_s_instant() -> None:
    low, high = redis_letters._bounds(Filter(), None, False)
    assert (low, high) == (b"-", b"+")
    low, high = redis_letters._bounds(Filter(newer_than=2.0, older_than=3.0), None, False)
    place = records.place_of
    assert (low, high) == (b"[" + place(2.0), b"(" + place(3.0) + b"\xff")
    assert redis_letters._bounds(Filter(newer_than=2.0), (2.5, "x"), False)[0] == b"(" + place(2.5) + b"x"
    assert redis_letters._bounds(Filter(newer_than=2.0), (1.5, "x"), False)[0] == b"[" + place(2.0)
    assert redis_letters._bounds(Filter(newer_than=2.0), (2.0, ""), False)[0] == b"(" + place(2.0)


# --- remarks ---


def test_settings_that_keep_what_they_are_given_are_no_risk() -> None:
    given_ = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "maxmemory": "9"}
    assert [each.weight for each in redis_look.read(given_)] == [Weight.FINE]


def test_an_eviction_policy_is_a_risk_that_says_since_when() -> None:
    policy = {"maxmemory-policy": "volatile-ttl", "appendonly": "yes", "appendfsync": "always"}
    now, later = (redis_look.read(policy | {"maxmemory": given_})[0] for given_ in ("1048576", "0"))
    assert now.weight is later.weight is Weight.RISK
    assert "when memory is short" in now.text and "once a maxmemory is set" in later.text and now.advice
