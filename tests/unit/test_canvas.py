"""``chain``, ``group``, ``chord``, ``|`` and signatures as values: what they make, how they read, what they refuse."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from taskbus import FailedTask, GroupResult, Signature, TaskBus, chain, chord, group, task
from taskbus.errors import BadArguments, ConfigError
from taskbus.options import PLAIN
from taskbus.store.flows import Policy, When
from taskbus.workflow.canvas import Chain, Chord, Group
from taskbus.workflow.picture import label
from tests.unit.workflow_rig import messages

app = TaskBus("canvas", broker="memory://canvas")


@app.task(name="add")
def add(a: int, b: int = 0) -> int:
    return a + b


@app.task(name="total")
def total(values: list[int]) -> int:
    return sum(values)


# --- what is made ---------------------------------------------------------------------------------------------------


def test_a_signature_is_a_value_that_is_never_changed() -> None:
    first = add.s(1)
    second = first.options(queue="slow").clone(9, b=2).link(add.s())
    assert (first.args, first.kwargs, first.chosen, first.links) == ((1,), {}, PLAIN, ())
    assert (second.args, second.kwargs, second.chosen.queue, len(second.links)) == ((9, 1), {"b": 2}, "slow", 1)
    assert isinstance(first, Signature)
    assert first == add.s(1) != add.si(1)


def test_options_may_be_given_one_after_the_other() -> None:
    chosen = add.s(1).options(queue="a", priority=1, countdown=5).set(queue="b", expires=timedelta(minutes=1)).chosen
    assert (chosen.queue, chosen.priority, chosen.delay, chosen.expires_in) == ("b", 1, 5.0, 60.0)
    chosen = add.s(1).options(countdown=5).options(eta=99.0).chosen
    assert (chosen.delay, chosen.due_at) == (None, 99.0), "the later one counts"


def test_one_after_the_other_is_one_flat_chain() -> None:
    one, two, three = add.s(1), add.s(2), add.s(3)
    for made in (chain(one, two, three), chain([one, two, three]), one | two | three, one | (two | three)):
        assert isinstance(made, Chain)
        assert tuple(made) == made.steps == (one, two, three)
        assert len(made) == 3


def test_what_was_said_of_a_chain_keeps_it_whole() -> None:
    watched = (add.s(1) | add.s(2)).link_error(add.s())
    made = watched | add.s(3)
    assert isinstance(made, Chain)
    assert made.steps == (watched, add.s(3))


def test_a_group_and_a_task_are_a_chord() -> None:
    members = group(add.s(1), add.s(2))
    for made in (members | total.s(), chord(members, total.s()), chord([add.s(1), add.s(2)], total.s())):
        assert isinstance(made, Chord)
        assert (made.header, made.body) == (members, total.s())
    assert (made | add.s()).steps == (members, total.s(), add.s())  # type: ignore[attr-defined]
    assert isinstance(add.s(1) | members | total.s(), Chain)
    assert isinstance(members | group(total.s()), Chain)


def test_a_group_takes_members_or_an_iterable_of_them() -> None:
    made = group(add.s(n) for n in range(3))
    assert isinstance(made, Group)
    assert list(made) == list(group(add.s(0), add.s(1), add.s(2))) == list(group([add.s(n) for n in range(3)]))
    assert len(made) == 3
    assert len(group()) == len(group([])) == 0
    assert len(group(group(add.s(1), add.s(2)))) == 1, "a group in a group is one member"


def test_a_group_collects_if_told_so() -> None:
    assert group(add.s(1)).policy is Policy.FAIL_FAST
    assert group(add.s(1), collect=True).policy is Policy.COLLECT
    assert chord([add.s(1)], total.s(), collect=True).steps[0].policy is Policy.COLLECT  # type: ignore[attr-defined]


def test_links_say_when_they_run() -> None:
    made = add.s(1).link(add.s()).link_error(add.si(2))
    assert [link.when for link in made.links] == [When.SUCCESS, When.FAILURE]


# --- how it reads ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (add.s(1, b=2), "<add.s(1, b=2)>"),
        (add.si(1), "<add.si(1)>"),
        (add.s(1) | add.s(2), "<add.s(1) | add.s(2)>"),
        (group(add.s(n) for n in range(100)) | total.s(),
         "<group(add.s(0), add.s(1), add.s(2), add.s(3), add.s(4), add.s(5), ... 94 more) | total.s()>"),
        (group(add.s(1) | add.s(2), group()), "<group((add.s(1) | add.s(2)), group())>"),
        (add.chunks([(1, 2)], 5), "<group(add.chunk([[1, 2]]))>"),
        (chord([add.s(1)]), "<chord of <group(add.s(1))>>"),
    ],
)  # fmt: skip
def test_it_is_shown_as_it_is_written(made: object, text: str) -> None:
    assert repr(made) == text


def test_long_arguments_and_long_chains_are_cut() -> None:
    assert len(repr(add.s("x" * 10_000))) < 100  # type: ignore[call-overload]
    assert repr(chain(add.s(1) for _ in range(100))).endswith("| ... 94 more>")


def test_a_workflow_is_named_after_its_tasks() -> None:
    assert label(add.s(1) | group(add.s(2) for _ in range(1000)) | total.s()) == "add | group(1,000 add) | total"
    assert label(group(add.s(1), total.s([]), add.s(2) | add.s(3))) == "group(add, total, (add | add))"
    mixed = label(group(each for _ in range(50) for each in (add.s(1), total.s([]))))
    assert mixed == "group(add, total, add, total, add, total, ...)"


# --- what is refused ------------------------------------------------------------------------------------------------


def test_a_task_in_the_place_of_its_call_is_refused() -> None:
    loose: Any = add
    for make in (lambda: chain(loose, add.s()), lambda: group(loose), lambda: chord([add.s(1)], loose)):
        with pytest.raises(ConfigError, match=r"is a task, and a workflow is made of its calls: write add.s\(...\)"):
            make()
    with pytest.raises(ConfigError, match=r"3 is no part of a workflow"):
        group(3)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        add.s(1) | 3  # type: ignore[operator]
    with pytest.raises(TypeError):
        [add.s(1)] | total.s()  # type: ignore[operator]


def test_an_empty_chain_is_refused() -> None:
    with pytest.raises(ConfigError, match="a chain of no tasks has no value"):
        chain([])


def test_complete_arguments_are_checked_where_they_are_written() -> None:
    with pytest.raises(BadArguments, match=r"add\(a: int, b: int = 0\): too many"):
        add.si(1, 2, 3)  # type: ignore[call-arg]
    with pytest.raises(BadArguments, match=r"add\(a: int, b: int = 0\): too many"):
        add.chunks([(1, 2), (1, 2, 3)], 10)
    with pytest.raises(ConfigError, match=r"add.chunks: size=0 is not a whole number of calls, 1 or more"):
        add.chunks([(1, 2)], 0)


def test_options_that_make_no_sense_are_refused_where_they_are_written() -> None:
    with pytest.raises(ConfigError, match="there is no option 'speed'; there are countdown, eta"):
        add.s(1).set(speed=3)
    with pytest.raises(ConfigError, match="add: give countdown or eta, not both"):
        add.s(1).options(countdown=1, eta=2.0)
    with pytest.raises(ConfigError, match="priority 10 is not"):
        group(add.s(1)).options(priority=10)
    with pytest.raises(ConfigError, match="has no time zone"):
        add.s(1).options(eta=datetime(2030, 1, 1))


def test_a_task_of_no_application_cannot_be_sent() -> None:
    lonely = task(name="lonely")(lambda: None)
    made = chain(lonely.s(), lonely.si())
    with pytest.raises(ConfigError, match="task 'lonely' belongs to no application yet"):
        made.delay()


# --- without a workflow ---------------------------------------------------------------------------------------------


def test_a_lone_signature_is_sent_as_the_task_itself_would_be() -> None:
    result = add.s(2).options(queue="lone", task_id="it").delay(1)
    (message,) = messages(app, "lone")
    assert (message.id, result.id, result.flow_id, dict(message.headers)) == ("it", "it", "", {})
    assert add.unpack(message) == ([1, 2], {})


def test_a_group_of_nothing_needs_no_application() -> None:
    result = group(group(), group()).delay()
    assert isinstance(result, GroupResult)
    assert result.get(0) == [[], []]
    assert result.is_ready


def test_a_failed_task_is_public_and_plain() -> None:
    failed = FailedTask("id", "add", "builtins.ValueError", "no")
    assert (failed.task_id, failed.task, failed.error, failed.message) == ("id", "add", "builtins.ValueError", "no")
