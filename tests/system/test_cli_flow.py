"""``taskbus flow``: workflows listed, drawn, cancelled, and run again from where they failed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sample_flows as tasks
from cli_runs import taskbus
from worker_process import Worker, wait_until

from taskbus import TaskBus, chain, group
from taskbus.store.flows import FlowState


@pytest.fixture
def app(tmp_path: Path) -> Iterator[TaskBus]:
    """The tasks of ``sample_flows`` on the database that the commands use here."""
    with TaskBus("sample_flows", broker=f"sqlite:///{tmp_path}/taskbus.db", unknown_task_grace=0) as app:
        for task in tasks.app.tasks.values():
            app._adopt(task)
        yield app


def test_workflows_are_listed_the_newest_first(app: TaskBus, tmp_path: Path) -> None:
    first = chain(tasks.add.s(1, 2), tasks.double.s()).delay()
    second = group(tasks.add.s(number, 1) for number in range(3)).delay()
    found = taskbus("flow", "list", "-o", "json").json
    assert found["database"] == f"sqlite:///{tmp_path}/taskbus.db"
    assert [item["id"] for item in found["items"]] == [second.flow_id, first.flow_id]
    assert [item["counts"] for item in found["items"]] == [{"READY": 3}, {"READY": 1, "WAITING": 1}]
    shown = taskbus("flow", "list", "--limit", "1")
    assert second.flow_id in shown.out and "0/3" in shown.out and first.flow_id not in shown.out


def test_a_workflow_is_drawn_with_what_failed_in_it(app: TaskBus, tmp_path: Path) -> None:
    result = (group(tasks.add.s(1, 2), tasks.fails.s()) | tasks.total.s()).delay()
    with Worker(app.broker_url, tmp_path, "-c", "1", app="sample_flows:app"):
        wait_until(lambda: app.flow(result.flow_id).state is FlowState.FAILURE, what="the end of the workflow")
        wait_until(lambda: app.flow(result.flow_id).counts().pending == 0, what="the end of its other member")
    drawn = taskbus("flow", "show", result.flow_id).out.splitlines()
    assert "2 of 3" in drawn[0] or "3 of 3" in drawn[0]
    assert "group of 2 parts  FAILURE" in drawn[1]
    assert [line.split()[2] for line in drawn[2:4]] == ["sample_flows.add", "sample_flows.fails"]
    assert "FAILURE" in drawn[3] and "ValueError: no" in drawn[3]
    assert "sample_flows.total  FAILURE" in drawn[4] and "because of" in drawn[4]
    nodes = taskbus("flow", "show", result.flow_id, "-o", "json").json["nodes"]
    failed = [node for node in nodes if node["task"] == "sample_flows.fails"]
    assert failed[0]["failure"]["type"] == "builtins.ValueError"


def test_a_cancelled_workflow_runs_nothing_more(app: TaskBus, tmp_path: Path) -> None:
    result = chain(tasks.record.si(str(tmp_path / "ran"), "one"), tasks.record.si(str(tmp_path / "ran"), "two")).delay()
    done = taskbus("flow", "cancel", result.flow_id)
    assert (done.status, done.err.strip()) == (0, "2 tasks will not run.")
    assert "REVOKED" in taskbus("flow", "list").out
    with Worker(app.broker_url, tmp_path, "-c", "1", app="sample_flows:app"):
        wait_until(lambda: not sum(each.ready + each.running for each in app.broker.queues()), what="an empty queue")
    assert app.flow(result.flow_id).state is FlowState.REVOKED
    assert not (tmp_path / "ran").exists()
    assert "It had ended already." in taskbus("flow", "cancel", result.flow_id).err
    refused = taskbus("flow", "retry", result.flow_id)
    assert refused.status == 1 and "was cancelled" in refused.err


def test_a_retry_goes_on_from_what_failed(app: TaskBus, tmp_path: Path) -> None:
    path = tmp_path / "needed"
    result = (group(tasks.needs.s(str(path), 3), tasks.add.s(1, 1)) | tasks.total.s()).delay()
    assert "Nothing has failed in it." in taskbus("flow", "retry", result.flow_id).err
    with Worker(app.broker_url, tmp_path, "-c", "1", app="sample_flows:app"):
        wait_until(lambda: app.flow(result.flow_id).state is FlowState.FAILURE, what="the failure")
        path.touch()
        (failed,) = (view.node.id for view in app.flow(result.flow_id).nodes() if view.failure and not view.cause)
        assert taskbus("flow", "retry", result.flow_id, "--from", "somebody").status == 3
        done = taskbus("flow", "retry", result.flow_id, "--from", failed)
        assert (done.status, done.out.split()) == (0, [failed])
        assert result.get(timeout=15) == 5
    assert app.flow(result.flow_id).state is FlowState.SUCCESS


def test_a_workflow_that_is_not_there_is_not_found(app: TaskBus) -> None:
    app.broker.queues(), app.store.flows(limit=1)
    for act in ("show", "cancel", "retry"):
        done = taskbus("flow", act, "nobody")
        assert done.status == 3 and "taskbus flow list" in done.err
    assert "No workflows in" in taskbus("flow", "list").err
