"""How the runners' server finds an app, what it says when it cannot, and the other way to start runners."""

from pathlib import Path

import pytest
import runner_app
from runner_rig import Rig
from worker_process import is_alive, wait_until

OTHER_APP = """
from taskbus import TaskBus
one = TaskBus("one", broker="memory://one")
two = TaskBus("two", broker="memory://two")
number = 3
"""


def failure(folder: Path, app: str, source: str = OTHER_APP) -> tuple[str, str]:
    """What the server says, instead of being ready; it leaves with status 1."""
    (folder / "shop.py").write_text(source)
    with Rig(app=app, folder=folder) as rig:
        _, message, traceback = rig.frame("failed")
        assert rig.process.wait(15) == 1
    return message, traceback


@pytest.mark.parametrize(
    ("app", "parts"),
    [
        ("shap", ["no module 'shap'", "did you mean -A shop?"]),
        ("nowhere.tasks:app", ["no module 'nowhere.tasks'", "run this in the folder that holds it"]),
        ("shop", ["several", "-A shop:one, -A shop:two"]),
        ("shop:tow", ["has no 'tow'", "did you mean -A shop:two?", "it has -A shop:one, -A shop:two"]),
        ("shop:number", ["is not a TaskBus but a int", "-A shop:one"]),
        (":app", ["names no module"]),
    ],
)
def test_a_wrong_path_says_what_is_there_instead(tmp_path: Path, app: str, parts: list[str]) -> None:
    message, traceback = failure(tmp_path, app)
    assert not traceback
    for part in parts:
        assert part in message


def test_a_module_without_an_app_says_how_to_make_one(tmp_path: Path) -> None:
    assert 'make one there: app = TaskBus("shop")' in failure(tmp_path, "shop", "x = 1")[0].replace("'", '"')


def test_a_module_that_raises_is_shown_with_its_own_traceback(tmp_path: Path) -> None:
    message, traceback = failure(tmp_path, "shop:app", "def f():\n    1 / 0\nf()\n")
    assert "importing it raised ZeroDivisionError: division by zero" in message
    assert 'shop.py", line 2, in f' in traceback
    assert "importlib" not in traceback
    assert "loading.py" not in traceback


@pytest.mark.parametrize("source", ["import not_installed_here", "import sys; sys.exit('no')", "x ="])
def test_whatever_an_import_does_the_server_says_so(tmp_path: Path, source: str) -> None:
    message, _ = failure(tmp_path, "shop:app", source)
    assert message.startswith("-A shop: importing it raised ")


def test_the_only_app_of_a_module_needs_no_name() -> None:
    with Rig(app="runner_app") as rig:
        assert rig.frame("ready")[1]["app"] == "runners"


@pytest.mark.parametrize("way", ["flag", "setting"])
def test_a_spawned_runner_imports_the_app_itself(way: str) -> None:
    options = ["--start-method", "spawn"] if way == "flag" else []
    with Rig(*options, START_METHOD="forkserver" if way == "flag" else "spawn") as rig:
        rig.frame("ready")
        runner = rig.fork()
        assert runner.call(runner_app.whereabouts) == [runner.pid, runner.pid, "MainThread"]
        assert runner.call(runner_app.aadd, 1, 2) == 3
        runner.send("stop")
        assert rig.how_it_left(runner) == ""


def test_spawned_runners_leave_with_their_supervisor() -> None:
    with Rig("--start-method", "spawn") as rig:
        rig.frame("ready")
        runner = rig.fork()
        pids = [rig.process.pid, runner.pid]
        rig.link.close()
        rig.process.wait(15)
        wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_threads_started_by_the_import_are_warned_of_once_and_only_where_they_are_lost() -> None:
    with Rig("--log-level", "INFO", THREAD_AT_IMPORT="1") as rig:
        rig.frame("ready")
        rig.fork()
        rig.fork()
        log = rig.close()
    assert log.count("pool-of-mine") == 1
    assert 'start_method="spawn"' in log
    with Rig("--start-method", "spawn", THREAD_AT_IMPORT="1") as rig:
        rig.frame("ready")
        assert "pool-of-mine" not in rig.close()
