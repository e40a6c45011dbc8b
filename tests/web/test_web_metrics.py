"""``/metrics`` of the web server: what it tells, to whom, and that it goes on after a restart."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from taskbus import TaskBus
from taskbus.store.reports import Minute
from taskbus.web.auth.hashing import hash_token, new_token
from taskbus.web.house import House
from taskbus.web.server import web_app
from taskbus.web.shapes.basis import Role
from tests.contract.history_rig import totals
from tests.web.conftest import Visitor, asking, running, whoever_says_so

MINUTE = int(time.time() // 60) - 1
"""The same one before and after a restart: what is said of it last counts."""


def counted(text: str) -> dict[tuple[str, ...], float]:
    """Every number by its name and the values of its labels, in the order of the labels' names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def merge(house: House, number: int, succeeded: int, failed: int = 0) -> None:
    assert house.history is not None
    told = totals(succeeded=succeeded, failed=failed, started=succeeded + failed)
    house.history.merge([Minute("a", MINUTE, number, told)], [], {})


def test_it_tells_of_tasks_queues_and_schedules(web: Starlette, house: House, visitor: Visitor) -> None:
    merge(house, 1, succeeded=3, failed=2)
    house.app.send("mail.send")
    answer = visitor(Role.VIEWER).get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    found = counted(answer.text)
    assert found["celery_task_succeeded_total", "generic", "mail.send", "default"] == 3
    assert found["taskbus_task_failed_total", "generic", "mail.send", "default"] == 2
    assert found["celery_task_runtime_count", "mail.send", "default"] == 5
    assert found["celery_queue_length", "default"] == 1
    assert found["taskbus_dlq_size",] == 0
    assert found["taskbus_broker_up",] == 1


def test_counts_go_on_when_the_server_is_started_again(app: TaskBus) -> None:
    """The next process with the same history says what the last one said, and more."""
    for succeeded in (3, 7):
        made = running(web_app(app, identify=whoever_says_so))
        web = next(made)
        merge(web.state.server.engine.house(), succeeded, succeeded=succeeded)
        found = counted(asking(web, Role.VIEWER).get("/metrics").text)
        assert found["celery_task_succeeded_total", "generic", "mail.send", "default"] == succeeded
        next(made, None)


def test_nobody_is_told_who_may_not_look(web: Starlette) -> None:
    answer = asking(web, None).get("/metrics")
    assert answer.status_code == 401
    assert "celery" not in answer.text and set(answer.json()) == {"error", "advice"}


@pytest.fixture
def scraped(app: TaskBus) -> Iterator[tuple[Starlette, str]]:
    """A server for a scraper with a token, mounted where only the host knows who people are."""
    token = new_token()
    app.config = replace(app.config, web_metrics_tokens=(f"prometheus:viewer:{hash_token(token)}",))
    for web in running(web_app(app, identify=whoever_says_so)):
        yield web, token


def test_a_token_for_metrics_opens_metrics_and_nothing_else(scraped: tuple[Starlette, str]) -> None:
    web, token = scraped
    client = asking(web, None, Authorization=f"Bearer {token}")
    assert "taskbus_build_info" in client.get("/metrics").text
    assert client.get("/api/v1/overview").status_code == 401
    assert asking(web, Role.VIEWER).get("/metrics").status_code == 200, "people come in as before"
    assert asking(web, None).get("/metrics").status_code == 401


def test_tokens_for_metrics_cannot_be_guessed_at_will(scraped: tuple[Starlette, str]) -> None:
    web, _ = scraped
    client = asking(web, None, Authorization="Bearer tbw_wrong")
    statuses = [client.get("/metrics").status_code for _ in range(30)]
    assert set(statuses) == {401, 429} and statuses[0] == 401 and statuses[-1] == 429


def test_the_settings_of_retention_hold_for_the_server(app: TaskBus) -> None:
    app.config = replace(app.config, history_max_records=77)
    for web in running(web_app(app, identify=whoever_says_so)):
        assert web.state.server.engine.house().history.retention.rows == 77
