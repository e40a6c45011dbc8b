"""The language of filters, for every noun; that of dead letters has a file of its own."""

from math import inf, nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskbus.errors import ConfigError
from taskbus.outcome import Reason
from taskbus.store.base import Filter
from taskbus.store.filters import FlowFilter, NodeFilter, QueueFilter, ScheduleFilter, TaskFilter
from taskbus.store.nouns import NOUNS, TASK_STATES
from taskbus.store.where import (
    duration_text,
    parse,
    parse_duration,
    parse_flows,
    parse_nodes,
    parse_queues,
    parse_schedules,
    parse_tasks,
    text_of,
)

NOW = 1_800_000_000.0
"""2027-01-15T08:00, by UTC."""
MIDNIGHT = nextafter(NOW + 16 * 3600, -inf)
PARSERS = {
    Filter: parse, TaskFilter: parse_tasks, NodeFilter: parse_nodes, QueueFilter: parse_queues,
    ScheduleFilter: parse_schedules, FlowFilter: parse_flows,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", TaskFilter()),
        ("state:failure,Retry task:mail.*", TaskFilter(states=("FAILURE", "RETRY"), task="mail.*")),
        ("state:EXPIRED", TaskFilter(states=("EXPIRED",))),
        ("state:failed,Retried,succeeded", TaskFilter(states=("FAILURE", "RETRY", "SUCCESS"))),
        (
            "state:running,waiting,retrying,failed,failure",
            TaskFilter(states=("STARTED", "PENDING", "RETRY", "FAILURE")),
        ),
        ("id:a id:b worker:celery@*", TaskFilter(ids=("a", "b"), worker="celery@*")),
        ('args:"user 42" text:"no such"', TaskFilter(args="user 42", text="no such")),
        ("flow:f1 parent:p1 schedule:nightly", TaskFilter(flow="f1", parent="p1", schedule="nightly")),
        ("age>1h age<1d", TaskFilter(older_than=NOW - 3600, newer_than=NOW - 86_400)),
        ("time>=2027-01-15T08:00 time<2027-01-16", TaskFilter(older_than=MIDNIGHT, newer_than=NOW)),
        ("ran>10s ran<1m30s", TaskFilter(ran_over=10.0, ran_under=90.0)),
        ("waited>250ms waited<1h", TaskFilter(waited_over=0.25, waited_under=3600.0)),
        ("reason:time-limit error:ValueError", TaskFilter(reason="time_limit", error="ValueError")),
    ],
)
def test_terms_mean_task_records(text: str, meant: TaskFilter) -> None:
    assert parse_tasks(text, NOW) == meant


def test_terms_mean_nodes_queues_schedules_and_flows() -> None:
    assert parse_nodes("name:celery@* kind:worker queue:mail host:a app:shop") == NodeFilter(
        "celery@*", "worker", "mail", "a", "shop"
    )
    assert parse_queues("name:mail* is:paused") == QueueFilter("mail*", is_paused=True)
    assert parse_queues("is:empty is:PAUSED") == QueueFilter(is_paused=True, is_empty=True)
    assert parse_schedules("name:n task:t.* is:paused") == ScheduleFilter("n", "t.*", is_paused=True)
    assert parse_flows("state:running,success name:i* age<1h id:x", NOW) == FlowFilter(
        "i*", ("RUNNING", "SUCCESS"), ("x",), newer_than=NOW - 3600
    )


