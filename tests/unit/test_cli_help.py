"""The command line before any command runs: help, completion, versions, and what they do not import."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import taskbus
from taskbus.cli.main import COMMANDS, cli


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "taskbus", *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("arguments", ["--help", "version"])
def test_help_and_version_load_no_broker_and_no_other_command(arguments: str) -> None:
    program = (
        "import sys\n"
        "from taskbus.cli.main import main\n"
        "try:\n"
        f"    main([{arguments!r}])\n"
        "finally:\n"
        "    print('loaded', *sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    modules = set(done.stdout.rpartition("loaded ")[2].split())
    assert "taskbus.cli.main" in modules
    unwanted = {f"taskbus.cli.{name}" for name in COMMANDS} - {f"taskbus.cli.{arguments}"}
    assert not modules & (unwanted | {"kombu", "sqlalchemy", "msgpack", "tenacity", "taskbus.app", "asyncio"})


def test_the_runners_server_is_started_before_what_the_supervisor_needs_is_imported(tmp_path: Path) -> None:
    """Both import for as long as it takes to run a first task: at the same time."""
    program = (
        "import subprocess, sys\n"
        "class Popen(subprocess.Popen):\n"
        "    def __init__(self, command, **_):\n"
        "        print('started', *command)\n"
        "        print('loaded', *sys.modules)\n"
        "        sys.exit(0)\n"
        "subprocess.Popen = Popen\n"
        "from taskbus.cli.main import main\n"
        "main(['worker', '-A', 'shop:app'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert "started" in done.stdout and "taskbus.worker.runner.server" in done.stdout, done.stdout + done.stderr
    modules = set(done.stdout.rpartition("loaded ")[2].split())
    assert not modules & {"kombu", "msgpack", "tenacity", "taskbus.app", "taskbus.worker.supervisor"}


def test_a_broker_that_cannot_be_is_told_of_though_the_server_was_started(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "taskbus", "worker", "-A", "nothing:app", "-b", "memory://here"],
        capture_output=True, text=True, timeout=60, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert "lives inside one process" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_lists_every_command_with_what_it_does() -> None:
    shown = " ".join(run("--help").stdout.split())
    for name, line in COMMANDS.items():
        assert name in shown
        assert line.split(",")[0][:30] in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    done = CliRunner().invoke(cli, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert f"taskbus {name}" in done.output or f"cli {name}" in done.output
    assert len(done.output.splitlines()) > 5


def test_the_version_has_a_json_shape() -> None:
    done = run("version", "--all", "-o", "json")
    item = json.loads(done.stdout)
    assert (item["version"], item["kind"], item["taskbus"]) == (1, "version", taskbus.__version__)
    assert {"python", "kombu", "sqlalchemy"} <= set(item)


def test_shared_options_work_before_and_after_the_command() -> None:
    assert run("-o", "json", "version").stdout == run("version", "-o", "json").stdout
    assert run("-o", "jsonl", "version", "-o", "json").stdout == run("version", "-o", "json").stdout


def test_an_unknown_command_or_option_is_a_usage_error() -> None:
    for arguments in (["wroker"], ["version", "--frobnicate"], ["version", "-o", "xml"], ["result"]):
        done = run(*arguments)
        assert done.returncode == 2, arguments
        assert "Error" in done.stderr and not done.stdout


def test_a_command_without_a_subcommand_shows_its_help() -> None:
    assert "show" in run("config").stdout


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_at_80_columns_breaks_no_list_of_choices(name: str) -> None:
    done = CliRunner().invoke(cli, [*name.split(), "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    lines = done.output.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line.count("[") != line.count("]") and "|" in line]


def test_the_help_of_completion_shows_a_line_for_each_shell() -> None:
    lines = [line.strip() for line in CliRunner().invoke(cli, ["completion", "--help"]).output.splitlines()]
    assert any(line.startswith('eval "$(taskbus completion bash)"') for line in lines)
    assert any(line.startswith('eval "$(taskbus completion zsh)"') for line in lines)
    assert any(line.startswith("taskbus completion fish | source") for line in lines)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_each_shell_gets_its_completion_script(shell: str) -> None:
    done = run("completion", shell)
    assert done.returncode == 0
    assert "_TASKBUS_COMPLETE" in done.stdout


def test_completion_offers_commands_and_their_options() -> None:
    def complete(words: str, index: int) -> str:
        variables = {"_TASKBUS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(index)}
        command = [sys.executable, "-m", "taskbus"]
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60).stdout

    assert "plain,doctor" in complete("taskbus do", 1)
    assert "plain,--tasks" in complete("taskbus bench --t", 2)
