"""Celery's producers and workers beside TaskBus's, as processes, on one broker. Celery 5.7 itself is the judge."""

import base64
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from taskbus.broker.delivery import Settlement
from taskbus.outcome import State
from taskbus.steering.letters import dead_letters_of
from taskbus.store.base import DeadLetter, Filter
from taskbus.wire import formats
from tests.interop.fleet import SHARED, Fleet
from tests.servers.rabbitmq_server import the_node
from tests.servers.redis_server import RedisServer
from tests.servers.server import family

EARLY = 0.05
"""Seconds by which timers may be early: Celery's, and a worker of ours for which it is not worth the waiting."""
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The broker, a worker of each kind on a queue of its own and both on ``both``, all up."""
    folder = tmp_path_factory.mktemp(request.param)
    with_server = _on_redis if request.param == "redis" else _on_rabbitmq
    yield from with_server(folder)


def _on_redis(folder: Path) -> Iterator[Fleet]:
    server = RedisServer(folder)
    server.start()
    try:
        yield from _up(Fleet(server.url, server.url, folder))
    finally:
        server.kill()


def _on_rabbitmq(folder: Path) -> Iterator[Fleet]:
    fleet = Fleet(the_node().url, f"sqlite:///{folder}/results.db", folder)
    fleet.producer.do(
        "topic = Queue('quorum', Exchange('quorum', 'topic'), 'quorum', queue_arguments={'x-queue-type': 'quorum'})\n"
        "quorum = Celery('quorum', task_queues=[topic])\n"
        "connection = quorum.connection_for_write()\n"
        "topic(connection.default_channel).declare()\n"
        "delayed.declare_native_delayed_delivery_exchanges_and_queues(connection, 'classic')\n"
        "delayed.bind_queue_to_native_delayed_delivery_exchange(connection, topic)"
    )
    try:
        yield from _up(fleet)
    finally:
        with fleet.broker().connection() as connection:
            channel = connection.default_channel
            for name in (*SHARED, *(f"celery_delayed_{level}" for level in range(28))):
                channel.queue_delete(name)
                channel.exchange_delete(name)
            channel.exchange_delete("celery_delayed_delivery")


def _up(fleet: Fleet) -> Iterator[Fleet]:
    try:
        fleet.taskbus_worker(["new", "both", "quorum"])
        fleet.celery_worker(["old", "both"])
        yield fleet
    finally:
        fleet.close()


def letter_of(fleet: Fleet, where: Filter) -> DeadLetter:
    fleet.wait(lambda: fleet.app.store.dead_letters(where, limit=1), f"a dead letter {where}")
    return fleet.app.store.dead_letters(where, limit=1)[0]


# --- from Celery's producer to TaskBus's worker ----------------------------------------------------------------------


def test_a_task_of_a_celery_producer_runs_with_its_arguments_by_type(fleet: Fleet) -> None:
    fleet.producer.send("shop.add", "(2, 3)", queue="new", task_id="plain")
    fleet.producer.do(
        "app.send_task('shop.price', (Decimal('1.50'), datetime(2026, 2, 1, tzinfo=UTC)),"
        " {'parts': [UUID(int=7), b'raw']}, queue='new', task_id='typed')"
    )
    assert fleet.result("plain") == 5
    expected = (
        f"{'Decimal'}('1.50') {datetime(2026, 2, 1, tzinfo=UTC)!r} [UUID('{'0' * 8}-0000-0000-0000-{7:012}'), b'raw']"
    )
    assert fleet.result("typed") == expected


def test_every_compression_and_encoding_is_read(fleet: Fleet) -> None:
    options: list[dict[str, Any]] = [{"compression": each} for each in ("gzip", "bzip2", "lzma", "zstd", "brotli")]
    options += [{"serializer": each} for each in ("json", "msgpack", "yaml")]
    options.append({"serializer": "msgpack", "compression": "zstd"})
    for number, each in enumerate(options):
        fleet.producer.send("shop.add", f"({number}, 0)", queue="new", task_id=f"encoded-{number}", **each)
    assert [fleet.result(f"encoded-{number}") for number in range(len(options))] == [*range(len(options))]


def test_headers_reach_the_task(fleet: Fleet) -> None:
    fleet.producer.send(
        "shop.note", "('headers', 1)", queue="new", headers={"own": "text", "number": 5}, retries=2, shadow="shadowed",
        stamped_headers=["stamp"], stamp="value",
    )  # fmt: skip
    run = fleet.ran("headers")
    assert (run["who"], run["attempt"], run["values"]) == ("taskbus", 3, "[1, {}]")
    assert {"own": "text", "number": "5"}.items() <= run["headers"].items()


def test_a_delayed_task_starts_when_it_is_due_and_an_expired_one_never(fleet: Fleet) -> None:
    began = time.time()
    fleet.producer.send("shop.note", "('expired',)", queue="new", task_id="expired", countdown=1, expires=0.5)
    fleet.producer.send("shop.note", "('due',)", queue="new", countdown=1.5)
    assert fleet.ran("due")["at"] >= began + 1.5 - EARLY
    assert fleet.runs("expired") == []
    if fleet.is_redis:  # RabbitMQ drops it, as the message itself asks
        fleet.wait(lambda: fleet.app.result("expired").state is State.REVOKED, "it is revoked")


def test_time_limits_come_with_the_call(fleet: Fleet) -> None:
    fleet.producer.send("shop.sleep", "(30,)", queue="new", task_id="soft", soft_time_limit=0.2, time_limit=20)
    assert fleet.result("soft") == "it ran longer than its soft_time_limit of 0.2 s"
    fleet.producer.send("shop.sleep", "(30,)", queue="new", task_id="hard", time_limit=0.2)
    assert letter_of(fleet, Filter(task_ids=("hard",))).reason == "time_limit"


def test_a_result_that_is_to_be_ignored_is_not_kept(fleet: Fleet) -> None:
    fleet.producer.send("shop.note", "('ignored',)", queue="new", task_id="ignored", ignore_result=True)
    fleet.producer.send("shop.note", "('kept',)", queue="new", task_id="kept", ignore_result=False)
    fleet.wait(lambda: fleet.app.result("kept").is_ready, "the other has a result")
    assert fleet.ran("ignored") and fleet.app.result("ignored").state is State.PENDING


def test_a_failing_task_is_tried_again_and_keeps_its_headers(fleet: Fleet) -> None:
    fleet.producer.send("shop.third_time", queue="new", task_id="third", headers={"own": "text"})
    assert fleet.result("third") == "3 text"


def test_protocol_1_is_understood(fleet: Fleet) -> None:
    fleet.producer.do("old.send_task('shop.add', (4, 5), queue='new', task_id='protocol-1')")
    assert fleet.result("protocol-1") == 9


def test_map_starmap_and_chunks_are_answered(fleet: Fleet) -> None:
    fleet.producer.do(
        "add.map([1, 2]).apply_async(queue='new', task_id='map')\n"
        "add.starmap([(1, 2), (3, 4)]).apply_async(queue='new', task_id='starmap')\n"
        "chunks = add.chunks([(n, n) for n in range(4)], 2).group()\n"
        "for n, chunk in enumerate(chunks.tasks): chunk.set(task_id=f'chunk-{n}')\n"
        "chunks.apply_async(queue='new')"
    )
    assert (fleet.result("map"), fleet.result("starmap")) == ([101, 102], [3, 7])
    assert (fleet.result("chunk-0"), fleet.result("chunk-1")) == ([0, 2], [4, 6])


def test_pickle_and_unknown_content_become_dead_letters_with_the_bytes_as_they_came(fleet: Fleet) -> None:
    fleet.producer.send("shop.add", "(1, 2)", queue="new", task_id="pickled", serializer="pickle")
    letter = letter_of(fleet, Filter(task_ids=("pickled",)))
    assert letter.reason == "undecodable"
    assert "is pickle" in letter.failure.message and "task_serializer = 'json'" in letter.failure.message
    kept = json.loads(letter.wire)
    assert kept["headers"]["id"] == "pickled"
    assert base64.b64decode(kept["body"])[:2] == b"\x80\x04"  # pickle's own first bytes


def test_a_dead_letter_is_replayed_as_the_call_it_was(fleet: Fleet) -> None:
    wanted = fleet.folder / "wanted"
    fleet.producer.send(
        "shop.read", f"({str(wanted)!r},)", queue="new", task_id="read", headers={"own": "text"}, retries=4
    )
    assert letter_of(fleet, Filter(task_ids=("read",))).attempt == 5
    wanted.write_text("found")
    (replayed,) = dead_letters_of(fleet.app).replay(Filter(task_ids=("read",)))
    assert replayed.refused == ""
    run = fleet.ran("found")
    assert (run["id"], run["attempt"], run["headers"]["own"]) == ("read", 1, "text")


def test_what_celery_delays_on_the_broker_itself_arrives_as_any(fleet: Fleet) -> None:
    """Native delayed delivery, which Celery has for quorum queues: the message comes through ``celery_delayed_N``."""
    if fleet.is_redis:
        return  # only RabbitMQ has it
    began = time.time()
    fleet.producer.do("quorum.send_task('shop.note', ('by the broker',), countdown=2, queue='quorum')")
    run = fleet.ran("by the broker")
    assert (run["who"], run["attempt"]) == ("taskbus", 1)
    assert run["at"] >= began + 2 - EARLY


def test_rabbitmqs_priorities_are_celerys_numbers(fleet: Fleet) -> None:
    """In a queue that somebody declared with ``x-max-priority``, which is taken as it is."""
    if fleet.is_redis:
        return  # the other way round there: test_redis_celery
    fleet.producer.do(
        "ranked = Queue('ranked', Exchange('ranked'), 'ranked', max_priority=10)\n"
        "ranked(connection.default_channel).declare()\n"
        "for n in (1, 9, 5): app.send_task('shop.add', (n, n), queue=ranked, priority=n, task_id=f'ranked-{n}')"
    )
    broker = fleet.broker()
    with broker.connection() as connection:
        channel = connection.default_channel
        fleet.wait(lambda: channel.queue_declare("ranked", passive=True).messages == 3, "they are there")
    consumer = broker.consumer(["ranked"], name="w", lease=30)
    try:
        found = [formats.decode(each.wire, each.queue, each.priority, 1 << 20) for each in consumer.fetch(3)]
        assert [(message.id, message.priority) for message in found] == [
            ("ranked-9", 9), ("ranked-5", 5), ("ranked-1", 1),
        ]  # fmt: skip
    finally:
        consumer.close()
        broker.close()


# --- from TaskBus's producer to Celery's worker ----------------------------------------------------------------------


def test_a_task_of_ours_runs_on_a_celery_worker(fleet: Fleet) -> None:
    note = fleet.app.tasks.get("shop.note") or fleet.app.task(name="shop.note")(_note)
    began = time.time()
    when = datetime(2026, 2, 1, tzinfo=UTC)
    note.options(queue="old", task_id="ours", headers={"own": "text"}, expires=600).delay("ours", when, b"\xff", a=[1])
    note.options(queue="old", countdown=1.5).delay("ours later")
    note.options(queue="old", expires=-1).delay("ours too late")
    run = fleet.ran("ours")
    assert (run["who"], run["id"], run["attempt"]) == ("celery", "ours", 1)
    assert run["values"] == repr([when, b"\xff", {"a": [1]}])
    assert run["headers"]["own"] == "text" and run["expires"] and run["eta"] is None
    assert run["argsrepr"].startswith("('ours', datetime")
    assert fleet.ran("ours later")["at"] >= began + 1.5 - EARLY
    assert fleet.runs("ours too late") == []


def _note(key: str, *values: Any, **named: Any) -> None: ...


def test_a_retry_of_ours_is_one_that_celery_takes(fleet: Fleet) -> None:
    """What our worker's settlement publishes, to the queue of the other fleet."""
    fleet.producer.send(
        "shop.note", "('handed', 1)", queue="handed", task_id="handed", headers={"own": "text"}, time_limit=9,
        compression="gzip",
    )  # fmt: skip
    broker = fleet.broker()
    with_lease = broker.consumer(["handed"], name="w", lease=30)
    try:
        found: list[Any] = []
        fleet.wait(lambda: found or found.extend(with_lease.fetch(1)) or found, "it is fetched")
        message = formats.decode(found[0].wire, "old", 0, 1 << 20)
        again = message._replace(attempt=2, due_at=time.time() + 0.5)
        with_lease.settle([Settlement(found[0], follow_ups=(again,))], None, shared=False)
    finally:
        with_lease.close()
        broker.close()
    run = fleet.ran("handed")
    assert (run["who"], run["id"], run["attempt"], run["values"]) == ("celery", "handed", 2, "[1, {}]")
    assert (run["headers"]["own"], run["timelimit"]) == ("text", [9, None])
    assert run["at"] >= again.due_at - EARLY


