"""The command ``taskbus``: names every command, loads only the one that is called, and turns errors into exit codes."""

import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from types import TracebackType
from typing import NoReturn

import rich_click as click

from taskbus.cli.exits import FAILED, INTERRUPTED, NO_REPLY, NOT_FOUND, USAGE, CommandFailed
from taskbus.cli.options import Scope, shared_options
from taskbus.errors import AppNotFound, ConfigError, TaskBusError
from taskbus.steering.refusal import NobodyAnswered, NotThere

COMMANDS = {
    "dev": "Develop: worker, beat and web page in one, started again when code changes.",
    "worker": "Run tasks until told to stop.",
    "beat": "Send what is scheduled until told to stop.",
    "call": "Send a task, and wait for its result if asked to.",
    "result": "Show how a task stands: its state, value or failure.",
    "top": "See what runs, waits and fails, live in the terminal.",
    "tasks": "Search, show, retry or revoke tasks.",
    "queues": "List, peek into, pause, resume or purge queues.",
    "nodes": "List workers and beats; grow, shrink, limit, ping or stop workers.",
    "dlq": "List, show, replay or purge dead letters.",
    "flow": "List, show, cancel or retry workflows.",
    "schedule": "List, add, pause, run or backfill schedules.",
    "spool": "Show or relay what waits on this disk for the broker.",
    "web": "Serve the page that shows what runs, and its JSON API.",
    "status": "Show workers, queues and dead letters.",
    "inspect": "Ask workers what they do.",
    "control": "Tell workers what to do.",
    "health": "Say whether a worker or beat is live, ready, started: for probes.",
    "metrics": "Print the dashboard for Grafana, or the alerts for Prometheus.",
    "doctor": "Check broker, results, app and workers, and say what to do.",
    "bench": "Measure this machine, with a real worker on a real broker.",
    "demo": "See a worker at work: nothing to install, ten seconds.",
    "config": "Show or validate the settings.",
    "migrate": "Come over from Celery: what ports, what differs, what to write.",
    "completion": "Print the completion script of a shell.",
    "version": "Print the versions of TaskBus and its parts.",
}
"""Every command with its line in ``taskbus --help``; ``taskbus.cli.<name>`` holds it as ``command``."""


class LazyGroup(click.RichGroup):
    """A group that imports a command's module when the command is called, not when it is listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return click.RichCommand(name=cmd_name, help=COMMANDS[cmd_name])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, listed, rest = super().resolve_command(ctx, args)
        if listed is None or name is None:
            return name, listed, rest
        loaded: click.Command = import_module(f"taskbus.cli.{listed.name}").command
        return name, loaded, rest


@click.group(
    cls=LazyGroup,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "rich_help_config": {"text_paragraph_linebreaks": "\n\n", "padding_helptext_first_line": (0, 0, 1, 0)},
    },
)
@click.command_panel("Work", commands=["dev", "worker", "beat", "call", "result"])
@click.command_panel(
    "Look and mend",
    commands=[
        "top",
        "tasks",
        "queues",
        "nodes",
        "dlq",
        "flow",
        "schedule",
        "spool",
        "web",
        "status",
        "inspect",
        "control",
        "health",
        "metrics",
        "doctor",
        "config",
    ],
)
@click.command_panel("Try", commands=["demo", "migrate", "bench", "completion", "version"])
@shared_options("app", "broker", "results", "config", "output", "quiet", "verbose", environment=True)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """TaskBus: tasks on queues that lose nothing.

    Without any setting the queue is the SQLite file taskbus.db in the working folder; -b names another one.
    """
    ctx.ensure_object(Scope)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit status; see ``taskbus.cli.exits`` for what each one means."""
    sys.excepthook = _report
    scope = Scope()
    try:
        status = cli.main(arguments, prog_name="taskbus", standalone_mode=False, obj=scope)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except click.Abort:
        click.echo("Interrupted.", err=True)
        status = INTERRUPTED
    except TaskBusError as error:
        status = _explain(error, scope).exit_code
    sys.exit(status if isinstance(status, int) else 0)


_STATUS: dict[type[TaskBusError], int] = {NotThere: NOT_FOUND, NobodyAnswered: NO_REPLY, ConfigError: USAGE}


def _explain(error: TaskBusError, scope: Scope) -> CommandFailed:
    """Our own errors say what happened and what to do: the traceback is printed with ``-v`` alone.

    A user's module that cannot be imported is the exception: there the traceback is what helps.
    """
    if scope.verbosity > 0:
        traceback.print_exception(error)
    elif isinstance(error, AppNotFound) and error.__cause__ is not None:
        traceback.print_exception(error.__cause__)
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), FAILED)
    failed = CommandFailed(str(error), status)
    failed.show()
    return failed


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    traceback.print_exception(kind, error, trace)
    if issubclass(kind, Exception):
        click.echo(
            "\nThis should not have happened. Please report it, with the lines above, the command, "
            "and the output of `taskbus version --all`.",
            err=True,
        )


if __name__ == "__main__":
    main()
