"""The programs of the page for those who come from Celery run, and its other claims that can be checked hold."""

import re
from pathlib import Path
from typing import Any

import pytest
from taskbus_celery import exceptions, signals

from taskbus.cli.migrate_words import CALL_OPTIONS, SIGNALS, TASK_OPTIONS
from tests.shape.pages import ROOT, blocks

PAGE = ROOT / "docs/howto/coming_from_celery.md"


def test_the_programs_of_the_page_run(tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "shop"}
    for number, block in enumerate(block for block in blocks(PAGE) if block.language == "python"):
        exec(compile(block.text, f"{PAGE.name}, program {number}", "exec"), names)
    assert names["app"].bus.config.lease == 60.0
    assert names["fetch_page"].name == "shop.fetch"
    names["app"].close()
    names["bus"].close()


def test_names_of_taskbus_celery_that_the_page_tells_are_there() -> None:
    for name in re.findall(r"taskbus_celery\.exceptions\.(\w+)", PAGE.read_text()):
        assert hasattr(exceptions, name)


def test_every_signal_is_told_of_alike_where_it_is_connected_and_on_the_page() -> None:
    ours = {name: signal for name, signal in vars(signals).items() if isinstance(signal, signals.Signal)}
    assert ours.keys() == SIGNALS.keys()
    assert {name for name, signal in ours.items() if signal.never} == {
        name for name, words in SIGNALS.items() if words.verdict == "not"
    }


def test_celery_has_every_signal_and_option_that_the_page_tells_of() -> None:
    celerys: Any = pytest.importorskip("celery.signals")
    task: Any = pytest.importorskip("celery").Task
    assert {name for name in SIGNALS if not hasattr(celerys, name)} == set()
    of_the_decorator = {"bind", "base", "name", "queue", "routing_key", "exchange", "compression", "pydantic"}
    retries = {name for name in TASK_OPTIONS if "retry" in name or "autoretry" in name}
    assert {name for name in TASK_OPTIONS if not hasattr(task, name)} <= of_the_decorator | retries
    assert {"countdown", "eta", "expires", "link", "link_error"} <= CALL_OPTIONS.keys()