@pytest.mark.parametrize(
    ("parser", "text", "says"),
    [
        (parse_tasks, "stat:x", "no key 'stat'; did you mean 'state'"),
        (parse_tasks, "zzzz:x", "known: id, state, task, queue, worker, error, text, args, reason, flow, parent"),
        (parse_tasks, "state:FAILUR", "no state 'FAILUR' in a filter like this; did you mean FAILURE"),
        (parse_tasks, "state:begun", "there are SUCCESS, RETRY"),
        (parse_tasks, "state:,", "has no value"),
        (parse_tasks, "task>a", "only age, time, ran, waited can be compared; write task:a"),
        (parse_tasks, "ran:1s", "compare a duration, as in ran>1d or ran<2h"),
        (parse_tasks, "ran>1", "cannot read the duration '1'"),
        (parse_tasks, "ran>1s ran>2s", "twice"),
        (parse_tasks, "is:paused", "no key 'is'"),
        (parse_queues, "is:full", "no is:full; there is is:paused, is:empty"),
        (parse_queues, "is:paused is:paused", "twice"),
        (parse_queues, "name>a", "nothing can be compared"),
        (parse_nodes, "task:a", "no key 'task'; known: name, kind, queue, host, app"),
        (parse_flows, "state:skipped", "there are RUNNING, SUCCESS, FAILURE, REVOKED"),
        (parse_tasks, "id:a " * 129, "129 terms; at most 128"),
        (parse_tasks, "text:" + "x" * 2048, "at most 2048"),
    ],
)
def test_what_cannot_be_read_is_refused_with_advice(parser: object, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parser(text, NOW)  # type: ignore[operator]


@given(st.sampled_from(sorted(PARSERS, key=str)), st.text(max_size=100))
def test_any_text_is_read_or_refused(kind: type, text: str) -> None:
    try:
        assert type(PARSERS[kind](text, NOW)) is kind
    except ConfigError as error:
        assert str(error)


names = st.text(min_size=1, max_size=20)
durations = st.none() | st.integers(0, 10**11).map(lambda ms: ms / 1000)
instants = durations.map(lambda age: None if age is None else NOW - age)
optional = st.none() | names
many = st.lists(names, max_size=3).map(tuple)
filters = st.one_of(
    st.builds(
        TaskFilter,
        states=st.lists(st.sampled_from(TASK_STATES), unique=True, max_size=3).map(tuple),
        ids=many, task=optional, queue=optional, worker=optional, error=optional, text=optional, args=optional,
        reason=st.none() | st.sampled_from([each.value for each in Reason]),
        flow=optional, parent=optional, schedule=optional, older_than=instants, newer_than=instants,
        ran_over=durations, ran_under=durations, waited_over=durations, waited_under=durations,
    ),
    st.builds(
        Filter, task_ids=many, task=optional, queue=optional, error=optional, text=optional,
        reason=st.none() | st.sampled_from([each.value for each in Reason]), older_than=instants, newer_than=instants,
    ),
    st.builds(NodeFilter, name=optional, kind=optional, queue=optional, host=optional, app=optional),
    st.builds(QueueFilter, name=optional, is_paused=st.booleans(), is_empty=st.booleans()),
    st.builds(ScheduleFilter, name=optional, task=optional, is_paused=st.booleans()),
    st.builds(
        FlowFilter, name=optional, ids=many, older_than=instants, newer_than=instants,
        states=st.lists(st.sampled_from(["RUNNING", "FAILURE"]), unique=True).map(tuple),
    ),
)  # fmt: skip


@given(filters)
def test_the_text_of_a_filter_means_that_filter(where: object) -> None:
    text = text_of(where, NOW)  # type: ignore[arg-type]
    again = PARSERS[type(where)](text, NOW)
    for name in type(where).__dataclass_fields__:  # type: ignore[attr-defined]
        was, found = getattr(where, name), getattr(again, name)
        assert found == (pytest.approx(was, abs=0.0006) if isinstance(was, float) else was), text
    assert text_of(again, NOW) == text


def test_a_text_is_as_a_person_would_write_it() -> None:
    text = "state:FAILURE,RETRY task:mail.* text:'no such file' age>1d12h ran>1s500ms"
    assert text_of(parse_tasks(text, NOW), NOW) == text
    assert text_of(parse_queues("is:paused"), NOW) == "is:paused"
    assert text_of(Filter(), NOW) == ""


@given(st.integers(0, 10**12))
def test_a_duration_reads_as_it_was_written(milliseconds: int) -> None:
    assert parse_duration(duration_text(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=1e-4)


def test_what_is_in_memory_is_matched_by_patterns() -> None:
    node = {"name": "celery@a", "kind": "worker", "queues": ("mail", "default"), "host": "a", "app": "shop"}
    assert parse_nodes("queue:ma* app:shop").matches(**node)  # type: ignore[arg-type]
    assert not parse_nodes("queue:web").matches(**node)  # type: ignore[arg-type]
    assert parse_queues("is:paused").matches(name="q", is_paused=True, is_empty=False)
    assert not parse_queues("is:paused").matches(name="q", is_paused=False, is_empty=True)
    assert parse_schedules("task:a.*").matches(name="n", task="a.b", is_paused=True)
    flow = {"id": "f", "name": "import", "state": "FAILURE", "sent_at": NOW - 10}
    assert parse_flows("state:failure age<1m", NOW).matches(**flow)  # type: ignore[arg-type]
    assert parse_flows("time>2027-01-15T07:59 time<2027-01-15T08:00", NOW).matches(**flow)  # type: ignore[arg-type]
    assert not parse_flows("time>=2027-01-15T08:00", NOW).matches(**flow)  # type: ignore[arg-type]
    assert not parse_flows("age>1m", NOW).matches(**flow)  # type: ignore[arg-type]
    assert {noun.make for noun in NOUNS} == set(PARSERS)
