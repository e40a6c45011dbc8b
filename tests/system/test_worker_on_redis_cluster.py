"""A real worker on a Redis Cluster of three nodes, which keep its queues and its results in different slots."""

import itertools
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import sample
import sample_flows
from cli_runs import taskbus
from evidence import letters, lines
from worker_process import StartWorker, is_alive, wait_until

from taskbus import State, TaskBus, as_completed, chord
from taskbus.broker.transports.redis.keys import Keys
from taskbus.errors import FlowFailed, PublishFailed
from taskbus.outcome import Reason
from taskbus.store.base import Filter
from tests.servers.redis_server import RedisCluster, spread
from tests.servers.server import until

NODES = 3
SOON = 60.0
"""Seconds within which a few tasks have ended on a busy machine."""
RECOVERY = 15.0
"""Seconds within which a worker goes on, once its cluster is whole again."""
_numbers = itertools.count()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("cluster"), NODES) as cluster:
        yield cluster


@pytest.fixture
def url(cluster: RedisCluster) -> str:
    return f"{cluster.url}?prefix=test{next(_numbers)}"


@pytest.fixture
def bus(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TaskBus]:
    """The tasks of both samples, sent there; this process's variables lead commands to the same place."""
    with TaskBus("sample", broker=url, unknown_task_grace=0, sweep=0.5) as made:
        monkeypatch.setenv("TASKBUS_BROKER", made.broker_url)
        for task in (*sample.app.tasks.values(), *sample_flows.app.tasks.values()):
            made._adopt(task)
        yield made


def keys_of(url: str) -> Keys:
    return Keys(url.partition("prefix=")[2])


@pytest.fixture
def queues(url: str) -> list[str]:
    """The name of a queue on each node."""
    return spread(keys_of(url), NODES)


def test_tasks_of_queues_on_every_node_return_their_results(
    bus: TaskBus, cluster: RedisCluster, queues: list[str], start_worker: StartWorker
) -> None:
    worker = start_worker("-c", "2", "-Q", ",".join(queues))
    calls = [task.options(queue=queue) for queue in queues for task in (sample.add, sample.aadd)]
    results = [call.delay(number, 1) for number in range(5) for call in calls]
    with bus.batch():
        results += [call.delay(number, 1) for number in range(5, 25) for call in calls]
    found = sorted(done.get() for done in as_completed(results, timeout=SOON))
    assert found == sorted([number + 1 for number in range(25)] * len(calls))
    patterns = [f"{keys_of(bus.broker_url).base(queue)}*" for queue in queues]
    assert all(node.keys(pattern) for node, pattern in zip(cluster.nodes, patterns, strict=True)), "a node for each"
    assert worker.stop() == 0
    sizes = {size.name: size.ready + size.delayed + size.running for size in bus.broker.queues()}
    assert [sizes[queue] for queue in queues] == [0, 0, 0]
    assert bus.broker.workers() == []


def test_a_delayed_task_starts_in_time_and_what_failed_is_retried_buried_and_replayed(
    bus: TaskBus, queues: list[str], start_worker: StartWorker, tmp_path: Path
) -> None:
    first, second, third = queues
    worker = start_worker("-c", "2", "-Q", ",".join(queues))
    assert sample.flaky.options(queue=first).delay(str(tmp_path / "flaky"), 3).get(timeout=SOON) == 3
    assert lines(tmp_path / "flaky") == ["1", "2", "3"]
    due_at = bus.now() + 0.7
    buried = sample.slow_retry.options(queue=second, eta=due_at).delay(str(tmp_path / "late"))
    rejected = sample.rejects.options(queue=third).delay()
    wait_until(lambda: bus.store.count_dead_letters(Filter()) == 2, timeout=SOON, what="two burials")
    found = {letter.task_id: (letter.reason, len(letter.attempts)) for letter in letters(bus, 2)}
    assert found == {buried.id: (Reason.RETRIES_EXHAUSTED, 2), rejected.id: (Reason.REJECTED, 1)}
    began, again = map(float, lines(tmp_path / "late"))
    assert -0.05 <= began - due_at <= 10.0
    assert 0.3 <= again - began <= 10.0
    assert buried.state is State.FAILURE
    replay = taskbus("dlq", "replay", "--id", buried.id, "--yes")
    assert replay.status == 0, replay
    wait_until(lambda: len(lines(tmp_path / "late")) == 4, timeout=SOON, what="two attempts more")
    wait_until(lambda: bus.store.count_dead_letters(Filter()) == 2, timeout=SOON, what="the second burial")
    assert worker.stop() == 0


