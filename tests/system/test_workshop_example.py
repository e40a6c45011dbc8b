"""``examples/workshop.py`` does what its page promises: progress, retries, a dead letter, a schedule, a workflow."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runs import taskbus
from worker_process import Worker, wait_until

from taskbus import TaskBus

EXAMPLE = Path(__file__).parents[2] / "examples/workshop.py"


@pytest.mark.timeout(300)
def test_orders_are_made_painted_and_packed_and_glass_breaks(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path)
    url = f"sqlite:///{tmp_path}/taskbus.db"
    with (
        Worker(url, tmp_path, "-B", "--processes", "2", app="workshop", PYTHONPATH=str(tmp_path)),
        TaskBus("customer", broker=url) as bus,
    ):
        sent = subprocess.run(
            [sys.executable, "-m", "workshop", "2"],
            cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        flows = [line.rpartition(" ")[2] for line in sent.stdout.splitlines()]
        assert len(flows) == 2
        for flow in flows:
            ended = taskbus("flow", "show", flow, "-o", "json")
            assert ended.status == 0, ended.err
        glass = bus.send("workshop.make", ["glass"], {"seconds": 0.4})
        assert str(glass.wait(120)) == "FAILURE"
        assert "glass breaks" in taskbus("dlq", "show", glass.id, "-o", "json").out
        progress = glass.progress()
        assert progress is not None
        assert (progress.done, progress.total, progress.note) == (19, 20, "turning the glass")
        certain = bus.send("workshop.paint", ["chair", "red"], {"luck": 1})
        assert certain.get(60) == "red chair"
        never = bus.send("workshop.paint", ["chair", "red"], {"luck": -1})
        assert str(never.wait(120)) == "FAILURE"
        assert never.recorded().attempt == 4

        def sweeps() -> int:
            listed = taskbus("schedule", "list", "-o", "json").json["items"]
            return sum(each["sent"] for each in listed if "sweep_the_floor" in each["name"])

        wait_until(sweeps, 60, "what is scheduled")
        wait_until(lambda: all(bus.store.flow(flow).ended_at for flow in flows), 120, "the orders")
