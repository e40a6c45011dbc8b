"""``Config``: typed settings from four sources, each with its origin."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from taskbus.config import OVERRIDES, Config, load
from taskbus.errors import ConfigError

NOTHING: dict[str, str] = {}


def read(given: dict[str, Any] | None = None, file: Path | None = None, **variables: str) -> Config:
    return load(given or {}, environment=variables, file=file)[0]


def test_nothing_needs_to_be_set() -> None:
    config, origins = load({}, environment=NOTHING)
    assert config == Config()
    assert set(origins.values()) == {"default"}
    assert origins.keys() == {field.name for field in dataclasses.fields(Config)}


def test_the_stronger_source_wins_and_is_named(tmp_path: Path) -> None:
    Path("taskbus.toml").write_text('lease = 1\nsweep = 1\ngrace = 1\nthreads = 1\nserializer = "json"\n')
    variables = {
        "TASKBUS_SWEEP": "2",
        "TASKBUS_GRACE": "2",
        "TASKBUS_THREADS": "2",
        OVERRIDES: json.dumps({"threads": 4}),
    }
    config, origins = load({"grace": 3, "threads": 3}, environment=variables)
    assert (config.serializer, config.lease, config.sweep, config.grace, config.threads) == ("json", 1.0, 2.0, 3.0, 4)
    assert [origins[name] for name in ("serializer", "sweep", "grace", "threads", "coroutines")] == [
        "taskbus.toml", "TASKBUS_SWEEP", "code", "command line", "default",
    ]  # fmt: skip


def test_a_project_file_may_hold_the_settings() -> None:
    Path("pyproject.toml").write_text('[project]\nname = "shop"\n[tool.taskbus]\nprocesses = 3\nqueues = ["a", "b"]\n')
    config, origins = load({}, environment=NOTHING)
    assert (config.processes, config.queues, origins["processes"]) == (3, ("a", "b"), "pyproject.toml [tool.taskbus]")


def test_a_project_file_without_settings_is_left_alone() -> None:
    for text in ('[project]\nname = "shop"\n', "", "tool = 5\n"):
        Path("pyproject.toml").write_text(text)
        assert read() == Config()


def test_a_file_that_was_asked_for_is_read_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("processes = 7\n")
    assert read(file=tmp_path / "other.toml").processes == 7


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("lease", "2.5", 2.5),
        ("lease", "2", 2.0),
        ("processes", "4", 4),
        ("max_message_bytes", "2_000_000", 2_000_000),
        ("store_results", "false", False),
        ("store_results", "ON", True),
        ("queues", "a, b,,c", ("a", "b", "c")),
        ("queues", "", ()),
        ("broker", "sqlite:///x.db", "sqlite:///x.db"),
        ("serializer", "json", "json"),
    ],
)
def test_variables_are_read_as_the_type_of_their_setting(name: str, text: str, value: object) -> None:
    found = getattr(read(**{f"TASKBUS_{name.upper()}": text}), name)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("lease", "soon", "setting lease .* cannot be 'soon'; it must be a number"),
        ("lease", True, "must be a number"),
        ("lease", "nan", "lease=nan is too small"),
        ("lease", 0, "lease=0.0 is too small; it must be at least 0.1"),
        ("processes", 1.5, "processes .* cannot be 1.5; it must be a whole number"),
        ("processes", "two", "must be a whole number"),
        ("processes", True, "must be a whole number"),
        ("processes", -1, "processes=-1 is too small"),
        ("store_results", "maybe", "must be true or false"),
        ("store_results", 1, "must be true or false"),
        ("broker", 7, "must be text"),
        ("queues", [1], "must be names"),
        ("queues", 5, "must be names"),
        ("serializer", "pickle", "serializer='pickle' is not one of msgpack, json"),
        ("start_method", "fork", "not one of forkserver, spawn"),
        ("max_message_bytes", 10, "must be at least 256"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_what_it_must_be(name: str, value: object, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read({name: value})


def test_the_source_of_a_wrong_value_is_named() -> None:
    with pytest.raises(ConfigError, match=r"lease \(TASKBUS_LEASE\)"):
        read(TASKBUS_LEASE="soon")
    Path("taskbus.toml").write_text('lease = "soon"\n')
    with pytest.raises(ConfigError, match=r"lease \(taskbus\.toml\)"):
        read()


def test_an_unknown_name_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting 'serialiser' \(code\); did you mean 'serializer'\?"):
        read({"serialiser": "json"})
    with pytest.raises(ConfigError, match=r"unknown setting 'leese' \(TASKBUS_LEESE\); did you mean 'lease'\?"):
        read(TASKBUS_LEESE="3")
    with pytest.raises(ConfigError, match=r"unknown setting 'xyzzy' .*; known: broker, results"):
        read({"xyzzy": 1})


def test_switches_of_tests_and_tools_are_no_settings() -> None:
    assert (
        read(TASKBUS_FAILPOINTS="x", TASKBUS_APP="shop:app", TASKBUS_OUTPUT="json", TASKBUS_UI="skip", HOME="/")
        == Config()
    )


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("taskbus.toml", "lease = \n", "cannot read taskbus.toml: "),
        ("taskbus.toml", "\xff", "cannot read taskbus.toml: "),
        ("pyproject.toml", "[tool\n", "cannot read pyproject.toml: "),
        ("pyproject.toml", "[tool]\ntaskbus = 5\n", "tool.taskbus is 5; write a table"),
        ("taskbus.toml", "[worker]\nlease = 5\n", "unknown setting 'worker'"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_that_names_it(file: str, text: str, says: str) -> None:
    Path(file).write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=re.escape(says)):
        read()


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config file .*none\.toml' does not exist"):
        read(file=tmp_path / "none.toml")


def test_every_setting_says_what_it_is_in_which_unit() -> None:
    source = Path(load.__code__.co_filename).read_text()
    for field in dataclasses.fields(Config):
        assert re.search(rf'    {field.name}: [^\n]+\n    """[A-Z]', source), f"{field.name} has no docstring"