# --- both on one queue -----------------------------------------------------------------------------------------------


def test_both_drain_one_queue_and_each_task_runs_once(fleet: Fleet) -> None:
    together = fleet.app.tasks.get("shop.together") or fleet.app.task(name="shop.together")(_together)
    keys = [f"both-{number}" for number in range(500)]
    fleet.producer.do(f"for key in {keys[:250]}: app.send_task('shop.together', (key,), queue='both')")
    with fleet.app.batch():
        for key in keys[250:]:
            together.options(queue="both").delay(key)
    fleet.wait(lambda: len(fleet.runs(*keys)) >= 500, "all of them ran")
    fleet.producer.send("shop.together", "('the last',)", queue="both")  # whatever was there twice came before it
    fleet.ran("the last")
    runs = fleet.runs(*keys)
    assert Counter(entry["key"] for entry in runs) == Counter(keys)
    assert {entry["who"] for entry in runs} == {"celery", "taskbus"}


def _together(key: str) -> None: ...


def test_what_a_killed_worker_held_runs_again(fleet: Fleet) -> None:
    """Its tasks, and those of the worker beside it, go on for as long as ``gate`` is shut."""
    keys = [f"fragile-{number}" for number in range(12)]
    gate = fleet.folder / "gate"
    victim, _ = [fleet.taskbus_worker(["fragile"], "--threads", "4", "--lease", "2") for _ in range(2)]
    for key in keys:
        fleet.producer.send("shop.pass_gate", f"({key!r}, {str(gate)!r})", queue="fragile", task_id=key)

    def held() -> list[str]:
        runners = family(victim.pid)
        return [entry["key"] for entry in fleet.runs(*keys) if entry["pid"] in runners]

    fleet.wait(lambda: len(held()) >= 4, "it holds some")
    lost = held()
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    gate.touch()
    fleet.wait(lambda: {entry["key"] for entry in fleet.runs(*keys) if entry["step"] == "end"} == {*keys}, "all end")
    begun = Counter(entry["key"] for entry in fleet.runs(*keys) if entry["step"] == "begin")
    assert all(begun[key] > 1 for key in lost)
