"""A real Flower beside a worker: every page it has, every button on them, its API and its metrics."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskbus import State
from tests.interop.stage import NODE, Program, Stage, script, wait_until
from tests.servers.server import free_port

TASKS = "tests.interop.work_app"
PAGE = f"/worker/{urllib.parse.quote(NODE)}"


class Flower:
    """``celery flower`` on the stage's broker, driven over HTTP as a browser and as a program would."""

    def __init__(self, stage: Stage) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        options = [f"--broker-api={stage.api_url}"] if stage.api_url else []
        self.program = Program(
            stage.folder, script("celery"), "-A", "tests.interop.flower_app:app", "flower", f"--port={port}",
            "--address=127.0.0.1", *options,
            INTEROP_BROKER=stage.url, FLOWER_UNAUTHENTICATED_API="1", HOME=str(stage.folder),
        )  # fmt: skip
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def page(self, path: str) -> str:
        """The page at a path; fails unless the answer is 200."""
        with self.opener.open(f"{self.url}{path}", timeout=30) as answer:
            return str(answer.read().decode())

    def data(self, path: str) -> Any:
        return json.loads(self.page(path))

    def press(self, path: str, **fields: Any) -> tuple[int, str]:
        """What a button's request is answered: status, and text."""
        body = urllib.parse.urlencode(fields).encode()
        request = urllib.request.Request(f"{self.url}{path}", data=body, method="POST")
        try:
            with self.opener.open(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def is_up(self) -> bool:
        assert self.program.is_running(), self.program.output()
        try:
            return bool(self.data("/api/workers?refresh=1").get(NODE, {}).get("stats"))
        except (OSError, urllib.error.URLError, ValueError):
            return False


@pytest.fixture(scope="module")
def flower(stage: Stage) -> Iterator[Flower]:
    """One that has heard of the worker."""
    flower = Flower(stage)
    try:
        wait_until(flower.is_up, "Flower knows the worker")
        yield flower
    finally:
        flower.program.end()


def task_state(flower: Flower, task_id: str) -> str:
    try:
        return str(flower.data(f"/api/task/info/{task_id}").get("state"))
    except urllib.error.HTTPError:
        return ""


def test_the_list_of_workers_shows_ours_online(flower: Flower) -> None:
    wait_until(lambda: NODE in flower.page("/workers"), "it is listed")

    def row() -> Any:
        rows = flower.data("/workers?json=1")["data"]
        return next((row for row in rows if row["hostname"] == NODE and row["status"]), None)

    assert len(wait_until(row, "it is online")["loadavg"]) == 3


@pytest.mark.parametrize("path", ["/", "/tasks", "/broker", "/metrics", "/healthcheck", "/api/task/types"])
def test_every_page_opens(flower: Flower, path: str) -> None:
    assert flower.page(path)


def test_the_page_of_a_worker_shows_pool_queues_tasks_and_settings(flower: Flower, stage: Stage) -> None:
    assert stage.bus.tasks[f"{TASKS}.add"].delay(1, 2).get(timeout=30) == 3
    shown = ("worker.crew:prefork", "default", f"{TASKS}.add", "telemetry_rate", str(stage.worker.process.pid))
    for text in shown:
        wait_until(lambda text=text: text in flower.page(PAGE), f"the page shows {text}")


def test_tasks_are_shown_as_they_go(flower: Flower, stage: Stage, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    running = stage.bus.tasks[f"{TASKS}.wait_for"].delay(str(gate))
    wait_until(lambda: task_state(flower, running.id) == "STARTED", "Flower sees it run")
    # Flower shows what it knew, and asks anew for the next time.
    wait_until(lambda: running.id in flower.page(PAGE), "the worker's page lists what is active")
    gate.touch()
    wait_until(lambda: task_state(flower, running.id) == "SUCCESS", "Flower sees that it has succeeded")
    told = flower.data(f"/api/task/info/{running.id}")
    assert told["name"] == f"{TASKS}.wait_for" and told["result"] == "'seen'" and told["runtime"] > 0
    assert told["worker"] == NODE and str(gate) in told["args"]

    failed = stage.bus.tasks[f"{TASKS}.boom"].delay("broken")
    wait_until(lambda: task_state(flower, failed.id) == "FAILURE", "Flower sees that it has failed")
    assert flower.data(f"/api/task/info/{failed.id}")["exception"] == "ValueError('broken')"
    assert "ValueError" in flower.page(f"/task/{failed.id}")
    assert {running.id, failed.id} <= flower.data("/api/tasks").keys()
    fields = {"draw": 1, "start": 0, "length": 10, "search[value]": "", "order[0][column]": 0, "order[0][dir]": "asc"}
    table = flower.data(f"/tasks/datatable?{urllib.parse.urlencode({**fields, 'columns[0][data]': 'name'})}")
    assert running.id in {row["uuid"] for row in table["data"]}


def test_metrics_count_what_ran(flower: Flower, stage: Stage) -> None:
    result = stage.bus.tasks[f"{TASKS}.add"].delay(1, 2)
    wait_until(lambda: task_state(flower, result.id) == "SUCCESS", "Flower has seen it")
    metrics = flower.page("/metrics")
    assert f'flower_worker_online{{worker="{NODE}"}} 1.0' in metrics
    assert f'task="{TASKS}.add",type="task-succeeded",worker="{NODE}"' in metrics


def test_the_buttons_of_the_pool(flower: Flower, stage: Stage) -> None:
    def size() -> int:
        return len(stage.ask("stats")["pool"]["processes"])

    assert flower.press(f"/api/worker/pool/grow/{NODE}", n=1)[0] == 200
    wait_until(lambda: size() == 3, "a runner more")
    assert flower.press(f"/api/worker/pool/shrink/{NODE}", n=1)[0] == 200
    wait_until(lambda: size() == 2, "a runner less")
    before = set(stage.ask("stats")["pool"]["processes"])
    assert flower.press(f"/api/worker/pool/restart/{NODE}")[0] == 200
    wait_until(lambda: not before & set(stage.ask("stats")["pool"]["processes"]), "all runners are replaced")
    status, text = flower.press(f"/api/worker/pool/autoscale/{NODE}", min=1, max=4)
    assert status == 403 and "Autoscale not enabled" in text


def test_the_buttons_of_the_queues(flower: Flower, stage: Stage) -> None:
    def queues() -> set[str]:
        return {queue["name"] for queue in stage.ask("active_queues")}

    assert flower.press(f"/api/worker/queue/add-consumer/{NODE}", queue="more")[0] == 200
    assert queues() == {"default", "more"}
    assert flower.press(f"/api/worker/queue/cancel-consumer/{NODE}", queue="more")[0] == 200
    assert queues() == {"default"}


def test_the_buttons_of_a_task(flower: Flower, stage: Stage, tmp_path: Path) -> None:
    name = f"{TASKS}.add"
    status, text = flower.press(f"/api/task/rate-limit/{name}", workername=NODE, ratelimit="100/s")
    assert status == 200 and "new rate limit set successfully" in text
    assert f"{name} [rate_limit=100/s]" in stage.ask("registered")
    assert flower.press(f"/api/task/rate-limit/{name}", workername=NODE, ratelimit="0")[0] == 200
    status, text = flower.press(f"/api/task/timeout/{name}", workername=NODE, soft=5, hard=10)
    assert status == 200 and "time limits set successfully" in text
    assert f"{name} [time_limit=10.0]" in stage.ask("registered", taskinfoitems=["time_limit"])


def test_the_buttons_that_revoke_and_terminate(flower: Flower, stage: Stage, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    wait_for = stage.bus.tasks[f"{TASKS}.wait_for"]
    running = [wait_for.delay(str(gate)) for _ in range(2)]
    wait_until(lambda: len(stage.ask("active")) == 2, "both runners are busy")
    late = wait_for.delay(str(gate))
    assert flower.press(f"/api/task/revoke/{late.id}")[0] == 200
    wait_until(lambda: late.id in stage.ask("revoked"), "the worker knows")
    assert flower.press(f"/api/task/revoke/{running[0].id}", terminate="true", signal="SIGKILL")[0] == 200
    wait_until(lambda: running[0].state is State.REVOKED, "it has ended")
    gate.touch()
    assert running[1].get(timeout=30) == "seen"
    wait_until(lambda: late.state is State.REVOKED, "it was not run")
    wait_until(lambda: task_state(flower, running[0].id) == "REVOKED", "Flower has seen it")


def test_the_lengths_of_queues(flower: Flower, stage: Stage) -> None:
    """On Redis Flower counts Celery's lists, which hold what goes by Celery's wire: ours are none of them."""
    add = stage.bus.tasks[f"{TASKS}.add"]
    flower.press(f"/api/worker/queue/add-consumer/{NODE}", queue="long")
    flower.data(f"/api/workers?refresh=1&workername={NODE}")
    flower.press(f"/api/worker/queue/cancel-consumer/{NODE}", queue="long")
    for _ in range(3):
        add.options(queue="long").delay(1, 1)

    def length() -> int | None:
        queues = flower.data("/api/queues/length")["active_queues"]
        return next((queue.get("messages") for queue in queues if queue["name"] == "long"), None)

    wait_until(lambda: length() == (3 if stage.api_url else 0), "the queue is counted")
    assert "long" in flower.page("/broker")


def test_the_button_that_shuts_down(flower: Flower, stage: Stage) -> None:
    assert flower.press(f"/api/worker/shutdown/{NODE}")[0] == 200
    assert stage.worker.process.wait(30) == 0

    def is_offline() -> bool:
        rows = flower.data("/workers?json=1")["data"]
        return not any(row["status"] for row in rows if row["hostname"] == NODE)

    wait_until(is_offline, "Flower shows it offline")
