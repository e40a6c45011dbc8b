"""As on Redis, the two fleets share RabbitMQ, and keep Celery's results on Redis."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.results_canvases import BAD, GOOD, WHO, Sent, by_id, got, read_by, send_all, sent
from tests.interop.results_fleet import OURS, THEIRS, Fleet
from tests.servers import rabbitmq_server
from tests.servers.redis_server import RedisServer

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # which Celery calls

SOME = {who: WHO[who] for who in ("ours", "theirs first", "whoever comes")}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder: Path = tmp_path_factory.mktemp("fleet")
    redis = RedisServer(folder / "redis")
    redis.start()
    fleet = Fleet(rabbitmq_server.the_node().url, f"sqlite:///{folder}/own.db", redis.url, folder)
    yield fleet.start()
    fleet.close()
    redis.kill()


@pytest.fixture(scope="module")
def sent_at_once(fleet: Fleet) -> Sent:
    return send_all(fleet, SOME)


@pytest.mark.parametrize("reader", ["celery", "taskbus"])
@pytest.mark.parametrize("sender", ["celery", "taskbus"])
@pytest.mark.parametrize("queue", [OURS, THEIRS])
def test_a_value_comes_back_whoever_sends_runs_and_reads(fleet: Fleet, sender: str, queue: str, reader: str) -> None:
    task_id = sent(fleet, sender, "add", queue, 2, 3)
    assert read_by(fleet, reader, task_id, queue) == 5


@pytest.mark.parametrize("who", SOME)
@pytest.mark.parametrize("name", GOOD)
def test_a_workflow_of_celerys_runs_to_its_end(sent_at_once: Sent, name: str, who: str) -> None:
    result, expected = sent_at_once[name, who]
    assert got(result) == expected


@pytest.mark.parametrize("who", SOME)
@pytest.mark.parametrize("name", BAD)
def test_a_workflow_of_celerys_fails_to_its_end(fleet: Fleet, sent_at_once: Sent, name: str, who: str) -> None:
    result, expected = sent_at_once[name, who]
    with pytest.raises(expected, match="bad"):
        got(by_id(fleet, result))
