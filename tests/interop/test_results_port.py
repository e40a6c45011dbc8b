"""Where Celery keeps its results: what TaskBus writes Celery reads, what Celery writes TaskBus reads, on each place."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from celery.exceptions import ChordError, TaskRevokedError
from celery.result import AsyncResult

from taskbus.celery_results.document import Call, Document, document
from taskbus.celery_results.opening import open_celery_results
from taskbus.celery_results.port import CeleryResults, Part
from taskbus.celery_results.signature import Chord, Outcome
from taskbus.errors import ConfigError
from taskbus.outcome import Failure, State
from tests.interop import results_celery
from tests.servers import postgres_server
from tests.servers.redis_server import RedisServer

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # which Celery calls

PLACES = ["redis", "sqlite", "postgresql"]
NOW = 1_790_000_000.0


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis: RedisServer) -> str:
    """A result backend's URL, in Celery's words."""
    if request.param == "redis":
        return redis.url
    if request.param == "sqlite":
        return f"db+sqlite:///{tmp_path_factory.mktemp('results')}/results.db"
    return f"db+{postgres_server.shared_server().url()}"


@pytest.fixture(scope="module")
def celery(place: str) -> Iterator[Celery]:
    yield from _celery(place)


def _celery(place: str, **settings: Any) -> Iterator[Celery]:
    app = Celery("judge", broker="memory://", backend=place.replace("postgresql:", "postgresql+psycopg:"))
    app.conf.update(result_extended=True, **settings)
    app.set_current()
    yield app
    results_celery.close(app)


@pytest.fixture
def results(place: str) -> Iterator[CeleryResults]:
    with closing(open_celery_results(f"{place}{'&' if '?' in place else '?'}extended=true", 86_400.0)) as opened:
        yield opened


def saved(state: State, **fields: Any) -> Document:
    headers = {"id": str(uuid4()), "task": "shop.add", "group": "g-1", "parent_id": "p-1", "retries": 2}
    headers |= fields.pop("headers", {})
    call = Call(headers, [1, "two"], {"three": 3}, "w@here", "orders")
    return Document(headers["id"], document(state, call, at=NOW, is_extended=True, **fields))


# --- TaskBus writes, Celery reads ------------------------------------------------------------------------------------


def test_celery_reads_a_value(results: CeleryResults, celery: Celery) -> None:
    made = saved(
        State.SUCCESS, value={"total": 5, "of": [1, 2]}, children=[Outcome("c-1"), Outcome("g", [Outcome("m")])]
    )
    results.save([made])
    found = celery.AsyncResult(made.task_id)
    assert found.get(timeout=10) == {"total": 5, "of": [1, 2]}
    assert [child.as_tuple() for child in found.children] == [
        (("c-1", None), None),
        (("g", None), [(("m", None), None)]),
    ]
    assert (found.name, found.args, found.kwargs) == ("shop.add", [1, "two"], {"three": 3})
    assert (found.worker, found.retries, found.queue) == ("w@here", 2, "orders")
    assert found.date_done.replace(tzinfo=None).isoformat() == "2026-09-21T14:13:20"


def test_celery_raises_the_error(results: CeleryResults, celery: Celery) -> None:
    failure = Failure("builtins.ValueError", "no such order", "Traceback (most recent call last):\n ...\n")
    made = saved(State.FAILURE, failure=failure)
    results.save([made])
    found = celery.AsyncResult(made.task_id)
    with pytest.raises(ValueError, match="no such order") as raised:
        found.get(timeout=10)
    assert raised.value.args == ("no such order",)
    assert found.traceback == failure.traceback


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("taskbus.errors.TimeLimitExceeded", "billiard.exceptions.TimeLimitExceeded"),
        ("taskbus.errors.SoftTimeLimitExceeded", "billiard.exceptions.SoftTimeLimitExceeded"),
        ("taskbus.worker.RunnerDied", "billiard.exceptions.WorkerLostError"),
        ("taskbus.errors.UnknownTask", "celery.exceptions.NotRegistered"),
        ("celery.exceptions.ChordError", "celery.exceptions.ChordError"),
        ("builtins.KeyError", "builtins.KeyError"),
        ("shop.errors.NoStock", "celery.exceptions.NoStock"),
        ("shop.errors.Order.Gone", "celery.exceptions.Order.Gone"),
    ],
)
def test_celery_knows_its_own_classes_again(results: CeleryResults, celery: Celery, ours: str, theirs: str) -> None:
    made = saved(State.FAILURE, failure=Failure(ours, "'why'" if "Key" in ours else "why"))
    results.save([made])
    error = celery.AsyncResult(made.task_id).result
    assert f"{type(error).__module__}.{type(error).__qualname__}" == theirs
    assert error.args == ("why",)


@pytest.mark.parametrize(("ours", "said"), [("TaskRevoked", "revoked"), ("TaskExpired", "expired")])
def test_celery_hears_that_a_task_was_revoked(results: CeleryResults, celery: Celery, ours: str, said: str) -> None:
    made = saved(State.REVOKED, failure=Failure(f"taskbus.errors.{ours}", "not started before ..."))
    results.save([made])
    with pytest.raises(TaskRevokedError, match=said):
        celery.AsyncResult(made.task_id).get(timeout=10)


def test_a_success_is_never_written_over(results: CeleryResults, celery: Celery) -> None:
    made = saved(State.SUCCESS, value=1)
    results.save([made])
    late = saved(State.FAILURE, failure=Failure("builtins.ValueError", "late"), headers={"id": made.task_id})
    results.save([late])
    assert celery.AsyncResult(made.task_id).get(timeout=10) == 1


def test_a_success_of_celerys_is_never_written_over(results: CeleryResults, celery: Celery) -> None:
    task_id = str(uuid4())
    celery.backend.store_result(task_id, 1, "SUCCESS")
    results.save([saved(State.FAILURE, failure=Failure("builtins.ValueError", "late"), headers={"id": task_id})])
    assert results.documents([task_id])[task_id]["result"] == 1


def test_a_failure_and_a_retry_give_way(results: CeleryResults, celery: Celery) -> None:
    made = saved(State.RETRY, failure=Failure("builtins.OSError", "once"))
    results.save([made])
    assert celery.AsyncResult(made.task_id).state == "RETRY"
    results.save([saved(State.SUCCESS, value=2, headers={"id": made.task_id})])
    assert celery.AsyncResult(made.task_id).get(timeout=10) == 2


def test_two_write_a_document_at_once(results: CeleryResults, celery: Celery) -> None:
    ids = [str(uuid4()) for _ in range(20)]

    def write() -> None:
        for task_id in ids:
            results.save([saved(State.SUCCESS, value=1, headers={"id": task_id})])

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {fields["status"] for fields in results.documents(ids).values()} == {"SUCCESS"}
    assert len(results.documents(ids)) == 20


def test_the_document_is_celerys_to_the_last_key(celery: Celery, results: CeleryResults, place: str) -> None:
    """What Celery makes of a call, and TaskBus of the same: the same text, but for the time of day."""
    headers = {"id": str(uuid4()), "task": "shop.add", "group": "g-1", "parent_id": "p-1", "retries": 2}
    stamps = {"stamped_headers": ["customer"], "stamps": {"customer": "c-7"}}
    request = SimpleNamespace(
        task="shop.add", args=[1], kwargs={"a": 2}, hostname="w@here", retries=2,
        delivery_info={"routing_key": "orders"},
        group="g-1", parent_id="p-1", children=[], ignore_result=False, **stamps,
    )  # fmt: skip
    meta = celery.backend._get_result_meta(5, "SUCCESS", None, request)
    meta["task_id"] = headers["id"]
    call = Call({**headers, **stamps}, [1], {"a": 2}, "w@here", "orders")
    ours = document(State.SUCCESS, call, value=5, at=NOW, is_extended=True)
    assert json.dumps({**meta, "date_done": ""}) == json.dumps({**ours, "date_done": ""})


def test_stamps_are_kept(results: CeleryResults, celery: Celery) -> None:
    made = saved(State.SUCCESS, value=1, headers={"stamped_headers": ["customer"], "stamps": {"customer": "c-7"}})
    results.save([made])
    meta = celery.backend.get_task_meta(made.task_id)
    assert (meta["stamped_headers"], meta["customer"]) == (["customer"], "c-7")


# --- Celery writes, TaskBus reads ------------------------------------------------------------------------------------


def test_what_celery_stored_is_read(results: CeleryResults, celery: Celery) -> None:
    good, bad = str(uuid4()), str(uuid4())
    celery.backend.store_result(good, {"a": [1]}, "SUCCESS")
    celery.backend.store_result(bad, ValueError("no", 7), "FAILURE", traceback="Traceback ...")
    found = results.documents([good, bad, "never-sent"])
    assert set(found) == {good, bad}
    assert (found[good]["status"], found[good]["result"]) == ("SUCCESS", {"a": [1]})
    assert found[bad]["result"] == {"exc_type": "ValueError", "exc_message": ["no", 7], "exc_module": "builtins"}


def test_a_document_that_cannot_be_read_says_so(results: CeleryResults, place: str, redis: RedisServer) -> None:
    made = saved(State.SUCCESS, value=1)
    results.save([made])
    if place == redis.url:
        redis.cli("SET", f"celery-task-meta-{made.task_id}", b"\x80\x04pickled")
        assert "pickle" in str(results.documents([made.task_id])[made.task_id]["result"])


def test_a_result_that_celery_stores_wakes_who_waits(results: CeleryResults, celery: Celery) -> None:
    task_id = str(uuid4())
    rung = threading.Event()
    cancel = results.subscribe(rung.set)
    try:
        assert not results.documents([task_id])
        _until(lambda: not results.documents([task_id]) and rung.wait(30), rung.clear)
        celery.backend.store_result(task_id, 3, "SUCCESS")
        while task_id not in results.documents([task_id]):
            assert rung.wait(30)
            rung.clear()
    finally:
        cancel()


def _until(condition: Callable[[], object], then: Callable[[], object]) -> None:
    assert condition()
    then()


def test_what_is_forgotten_is_gone_for_celery(results: CeleryResults, celery: Celery) -> None:
    made = saved(State.SUCCESS, value=1)
    results.save([made])
    results.forget([made.task_id])
    assert celery.AsyncResult(made.task_id).state == "PENDING"


def test_what_is_too_old_is_swept_where_the_database_does_not(results: CeleryResults, celery: Celery) -> None:
    made = saved(State.SUCCESS, value=1)
    results.save([made])
    results.sweep(NOW + 86_399, 86_400)
    assert results.documents([made.task_id])
    if not results.ability.counts:
        assert results.sweep(NOW + 86_401, 86_400) >= 1
        assert not results.documents([made.task_id])


# --- chords, on Redis ------------------------------------------------------------------------------------------------


class Group:
    """A chord of ``size`` parts, of which some come in from Celery and some from TaskBus."""

    def __init__(self, server: RedisServer, size: int) -> None:
        self.id = str(uuid4())
        self.server = server
        self._apps = _celery(server.url)
        self.app = next(self._apps)
        self.body = {"task": "total", "args": [], "kwargs": {}, "options": {"task_id": str(uuid4())},
                     "subtask_type": None, "immutable": False}  # fmt: skip
        self.sent: list[Any] = []
        self.app.task(lambda_total, name="total", shared=False)
        self.app.amqp.__dict__["send_task_message"] = self._catch
        self.results = open_celery_results(server.url, 86_400.0)
        self.results.begin([Chord(self.id, size, [], self.body)])

    def _catch(self, producer: Any, name: str, message: Any, **options: Any) -> None:
        self.sent.append(message.body[0])

    def by_celery(self, place: int, value: Any, state: str = "SUCCESS") -> None:
        request = SimpleNamespace(id=f"t-{place}", group=self.id, group_index=place, chord=self.body)
        self.app.backend.on_chord_part_return(request, state, value)

    def by_taskbus(self, place: int, value: Any, state: str = "SUCCESS") -> Any:
        (joined,) = self.results.parts([Part(self.id, f"t-{place}", place, state, value)])
        return joined

    def close(self) -> None:
        self.results.close()
        next(self._apps, None)


def lambda_total(*args: Any) -> None:
    """Is never called."""


@pytest.fixture
def three(redis: RedisServer) -> Iterator[Group]:
    with closing(Group(redis, 3)) as made:
        yield made


def test_the_last_part_of_a_chord_is_taskbuss(three: Group) -> None:
    three.by_celery(2, 30)
    assert three.by_taskbus(0, 10) is None
    joined = three.by_taskbus(1, 20)
    assert [value for _, _, value in joined.parts] == [10, 20, 30]
    three.results.finish([three.id])
    assert three.sent == []
    assert three.server.keys(f"*{three.id}*") == [f"celery-taskset-meta-{three.id}.c"]


def test_the_last_part_of_a_chord_is_celerys(three: Group) -> None:
    assert three.by_taskbus(1, 20) is None
    assert three.by_taskbus(0, 10) is None
    three.by_celery(2, 30)
    assert three.sent == [([10, 20, 30],)]
    assert three.server.keys(f"*{three.id}*") == [f"celery-taskset-meta-{three.id}.c"]


def test_a_part_that_comes_in_twice_counts_once(three: Group) -> None:
    three.by_taskbus(0, 10)
    three.by_celery(0, 11)
    assert three.by_taskbus(0, 12) is None
    three.by_taskbus(1, 20)
    assert [value for _, _, value in three.by_taskbus(2, 30).parts] == [10, 20, 30]


def test_a_chord_done_with_is_not_begun_again_by_a_late_copy(three: Group) -> None:
    for place in range(3):
        joined = three.by_taskbus(place, place)
    assert joined is not None
    three.results.finish([three.id])
    three.results.begin([Chord(three.id, 3, [], three.body)])
    assert three.by_taskbus(2, 2) is None
    three.by_celery(2, 2)
    assert three.sent == []


def test_what_taskbus_claimed_another_worker_of_its_own_may_go_on_with_but_celery_not(three: Group) -> None:
    for place in range(3):
        three.by_taskbus(place, place)
    three.by_celery(2, 2)  # a copy, while the claim holds
    assert three.sent == []
    assert [value for _, _, value in three.by_taskbus(2, 2).parts] == [0, 1, 2]


def test_a_claim_that_ran_out_is_celerys_to_take(three: Group) -> None:
    for place in range(3):
        three.by_taskbus(place, place)
    three.server.cli("DEL", f"celery-taskset-meta-{three.id}.c")
    three.by_celery(2, 2)
    assert three.sent == [([0, 1, 2],)]


def test_celery_sees_the_error_of_a_part_that_failed_here(three: Group) -> None:
    three.by_taskbus(0, {"exc_type": "ValueError", "exc_message": ["no"], "exc_module": "builtins"}, "FAILURE")
    three.by_celery(1, 2)
    three.by_celery(2, 2)
    with pytest.raises(ChordError, match=r"Dependency t-0 raised ValueError\('no'"):
        AsyncResult(three.body["options"]["task_id"], app=three.app).get(timeout=10)


def test_a_setting_that_is_no_result_backend_is_refused() -> None:
    with pytest.raises(ConfigError, match="write redis://"):
        open_celery_results("amqp://guest@here", 1.0)
