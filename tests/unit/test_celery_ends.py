"""The supervisor's part in the ends of Celery's tasks: what is recorded, what is sent, and in which order."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgpack
import pytest

from taskbus import codec
from taskbus.broker.delivery import Act, Delivery, Settlement
from taskbus.celery_results.document import Document
from taskbus.celery_results.port import Ability, Joined, Part
from taskbus.celery_results.sending import message_of
from taskbus.celery_results.signature import Call, Chord
from taskbus.config import Config
from taskbus.errors import StoreError
from taskbus.message import CELERY_FLOWS, COPY, FLOW, FOR_CELERY, Message
from taskbus.outcome import Dead, Failure, Outcome, Reason, Released, Retrying, State, Succeeded
from taskbus.store.base import Bury, SaveResult
from taskbus.store.flows import BeginFlow, EndNode, Flow, Node, NodeState, Start
from taskbus.store.memory import MemoryStore
from taskbus.store.opening import open_store
from taskbus.wire import celery as wire
from taskbus.worker.celery_desk import CeleryDesk
from taskbus.worker.celery_ends import CeleryEnds
from taskbus.worker.celery_flows import LOOK_EVERY, CeleryFlows
from taskbus.worker.options import TaskSpec
from taskbus.worker.settlement import Ended, Held, settlement

NOW = 1000.0
CONFIG = Config(celery_queues=("celery",))
BOOM = Failure("builtins.ValueError", "boom", "Traceback ...")


class Remembered:
    """Celery's results as a list of what was done to them."""

    ability = Ability(counts=True)
    shown = "here"

    def __init__(self) -> None:
        self.done: list[tuple[str, Any]] = []
        self.kept: dict[str, Mapping[str, Any]] = {}
        self.joined: Joined | None = None
        self.is_down = False

    def save(self, documents: Sequence[Document]) -> None:
        self._must_be_up()
        for each in documents:
            json.dumps(each.fields)
            self.kept[each.task_id] = each.fields
        self.done.append(("save", [(each.task_id, each.state) for each in documents]))

    def begin(self, chords: Sequence[Chord]) -> None:
        self._must_be_up()

    def parts(self, parts: Sequence[Part]) -> Sequence[Joined | None]:
        self.done.append(("parts", [part.task_id for part in parts]))
        return [self.joined for _ in parts]

    def finish(self, groups: Sequence[str]) -> None:
        self.done.append(("finish", list(groups)))

    def fail(self, groups: Sequence[str]) -> None:
        self.done.append(("fail", list(groups)))

    def documents(self, task_ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        self._must_be_up()
        return {task_id: self.kept[task_id] for task_id in task_ids if task_id in self.kept}

    def forget(self, task_ids: Sequence[str]) -> None: ...

    def sweep(self, now: float, ttl: float) -> int:
        return 0

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        return lambda: None

    def close(self) -> None: ...

    def _must_be_up(self) -> None:
        if self.is_down:
            raise StoreError("down")


@pytest.fixture
def results() -> Remembered:
    return Remembered()


@pytest.fixture
def desk(results: Remembered) -> CeleryDesk:
    desk = CeleryDesk({"shop.add": TaskSpec()}, CONFIG, "w")
    desk.results = results
    return desk


def sig(task: str, **options: Any) -> dict[str, Any]:
    return {"task": task, "args": [], "kwargs": {}, "options": options, "subtask_type": None, "immutable": False}


def held(*, store: bool = True, tag: int = 7, **embed: Any) -> Held:
    options = {"group_id": "g", "group_index": 0} if "chord" in embed else {}
    message = message_of(Call("shop.add", "t-1", [1], {}, options, **embed), "celery", NOW)
    delivery = Delivery(tag, "celery", wire.encode(message), wire.CONTENT_TYPE, 0, 1)
    return Held(delivery, message, TaskSpec(store_results=store))


def extended(desk: CeleryDesk, each: Held, outcome: Outcome) -> tuple[Settlement, list[Settlement], CeleryEnds, Any]:
    ends = CeleryEnds(desk)
    ended = Ended(each, outcome, NOW - 1, 1.0)
    made = ends.extend([ended], [settlement(ended, "w", NOW, CONFIG)], NOW)
    return made.settlements[0], made.settlements, ends, made


OK = Succeeded(msgpack.packb(5))


def test_a_value_is_recorded_where_celery_looks_and_there_alone(desk: CeleryDesk, results: Remembered) -> None:
    made, *_ = extended(desk, held(), OK)
    assert (results.kept["t-1"]["status"], results.kept["t-1"]["result"]) == ("SUCCESS", 5)
    assert made.delivery is not None
    assert not [change for change in made.changes if type(change) is SaveResult]


def test_without_celerys_results_the_value_is_kept_as_ever_and_the_chain_goes_on() -> None:
    desk = CeleryDesk({}, CONFIG, "w")
    made, *_ = extended(desk, held(chain=[sig("shop.next", task_id="n")]), OK)
    assert [type(change) for change in made.changes] == [SaveResult]
    assert [message.id for message in made.follow_ups] == ["n"]


def test_what_wants_no_result_has_none_and_is_followed_all_the_same(desk: CeleryDesk, results: Remembered) -> None:
    made, *_ = extended(desk, held(store=False, chain=[sig("shop.next", task_id="n")]), OK)
    assert results.kept == {}
    assert [(message.id, codec.decode(message.body, message.content_type)[0]) for message in made.follow_ups] == [
        ("n", [5])
    ]


def test_a_retry_is_recorded_and_sent_again_as_the_same_call(desk: CeleryDesk, results: Remembered) -> None:
    made, *_ = extended(desk, held(chain=[sig("shop.next")]), Retrying(3.0, BOOM))
    assert results.kept["t-1"]["status"] == "RETRY"
    (again,) = made.follow_ups
    assert (again.id, again.attempt, again.due_at) == ("t-1", 2, NOW + 3)


def test_what_goes_back_to_its_queue_is_told_to_nobody(desk: CeleryDesk, results: Remembered) -> None:
    made, *_ = extended(desk, held(chain=[sig("shop.next")]), Released())
    assert (made.act, results.done) == (Act.RELEASE, [])


def test_while_celerys_results_are_out_of_reach_nothing_is_settled(desk: CeleryDesk, results: Remembered) -> None:
    results.is_down = True
    with pytest.raises(StoreError):
        extended(desk, held(), OK)


def test_a_value_without_a_form_in_json_has_failed(desk: CeleryDesk, results: Remembered) -> None:
    ours = codec.encode({(1, 2): "a map whose key is a list"})
    made, *_ = extended(desk, held(chain=[sig("shop.next", task_id="n")]), Succeeded(ours))
    assert [change.letter.reason for change in made.changes if type(change) is Bury] == [Reason.BAD_RESULT]
    assert {task_id: fields["status"] for task_id, fields in results.kept.items()} == {"t-1": "FAILURE", "n": "FAILURE"}
    assert not made.follow_ups


def test_a_chain_that_cannot_be_read_fails_the_task_and_is_told_to_nobody(
    desk: CeleryDesk, results: Remembered
) -> None:
    made, *_ = extended(desk, held(chain=["no signature"]), OK)
    assert [type(change) for change in made.changes if type(change) is Bury] == [Bury]
    assert results.kept["t-1"]["status"] == "FAILURE"


def test_a_body_is_sent_by_the_settlement_that_completes_its_chord(desk: CeleryDesk, results: Remembered) -> None:
    results.joined = Joined([("t-1", "SUCCESS", 5)])
    made, _, ends, all_of_it = extended(desk, held(chord=sig("shop.total", task_id="body")), OK)
    assert [message.id for message in made.follow_ups] == ["body"]
    assert [name for name, _ in results.done] == ["save", "parts"]
    assert ends.settled(all_of_it, []) == []
    assert ("finish", ["g"]) in results.done


def test_a_body_that_was_claimed_for_nothing_is_sent_all_the_same(desk: CeleryDesk, results: Remembered) -> None:
    results.joined = Joined([("t-1", "SUCCESS", 5)])
    made, _, ends, all_of_it = extended(desk, held(chord=sig("shop.total", task_id="body")), OK)
    assert made.delivery is not None
    (orphan,) = ends.settled(all_of_it, [made.delivery])
    assert (orphan.delivery, [message.id for message in orphan.follow_ups]) == (None, ["body"])
    assert ("finish", ["g"]) not in results.done


def test_a_failed_chord_is_told_once(desk: CeleryDesk, results: Remembered) -> None:
    results.joined = Joined([("t-1", "FAILURE", {"exc_type": "ValueError", "exc_message": ["boom"], "exc_module": ""})])
    _, _, ends, all_of_it = extended(desk, held(chord=sig("shop.total", task_id="body")), Dead(Reason.REJECTED, BOOM))
    ends.settled(all_of_it, [])
    assert results.kept["body"]["result"]["exc_type"] == "ChordError"
    assert ("fail", ["g"]) in results.done


# --- members of flows of ours that are Celery's ----------------------------------------------------------------------


@pytest.fixture
def store() -> MemoryStore:
    store = open_store(f"memory://{id(object())}")
    assert isinstance(store, MemoryStore)
    node = Node("n-1", "shop.theirs", keeps=True)
    store.apply([BeginFlow(Flow("f-1", "flow", "n-1", NOW, 60.0), [node])])
    store.begin([Start("f-1", "n-1", "", NOW)])
    return store


def member(inputs: Any = None) -> Held:
    body = codec.encode_call((1,), {"y": 2})
    headers = {FLOW: "f-1", COPY: "c", FOR_CELERY: "celery", "own": "text"}
    message = Message("n-1", "shop.theirs", body, queue=CELERY_FLOWS, headers=headers, expires_at=NOW + 50)
    return Held(Delivery(1, CELERY_FLOWS, b"", "", 0, 1), message, TaskSpec(), inputs=inputs)


def arrived(message: Message) -> Held:
    return Held(Delivery(2, message.queue, wire.encode(message), wire.CONTENT_TYPE, 0, 1), message, TaskSpec())


def test_a_member_is_handed_on_with_what_its_flow_gives_it(desk: CeleryDesk, store: MemoryStore) -> None:
    made = CeleryFlows(desk, store).settled(member(inputs=[[msgpack.packb(7), msgpack.packb(8)]]), NOW)
    call, watch = made.follow_ups
    assert (call.id, call.task, call.queue, call.expires_at) == ("n-1", "shop.theirs", "celery", NOW + 50)
    assert codec.decode(call.body, call.content_type) == [[[7, 8], 1], {"y": 2}]
    assert call.celery is not None and call.celery["headers"]["own"] == "text"
    assert not [name for name in call.celery["headers"] if name.startswith("taskbus-")]
    assert (watch.queue, watch.due_at) == (CELERY_FLOWS, NOW + LOOK_EVERY)


def ending(desk: CeleryDesk, store: MemoryStore, task: str, first: Any) -> Settlement:
    """What comes of the answer that Celery sends by the signature that the member was sent with."""
    call = CeleryFlows(desk, store).settled(member(), NOW).follow_ups[0]
    called = wire.call_of(call)
    assert called is not None
    links = [*called.embed["callbacks"], *called.embed["errbacks"]]
    (link,) = [each for each in links if each["task"] == task]
    answer = message_of(Call(task, link["options"]["task_id"], [first, *link["args"]], {}, {}), CELERY_FLOWS, NOW)
    return CeleryFlows(desk, store).settled(arrived(answer), NOW)


def test_its_value_ends_the_node(desk: CeleryDesk, store: MemoryStore) -> None:
    made = ending(desk, store, "taskbus.flow_ended", {"a": 1})
    store.apply(made.changes)
    (found,) = store.nodes("f-1", limit=1)
    assert found.state is NodeState.SUCCESS
    assert codec.decode(store.results(["n-1"])["n-1"].value or b"") == {"a": 1}


def test_its_error_ends_the_node_with_what_celery_keeps_of_it(
    desk: CeleryDesk, store: MemoryStore, results: Remembered
) -> None:
    results.kept["n-1"] = {"status": "FAILURE", "result": {"exc_type": "ValueError", "exc_message": ["boom"],
                           "exc_module": "builtins"}, "traceback": "Traceback ..."}  # fmt: skip
    store.apply(ending(desk, store, "taskbus.flow_failed", "n-1").changes)
    (found,) = store.nodes("f-1", limit=1)
    assert (found.state, found.failure) == (NodeState.FAILURE, BOOM)


def watched(desk: CeleryDesk, store: MemoryStore) -> Settlement:
    watch = CeleryFlows(desk, store).settled(member(), NOW).follow_ups[1]
    return CeleryFlows(desk, store).settled(arrived(watch), NOW)


def test_a_member_that_celery_revoked_is_found_by_looking(
    desk: CeleryDesk, store: MemoryStore, results: Remembered
) -> None:
    made = watched(desk, store)
    assert (made.act, made.delay) == (Act.RELEASE, LOOK_EVERY)
    results.kept["n-1"] = {"status": "REVOKED", "result": {"exc_type": "TaskRevokedError", "exc_message": ["expired"],
                           "exc_module": "celery.exceptions"}}  # fmt: skip
    store.apply(watched(desk, store).changes)
    (found,) = store.nodes("f-1", limit=1)
    assert found.state is NodeState.REVOKED
    assert found.failure == Failure("taskbus.errors.TaskExpired", "expired")


def test_nobody_looks_any_more_when_the_flow_has_ended(desk: CeleryDesk, store: MemoryStore) -> None:
    store.apply([EndNode("f-1", "n-1", NodeState.SUCCESS, NOW)])
    made = watched(desk, store)
    assert (made.act, made.changes) == (Act.ACK, ())


def test_an_answer_that_makes_no_sense_is_buried(desk: CeleryDesk, store: MemoryStore) -> None:
    answer = message_of(Call("taskbus.flow_ended", "x", [], {}, {}), CELERY_FLOWS, NOW)
    made = CeleryFlows(desk, store).settled(arrived(answer), NOW)
    assert [change.letter.reason for change in made.changes if type(change) is Bury] == [Reason.BAD_ARGUMENTS]


def test_while_results_are_out_of_reach_an_answer_waits(
    desk: CeleryDesk, store: MemoryStore, results: Remembered
) -> None:
    results.is_down = True
    assert ending(desk, store, "taskbus.flow_failed", "n-1").act is Act.RELEASE
    assert State.SUCCESS.is_final


def test_a_body_that_cannot_be_read_keeps_the_reason_it_is_buried_for(desk: CeleryDesk, results: Remembered) -> None:
    pickled = held()
    assert pickled.message is not None
    pickled.message = pickled.message._replace(content_type="celery::application/x-python-serialize")
    made, *_ = extended(desk, pickled, Dead(Reason.UNDECODABLE, BOOM))
    assert [change.letter.reason for change in made.changes if type(change) is Bury] == [Reason.UNDECODABLE]
    assert results.kept["t-1"]["status"] == "FAILURE"
