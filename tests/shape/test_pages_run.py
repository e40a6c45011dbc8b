"""README and tutorial do what they say: their files are written, their workers started, their prompts compared."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from taskbus_opentelemetry import OpenTelemetry

from taskbus.testing.transport_basis import decoded
from tests.shape.pages import ROOT, Block, Reader, blocks, forget_modules_of, taskbus

README = ROOT / "README.md"


@pytest.fixture(autouse=True)
def modules_as_before() -> Iterator[None]:
    """Pages have modules of their own, some called as those of other tests in this process."""
    before = dict(sys.modules)
    yield
    for name, module in before.items():
        if sys.modules.get(name) is not module:
            sys.modules[name] = module


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    reader = Reader(tmp_path)
    yield reader
    reader.stop()
    for app in {id(value): value for value in reader.names.values() if hasattr(value, "broker_url")}.values():
        app.close()
    forget_modules_of(tmp_path)


def python_blocks(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language == "python"]


def test_the_readme_shows_usable_code_by_line_thirty() -> None:
    first_lines = "\n".join(README.read_text().splitlines()[:30])
    assert "@app.task" in first_lines
    assert "taskbus worker -A quickstart" in first_lines


def test_the_readmes_first_program_is_the_one_in_examples() -> None:
    program = (ROOT / "examples/quickstart.py").read_text()
    assert program.partition('"""\n\n')[2] == python_blocks(README)[0].text


def test_a_worker_and_a_python_prompt_behave_as_the_readme_says(reader: Reader) -> None:
    (reader.folder / "quickstart.py").write_text(python_blocks(README)[0].text)
    reader.follow(README)
    assert "add" in reader.names


def test_the_readmes_other_programs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, block in enumerate(python_blocks(README)[1:]):
        names: dict[str, object] = {"__name__": f"readme_{number}"}
        exec(compile(block.text, f"README.md, program {number}", "exec"), names)
        names["app"].close()  # type: ignore[attr-defined]


def test_the_programs_of_the_how_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "mail"}
    for block in python_blocks(ROOT / "docs/howto/retries_and_dead_letters.md"):
        exec(compile(block.text, "retries_and_dead_letters.md", "exec"), names)
    assert {"send", "charge_once", "poll", "convert"} <= set(names)


def test_the_programs_about_workflows_send_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "photos"}
    for block in python_blocks(ROOT / "docs/howto/workflows.md"):
        exec(compile(block.text, "workflows.md", "exec"), names)
    with names["app"] as app:
        assert {view.flow.id for view in app.flows()} >= {names["book"].flow_id, names["batch"].flow_id}
        assert app.flow(names["batch"].flow_id).counts().pending >= 2_500


def test_the_programs_about_schedules_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "shop"}
    for block in python_blocks(ROOT / "docs/howto/schedule_tasks.md"):
        exec(compile(block.text, "schedule_tasks.md", "exec"), names)
    with names["app"] as app:
        assert {info.name for info in app.schedules.list()} == {
            "shop.sweep",
            "report of the north",
            "report of the south",
        }
        assert [size.ready for size in app.broker.queues()] == [1]


@pytest.mark.parametrize("page", ["history_logs_and_secrets", "trace_with_opentelemetry"])
def test_the_programs_about_logs_and_traces_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = ModuleType("exporter")  # which is not in the development group, and would send things to somebody
    exporter.OTLPSpanExporter = InMemorySpanExporter  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", exporter)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "shop"}
    for block in python_blocks(ROOT / f"docs/howto/{page}.md"):
        exec(compile(block.text, page, "exec"), names)
    with names["app"] as app:
        assert isinstance(app.middleware[0], OpenTelemetry) if page.startswith("trace") else app.tasks["shop.export"]


def test_the_programs_about_outages_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "shop"}
    apps = []
    for block in python_blocks(ROOT / "docs/howto/survive_a_broker_outage.md"):
        exec(compile(block.text, "survive_a_broker_outage.md", "exec"), names)
        apps.append(names["app"])
    names["send_charge"](1)
    names["send_charge"](1)
    assert apps[-1].spool.size().waiting == 0
    assert [each.task for each in map(decoded, apps[0].broker.peek("default", 10))][:1] == ["shop.charge"]
    for app in apps:
        app.close()


def test_the_programs_of_sending_in_a_transaction_run(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(reader.folder)
    names = reader.names | {"__name__": "shop"}
    for block in python_blocks(ROOT / "docs/howto/send_in_a_transaction.md"):
        if "sqlalchemy.ext.asyncio" in block.text and find_spec("greenlet") is None:
            continue
        exec(compile(block.text, "send_in_a_transaction.md", "exec"), names)
    app = names["app"]
    assert [(size.name, size.ready, size.delayed) for size in app.broker.queues()] == [
        ("default", 1, 1),
        ("slow", 1, 0),
    ]
    app.close()
    names["engine"].dispose()


def test_the_commands_of_the_readme_exist(tmp_path: Path) -> None:
    for name in ("worker", "dlq", "doctor"):
        assert taskbus([name, "--help"], tmp_path).returncode == 0


def test_the_tutorial_can_be_followed(reader: Reader) -> None:
    reader.follow(ROOT / "docs/tutorial/first_steps.md")
    assert {"price", "charge", "bake", "greet"} <= set(reader.names)
