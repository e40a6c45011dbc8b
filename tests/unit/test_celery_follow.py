"""What follows a task of Celery's: by its links, its chain and its chord; pure, as plain maps."""

from typing import Any

import pytest

from taskbus.celery_results.errors import failure_of, split, stored_error
from taskbus.celery_results.follow import Came, Ending, Following, chord_failed, complete, follow
from taskbus.celery_results.port import Joined, Part
from taskbus.celery_results.sending import message_of
from taskbus.celery_results.unlocking import asked, unlock_of
from taskbus.errors import DecodeError
from taskbus.outcome import Failure, State
from taskbus.wire import celery as wire

HEADERS = {"id": "t-1", "task": "shop.add", "root_id": "root", "group": None, "group_index": None}
BOOM = Failure("builtins.ValueError", "boom", "Traceback ...")
GOOD, BAD = Ending(State.SUCCESS, 5), Ending(State.FAILURE, failure=BOOM)


def sig(task: str, *args: Any, immutable: bool = False, kind: str | None = None, **options: Any) -> dict[str, Any]:
    return {"task": task, "args": list(args), "kwargs": {}, "options": options, "subtask_type": kind,
            "immutable": immutable}  # fmt: skip


def chord_of(body: dict[str, Any], *members: dict[str, Any], **options: Any) -> dict[str, Any]:
    made = sig("celery.chord", kind="chord", **options)
    return {**made, "kwargs": {"header": list(members), "body": body, "kwargs": {}}}


def calls(following: Following) -> list[tuple[str, str, list[Any]]]:
    return [(call.task, call.id, list(call.args)) for call in following.calls]


def test_nothing_follows_where_nothing_is_embedded() -> None:
    for ending in (GOOD, BAD, Ending(State.RETRY, failure=BOOM), Ending(State.REVOKED, failure=BOOM)):
        assert follow(HEADERS, {}, ending) == Following()


def test_a_callback_is_given_the_value_before_its_own_arguments() -> None:
    following = follow(HEADERS, {"callbacks": [sig("shop.note", "key", task_id="c")]}, GOOD)
    assert calls(following) == [("shop.note", "c", [5, "key"])]
    assert [child.as_tuple() for child in following.children] == [[["c", None], None]]
    assert (following.calls[0].options["parent_id"], following.calls[0].options["root_id"]) == ("t-1", "root")


def test_an_immutable_callback_is_given_nothing() -> None:
    following = follow(HEADERS, {"callbacks": [sig("shop.note", 1, immutable=True)]}, GOOD)
    assert following.calls[0].args == [1]


def test_the_next_step_of_a_chain_is_its_last_element_and_takes_the_rest_along() -> None:
    rest = [sig("shop.c", task_id="c"), sig("shop.b", task_id="b")]
    following = follow(HEADERS, {"chain": rest}, GOOD)
    assert calls(following) == [("shop.b", "b", [5])]
    assert list(following.calls[0].chain) == rest[:1]


def test_a_repeat_sends_the_same_ids() -> None:
    embed = {
        "callbacks": [sig("shop.a"), sig("shop.b")],
        "chain": [chord_of(sig("shop.c"), sig("shop.d"), sig("shop.e"))],
    }
    assert follow(HEADERS, embed, GOOD) == follow(HEADERS, embed, GOOD)
    assert len({call.id for call in follow(HEADERS, embed, GOOD).calls}) == 4


def test_a_failure_dooms_the_rest_of_the_chain_and_tells_the_chord_at_its_end() -> None:
    body = sig("shop.total", task_id="body")
    last = sig("shop.c", task_id="c", group_id="g", group_index=3, chord=body)
    following = follow(HEADERS, {"chain": [last, sig("shop.b", task_id="b")]}, BAD)
    assert [(doomed.headers["id"], doomed.failure) for doomed in following.doomed] == [("c", BOOM), ("b", BOOM)]
    (came,) = following.came
    assert came.part == Part("g", "c", 3, "FAILURE", stored_error(BOOM))
    assert came.body["options"]["task_id"] == "body"


