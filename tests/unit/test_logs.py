"""Log lines that say which attempt they belong to."""

import json
import logging
from collections.abc import Iterator

import pytest

from taskbus import Context, logs
from taskbus.context import current
from taskbus.errors import ConfigError


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the root logger as it was."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


Stderr = pytest.CaptureFixture[str]


@pytest.fixture
def attempt() -> Iterator[Context]:
    context = Context(task_id="an-id", task="shop.mail", attempt=2, queue="mail")
    token = current.set(context)
    yield context
    current.reset(token)


def test_a_line_names_the_attempt_it_was_written_in(capsys: Stderr, attempt: Context) -> None:
    logs.configure("INFO", "text")
    logging.getLogger("shop").info("sent to %s", "ann")
    line = capsys.readouterr().err
    assert " INFO " in line
    assert line.endswith(" shop: sent to ann [shop.mail an-id #2]\n")


def test_a_line_outside_of_tasks_names_none(capsys: Stderr) -> None:
    logs.configure("INFO", "text")
    logging.getLogger("shop").info("hello")
    assert capsys.readouterr().err.endswith(" shop: hello\n")


def test_json_lines_carry_the_attempt_and_the_error(capsys: Stderr, attempt: Context) -> None:
    logs.configure("debug", "json")
    try:
        raise ValueError("no stamps")
    except ValueError:
        logging.getLogger("shop").exception("not sent")
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["logger"], line["message"]) == ("ERROR", "shop", "not sent")
    assert (line["task_id"], line["task"], line["attempt"], line["queue"]) == ("an-id", "shop.mail", 2, "mail")
    assert "ValueError: no stamps" in line["error"]


def test_configuring_twice_writes_each_line_once(capsys: Stderr) -> None:
    logs.configure("INFO", "text")
    logs.configure("WARNING", "json")
    logging.getLogger("shop").info("unheard")
    logging.getLogger("shop").warning("heard")
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(("level", "format"), [("LOUD", "text"), ("INFO", "xml")])
def test_an_unknown_level_or_format_is_an_error(level: str, format: str) -> None:
    with pytest.raises(ConfigError, match="is not one of"):
        logs.configure(level, format)