def test_a_chord_whose_members_are_on_every_node_ends_with_their_sum(
    bus: TaskBus, queues: list[str], start_worker: StartWorker
) -> None:
    worker = start_worker("-c", "2", "-Q", ",".join(queues), app="sample_flows:app")
    members = [
        sample_flows.add.s(number, 1).options(queue=queue) | sample_flows.double.s().options(queue=queue)
        for number, queue in enumerate(queues * 3)
    ]
    body = sample_flows.total.s().options(queue=queues[0])
    assert chord(members, body).delay().get(timeout=SOON) == sum(2 * (number + 1) for number in range(9))
    failing = [sample_flows.fails.s().options(queue=queues[1]), sample_flows.add.s(1, 1).options(queue=queues[2])]
    with pytest.raises(FlowFailed):
        chord(failing, body).delay().get(timeout=SOON)
    assert [letter.task for letter in letters(bus)] == ["sample_flows.fails"]
    assert worker.stop() == 0


def test_what_a_killed_worker_was_running_is_finished_by_another(
    bus: TaskBus, queues: list[str], start_worker: StartWorker, tmp_path: Path
) -> None:
    path, end = tmp_path / "ran", tmp_path / "end"
    options = ("-c", str(NODES), "-Q", ",".join(queues), "--lease", "2")
    first = start_worker(*options, app="sample_flows:app")
    calls = [sample_flows.waits.options(queue=queue) for queue in queues]
    results = [call.delay(str(path), str(end), number) for number, call in enumerate(calls)]
    starts = [f"start{number}" for number in range(NODES)]
    wait_until(lambda: sorted(lines(path)) == starts, timeout=SOON, what="the first runs")
    runners = first.children()
    first.stop(signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, runners)), what="the end of its runners")
    second = start_worker(*options, app="sample_flows:app")
    wait_until(lambda: sorted(lines(path)) == sorted(starts * 2), timeout=SOON, what="the second runs")
    end.touch()
    assert [result.get(timeout=SOON) for result in results] == list(range(NODES))
    assert sorted(lines(path)) == sorted([*starts * 2, *(f"end{number}" for number in range(NODES))])
    assert second.stop() == 0
    assert bus.broker.workers() == []


class TestOneNodeDies:
    """On a cluster of its own, in which the first node has a replica."""

    @pytest.fixture
    def cluster(self, tmp_path: Path) -> Iterator[RedisCluster]:
        with RedisCluster(tmp_path / "cluster", NODES, replicas=1) as cluster:
            yield cluster

    def test_the_same_worker_goes_on_with_the_replica(
        self, bus: TaskBus, cluster: RedisCluster, queues: list[str], start_worker: StartWorker, tmp_path: Path
    ) -> None:
        path, end = tmp_path / "ran", tmp_path / "end"
        worker = start_worker("-c", "2", "-Q", ",".join(queues), "--lease", "120", app="sample_flows:app")
        held = sample_flows.waits.options(queue=queues[0]).delay(str(path), str(end), 7)
        wait_until(lambda: lines(path) == ["start7"], timeout=SOON, what="the run")
        late = sample_flows.add.options(queue=queues[0], countdown=3).delay(1, 2)
        until(cluster.nodes[0].is_copied, "the replica has it all")
        cluster.nodes[0].kill()
        replica = cluster.nodes[NODES]
        until(lambda: replica.cli("ROLE")[0] == b"master", "the replica has taken over")
        for queue in queues:
            wait_until(partial(runs_soon, queue), RECOVERY, f"a task of {queue}")
        assert late.get(timeout=RECOVERY) == 3
        end.touch()
        assert held.get(timeout=RECOVERY) == 7
        assert lines(path) == ["start7", "end7"], "its claim was at the replica too"
        assert worker.stop() == 0


def runs_soon(queue: str) -> bool:
    """Whether a task is accepted for a queue; then it must run."""
    try:
        result = sample_flows.add.options(queue=queue).delay(1, 1)
    except PublishFailed:
        return False
    return result.get(timeout=RECOVERY) == 2
