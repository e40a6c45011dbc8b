"""What a task logs, and who says how: the worker, or the application's own setting up."""

import pytest
from worker_process import Worker

from taskbus import TaskBus

OWN = """
import logging
from taskbus import TaskBus

logging.basicConfig(format="mine: %(message)s", level="INFO")
app = TaskBus("shop")

@app.task
def speak() -> None:
    logging.getLogger("shop").info("hello")
"""


@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
@pytest.mark.parametrize(("format", "is_own"), [("app", True), ("text", False)])
def test_with_format_app_the_log_of_tasks_is_the_applications(tmp_path, format, is_own, start_method):
    (tmp_path / "shop.py").write_text(OWN)
    url = f"sqlite:///{tmp_path}/shop.db"
    options = ("-c", "1", "--log-format", format, "--set", f"start_method={start_method}")
    with TaskBus("shop", broker=url) as app, Worker(url, tmp_path, *options, app="shop:app", PYTHONPATH=".") as worker:
        app.send("shop.speak").get(timeout=60)
        assert worker.stop() == 0
        log = worker.log.read_text()
    assert ("mine: hello\n" in log) is is_own
    assert ("shop: hello [shop.speak" in log) is not is_own
    assert "stopping: finishing" in log
