"""What Celery does, taskbus_celery does: the outcome of every case of both_calls and both_flows, side by side."""

import ast
from pathlib import Path
from typing import Any

import pytest

from tests.contrib.conftest import MIXED

HERE = Path(__file__).parent


def cases() -> list[str]:
    trees = [ast.parse((HERE / name).read_text()) for name in ("both_calls.py", "both_flows.py")]
    return [node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("case", cases())
def test_the_same_code_does_the_same(sides: dict[str, Any], case: str) -> None:
    celery, ours = (sides[name].answers[case] for name in ("celery", "taskbus_celery"))
    assert celery is not None, "the case says nothing"
    assert ours == celery


@pytest.mark.parametrize("case", MIXED)
def test_celerys_producers_find_the_same_at_our_workers(sides: dict[str, Any], case: str) -> None:
    if "mixed" in sides:  # only where Celery and we are on one broker
        assert sides["mixed"].answers[case] == sides["celery"].answers[case]


def test_workers_tell_of_their_lives_alike(sides: dict[str, Any]) -> None:
    """In Celery's order, but that no runner is there yet when a worker is said to be ready."""
    for each in sides.values():
        told = [tuple(line) for line in each.notes("lives")]
        assert set(told) == {
            ("worker_init",),
            ("worker_process_init",),
            ("worker_ready", True),
            ("worker_process_shutdown", True),
            ("worker_shutdown",),
        }
        assert told[0] == ("worker_init",)
        assert told.count(("worker_process_init",)) >= 2
        assert told.count(("worker_ready", True)) == told.count(("worker_shutdown",)) == 1


def test_a_worker_of_celerys_obeys_its_remote_control(sides: dict[str, Any]) -> None:
    answers = sides["celery"].asked
    ((worker, pong),) = answers["ping"][0].items()
    assert worker.startswith("celery@")
    assert pong == {"ok": "pong"}
    assert "called-off" in answers["revoked"][worker]
    assert "both_app.add" in answers["registered"][worker]
    assert {queue["name"] for queue in answers["queues"][worker]} == {"celery", "special"}
    assert answers["task"] == {worker: {}}
    assert answers["limited"] == [{worker: {"ok": "new rate limit set successfully"}}]
