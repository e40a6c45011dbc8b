"""What a task says of itself while it runs: kept beside its result, under the same id."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskbus import State, TaskBus


@pytest.fixture(params=["memory", "sqlite"])
def bus(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TaskBus]:
    url = "memory://notes" if request.param == "memory" else f"sqlite:///{tmp_path}/notes.db"
    with TaskBus("notes", broker=url) as made:
        yield made


def test_the_last_note_counts(bus: TaskBus) -> None:
    assert bus.notes.last("a-task") is None
    bus.notes.keep("a-task", ["PROGRESS", {"done": 1}])
    bus.notes.keep("a-task", ["PROGRESS", {"done": 2}])
    assert bus.notes.last("a-task") == ["PROGRESS", {"done": 2}]
    assert bus.notes.last("another") is None


def test_a_note_is_no_result(bus: TaskBus) -> None:
    bus.notes.keep("a-task", "on its way")
    result = bus.result("a-task")
    assert result.state is State.PENDING
    result.forget()
    assert bus.notes.last("a-task") == "on its way"
