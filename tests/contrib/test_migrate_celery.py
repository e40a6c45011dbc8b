"""`taskbus migrate celery` on a real application of Celery's: what it says, and with which status it leaves."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import _state

from taskbus import RetryPolicy
from taskbus.cli.exits import USAGE, CommandFailed
from taskbus.cli.migrate_celery import load_celery
from taskbus.config import Config, convert

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def nothing_shared() -> Iterator[None]:
    """Take back what an application shares with every other one of this process: ``shared_task`` is for good."""
    before = set(_state._on_app_finalizers)
    yield
    _state._on_app_finalizers.intersection_update(before)


def migrate(*arguments: str, folder: Path = HERE) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "taskbus", "migrate", "celery", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    done = migrate("migrated_shop:app", "-o", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def port(document: dict[str, Any], kind: str, name: str, of: str = "") -> dict[str, Any]:
    (found,) = [each for each in document["ports"] if (each["kind"], each["name"], each["of"]) == (kind, name, of)]
    return dict(found)


def test_every_setting_given_is_judged_and_no_other(document: dict[str, Any]) -> None:
    judged = {each["name"]: each["verdict"] for each in document["ports"] if each["kind"] == "setting"}
    assert judged == {
        "beat_schedule": "differs",
        "broker_url": "same",
        "result_backend": "differs",
        "result_expires": "same",
        "task_acks_late": "needless",
        "task_queues": "differs",
        "task_routes": "differs",
        "worker_agent": "not",
        "worker_max_memory_per_child": "same",
    }


def test_every_option_that_a_task_says_is_judged(document: dict[str, Any]) -> None:
    said: dict[str, set[str]] = {}
    for each in document["ports"]:
        if each["kind"] == "task":
            said.setdefault(each["of"], set()).add(each["name"])
    assert said == {
        "migrated_shop.add": {"retry"},
        "migrated_shop.im_resize": {
            "bind", "base", "autoretry_for", "retry_backoff", "max_retries", "rate_limit", "time_limit",
        },
        "mail.send": {"retry", "acks", "acks_late", "ignore_result", "queue"},
    }  # fmt: skip
    assert port(document, "task", "base", "migrated_shop.im_resize")["value"] == "'on_failure'"
    assert port(document, "task", "rate_limit", "migrated_shop.im_resize")["verdict"] == "not"


def test_schedules_and_users_signals_are_told_of(document: dict[str, Any]) -> None:
    assert port(document, "schedule", "crontab", "nightly")["verdict"] == "differs"
    assert "write two entries" in port(document, "schedule", "crontab", "odd")["words"]
    signals = {each["name"]: (each["value"], each["verdict"]) for each in document["ports"] if each["kind"] == "signal"}
    assert signals == {
        "worker_process_init": ("migrated_shop.prepare", "differs"),
        "task_received": ("migrated_shop.receive", "not"),
    }


def test_what_is_to_be_written_is_what_taskbus_takes(document: dict[str, Any]) -> None:
    settings = tomllib.loads(document["toml"])
    assert settings == {
        "broker": "redis://:***@localhost/0",
        "results": "postgresql://me:***@localhost/shop",
        "default_queue": "celery",
        "queues": ["celery", "images"],
        "serializer": "json",
        "result_ttl": 3600,
        "max_memory_per_runner": 204_800_000,
    }
    Config(**{name: convert(name, value, "toml") for name, value in settings.items()})


def test_what_both_fleets_share_is_written_beside_it_to_be_taken_in(document: dict[str, Any]) -> None:
    marker = "# while Celery's workers or producers are left:\n"
    shared = tomllib.loads(document["toml"].partition(marker)[2].replace("# ", ""))
    assert shared == {
        "celery_queues": ["celery", "images", "mail"],
        "celery_results": "db+postgresql://me:***@localhost/shop",
    }
    Config(**{name: convert(name, value, "toml") for name, value in shared.items()})


def test_the_decorators_are_code(document: dict[str, Any]) -> None:
    made: dict[str, Any] = {}
    names: dict[str, Any] = {}
    exec("from tenacity import *\nfrom taskbus import RetryPolicy", names)
    for task, decorator in document["tasks"].items():
        names["app"] = type(
            "App", (), {"task": staticmethod(lambda task=task, **options: made.update({task: options}))}
        )
        exec(decorator.removeprefix("@"), names)
    resize = made["migrated_shop.im_resize"]
    assert (resize["queue"], resize["time_limit"]) == ("images", 30)
    assert resize["retry"].is_retryable(OSError(), 1, 0.0)
    assert not resize["retry"].is_retryable(ValueError(), 1, 0.0)
    assert [resize["retry"].is_exhausted(OSError(), attempt, 0.0) for attempt in (5, 6)] == [False, True]
    assert made["mail.send"] | {"retry": 0} == {
        "name": "mail.send",
        "queue": "mail",
        "store_results": False,
        "retry": 0,
    }
    assert isinstance(made["migrated_shop.add"]["retry"], RetryPolicy)


def test_no_secret_is_printed(document: dict[str, Any]) -> None:
    done = migrate("migrated_shop:app")
    assert "s3cret" not in json.dumps(document) + done.stdout + done.stderr
    assert "@app.task(retry=RetryPolicy.never())" in done.stdout
    assert "rate_limit = '1/s'" in done.stdout


def test_check_tells_by_its_status(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("from celery import Celery\napp = Celery('plain')\n")
    for path, folder, status in (("migrated_shop:app", HERE, 1), ("plain", tmp_path, 75)):
        done = migrate("--check", path, folder=folder)
        assert done.returncode == status, done.stderr
        assert "@app.task" not in done.stdout


@pytest.mark.filterwarnings("ignore")  # a shared task is made at once, and warns, where an app is finalized already
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("tempfile", "name the Celery application as module:app"),
        ("migrated_shop:nothing", "no nothing there"),
        ("migrated_shop:add", "'add' is a "),
        ("nowhere:app", "run this in the folder that holds it"),
    ],
)
def test_a_wrong_path_says_what_is_there_instead(path: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    with pytest.raises(CommandFailed, match=words) as caught:
        load_celery(path)
    assert caught.value.exit_code == USAGE


def test_a_package_is_looked_into_as_celery_does(tmp_path: Path) -> None:
    (tmp_path / "proj").mkdir()
    (tmp_path / "proj/__init__.py").touch()
    (tmp_path / "proj/celery.py").write_text(
        "from celery import Celery\napp = Celery('proj', include=['proj.tasks'])\n"
    )
    (tmp_path / "proj/tasks.py").write_text("from proj.celery import app\n@app.task\ndef found(): ...\n")
    done = migrate("proj", "-o", "json", folder=tmp_path)
    assert list(json.loads(done.stdout)["tasks"]) == ["proj.tasks.found"]