def test_a_failure_dooms_the_body_of_a_chord_that_waits_in_the_chain() -> None:
    waiting = chord_of(sig("shop.total", task_id="body"), sig("shop.b", task_id="b"), task_id="g")
    following = follow(HEADERS, {"chain": [waiting]}, BAD)
    assert [doomed.headers["id"] for doomed in following.doomed] == ["g", "body"]


def test_errbacks_are_told_by_their_form() -> None:
    embed = {"errbacks": [sig("shop.old", "key", task_id="o"), sig("shop.new", task_id="n")]}
    request = {**HEADERS, "args": [1], "kwargs": {}}
    following = follow(HEADERS, embed, BAD, request=request, takes_error=lambda task: task == "shop.new")
    assert calls(following) == [
        ("shop.new", "n", [request, stored_error(BOOM), "Traceback ..."]),
        ("shop.old", "o", ["t-1", "key"]),
    ]


@pytest.mark.parametrize(("ending", "state", "result"), [(GOOD, "SUCCESS", 5), (BAD, "FAILURE", stored_error(BOOM))])
def test_a_part_of_a_chord_comes_in_however_it_ended(ending: Ending, state: str, result: Any) -> None:
    headers = {**HEADERS, "group": "g", "group_index": 2}
    (came,) = follow(headers, {"chord": sig("shop.total", task_id="body")}, ending).came
    assert came.part == Part("g", "t-1", 2, state, result)


def test_a_revoked_part_comes_in_too() -> None:
    headers = {**HEADERS, "group": "g"}
    revoked = Ending(State.REVOKED, failure=Failure("taskbus.errors.TaskExpired", "late"))
    (came,) = follow(headers, {"chord": sig("shop.total")}, revoked).came
    assert came.part.result["exc_message"] == ["expired"]


CAME = Came(
    Part("g", "t-1", 0, "SUCCESS", 1), sig("shop.total", task_id="body", chain=[sig("shop.z", task_id="z")]), "root"
)


def test_a_complete_chord_sends_its_body_the_values_and_the_rest_of_the_chain() -> None:
    following = complete(CAME, Joined([("a", "SUCCESS", 1), ("b", "SUCCESS", 2)]))
    assert calls(following) == [("shop.total", "body", [[1, 2]])]
    assert following.calls[0].chain[0]["task"] == "shop.z"


def test_a_chord_with_a_failed_part_fails_its_body_and_what_waits_for_it() -> None:
    following = complete(CAME, Joined([("a", "SUCCESS", 1), ("b", "FAILURE", stored_error(BOOM))]))
    assert not following.calls
    assert [doomed.headers["id"] for doomed in following.doomed] == ["body", "z"]
    assert following.doomed[0].failure.message == "Dependency b raised ValueError('boom')"


def test_the_failed_body_of_a_chord_in_a_chord_is_told_to_the_outer_one() -> None:
    inner = sig("shop.total", task_id="inner", group_id="outer", group_index=1, chord=sig("shop.end", task_id="end"))
    (came,) = chord_failed(CAME._replace(body=inner), BOOM).came
    assert (came.part.group, came.part.task_id, came.part.place, came.part.state) == ("outer", "inner", 1, "FAILURE")


def test_the_members_of_a_group_that_will_not_run_have_the_error_itself() -> None:
    members = [sig("shop.a", task_id="a", link_error=[sig("shop.told", task_id="told")]), sig("shop.b", task_id="b")]
    body = {**sig("celery.group", kind="group", task_id="gid"), "kwargs": {"tasks": members}}
    following = complete(CAME._replace(body=body), Joined([("p", "FAILURE", stored_error(BOOM))]))
    failures = {doomed.headers["id"]: doomed.failure.type for doomed in following.doomed}
    assert failures == dict.fromkeys(("gid", "a", "b"), "builtins.ValueError")
    assert calls(following) == [("shop.told", "told", ["a"])]


BROKEN = [
    "text", 7, {}, {"task": 3}, {"task": "a", "options": [1]}, {"task": "a", "options": "x"}, {"task": "a", "args": 5},
    {"task": "a", "subtask_type": "chain", "kwargs": {"tasks": 7}},
    {"task": "a", "subtask_type": "group", "kwargs": 3},
    {"task": "a", "subtask_type": "chord", "kwargs": {"header": 4, "body": None}},
    {"task": "a", "subtask_type": "chord"},
    {"task": "a", "options": {"stamped_headers": 7}},
    {"task": "a", "options": {"link": 7, "chain": 3}},
]  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("name", ["chain", "callbacks", "errbacks", "chord"])
def test_what_is_no_signature_is_refused_or_sent_as_it_is(broken: Any, name: str) -> None:
    """Whatever a stranger wrote there is an error of its kind, and no other."""
    headers = {**HEADERS, "group": "g"}
    for ending in (GOOD, BAD):
        try:
            following = follow(headers, {name: broken if name == "chord" else [broken]}, ending)
            for came in following.came:
                following.add(complete(came, Joined([("t", "SUCCESS", 1)])))
                following.add(complete(came, Joined([("t", "FAILURE", "?")])))
            for call in following.calls:
                message_of(call, "q", 1.0)
        except DecodeError:
            pass


def test_a_chain_of_text_is_refused() -> None:
    with pytest.raises(DecodeError):
        follow(HEADERS, {"chain": ["text"]}, GOOD)


# --- messages --------------------------------------------------------------------------------------------------------


def test_a_call_travels_as_celery_sends_it() -> None:
    chosen: dict[str, Any] = {"queue": "mails", "priority": 4, "countdown": 10, "expires": 60, "time_limit": 9}
    chosen |= {"stamped_headers": ["s"], "s": 1}
    following = follow(HEADERS, {"callbacks": [sig("shop.note", task_id="c", link=[sig("shop.z")], **chosen)]}, GOOD)
    message = message_of(following.calls[0], "elsewhere", 1000.0)
    assert (message.queue, message.priority, message.due_at, message.expires_at) == ("mails", 4, 1010.0, 1060.0)
    again = wire.decode(wire.encode(message), "mails", 1 << 20)
    called = wire.call_of(again)
    assert called is not None and called.embed["callbacks"][0]["task"] == "shop.z"
    assert (called.limits, called.headers["stamps"], called.headers["parent_id"]) == ((9, None), {"s": 1}, "t-1")
    assert (again.due_at, again.expires_at) == (1010.0, 1060.0)


def test_without_a_queue_of_its_own_a_call_goes_where_the_task_before_came_from() -> None:
    following = follow(HEADERS, {"callbacks": [sig("shop.note")]}, GOOD)
    assert message_of(following.calls[0], "celery", 1.0).queue == "celery"


def test_chord_unlock_is_asked_what_was_sent_with_the_chord() -> None:
    embed = {"chain": [chord_of(sig("shop.total", task_id="body", queue="q"), sig("shop.a", task_id="a"), task_id="g")]}
    (chord,) = follow(HEADERS, embed, GOOD).chords
    call = unlock_of(chord)
    assert message_of(call, "elsewhere", 1.0).queue == "q"
    unlock = asked(call.args, call.kwargs)
    assert (unlock.group, unlock.body["options"]["task_id"], unlock.ids()) == ("g", "body", ["a"])
    assert unlock.joined({}) is None
    joined = unlock.joined({"a": {"status": "SUCCESS", "result": 3}})
    assert joined is not None and joined.nested == [3]


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("builtins.ValueError", ("builtins", "ValueError")),
        ("shop.errors.Order.Gone", ("shop.errors", "Order.Gone")),
        ("shop.make.<locals>.Odd", ("shop", "make.<locals>.Odd")),
        ("shop.lower", ("shop", "lower")),
    ],
)
def test_a_class_is_told_from_its_module(name: str, parts: tuple[str, str]) -> None:
    assert split(name) == parts


@pytest.mark.parametrize(
    "hostile",
    [
        {"exc_module": "os", "exc_type": "system", "exc_message": "rm -rf ~"},
        {"exc_module": "builtins", "exc_type": "eval", "exc_message": ["1"]},
        {"exc_module": None, "exc_type": ["x"], "exc_message": {"a": 1}},
        "text", None, 7, [],
    ],
)  # fmt: skip
def test_a_stored_error_is_only_ever_data(hostile: Any) -> None:
    assert isinstance(failure_of(hostile).message, str)
