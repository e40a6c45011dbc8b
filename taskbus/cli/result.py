"""``taskbus result``: how a task stands."""

import time
from importlib import import_module
from typing import Any

import rich_click as click

from taskbus import codec
from taskbus.app import TaskBus
from taskbus.cli.exits import FAILED, NOT_FOUND, OK
from taskbus.cli.opening import open_existing
from taskbus.cli.options import Format, scope_of, shared_options
from taskbus.cli.output import emit_one
from taskbus.cli.phrase import ago, safe, span
from taskbus.cli.tables import draw_fields, say
from taskbus.errors import CodecError
from taskbus.outcome import State
from taskbus.store.base import StoredResult
from taskbus.store.results import AsyncResult


@click.command("result")
@click.argument("task_id", metavar="ID")
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait for the end of the task.")
@click.option("--follow", is_flag=True, help="Show what becomes of it, and how far it is, until its end.")
@click.option("--traceback", is_flag=True, help="Show the traceback of a failure.")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def command(ctx: click.Context, task_id: str, wait: float | None, follow: bool, traceback: bool) -> None:
    """Show how the task ID stands: its state, its value or its failure.

    --follow shows each change until then, as a line of its own with -o jsonl; with --wait for so long at most.

    Exit status: 0 succeeded, 1 failed or revoked, 3 not known or not finished.
    """
    scope = scope_of(ctx)
    with open_existing(scope, "results") as app:
        ctx.exit(report(app.result(task_id), app, scope.output, wait=wait, follow=follow, traceback=traceback))


def report(
    result: AsyncResult[Any], app: TaskBus, output: Format, *, wait: float | None, follow: bool, traceback: bool
) -> int:
    """Print a task's result, waited for or followed if asked; returns the exit status."""
    task_id = result.id
    if follow:
        import_module("taskbus.cli.following").follow(app, result, output, wait)
    elif wait is not None:
        result.wait(wait)
    stored = result.recorded() or StoredResult(task_id, "", State.PENDING)
    value, note = _value(stored)
    emit_one(
        output,
        "result",
        {
            "task_id": stored.task_id,
            "task": stored.task,
            "state": str(stored.state),
            "value": value,
            "failure": stored.failure,
            "attempt": stored.attempt,
            "started_at": stored.started_at or None,
            "finished_at": stored.finished_at or None,
        },
        lambda: _draw(stored, value, note, traceback),
    )
    if stored.state is State.PENDING:
        say("Nothing is recorded for it: it waits, or runs, or keeps no results, or they are over their time to live.")
    if stored.state is State.SUCCESS:
        return OK
    return FAILED if stored.state.is_final else NOT_FOUND


def _value(stored: StoredResult) -> tuple[Any, str]:
    if stored.value is None:
        return None, ""
    try:
        return codec.decode(stored.value, stored.content_type), ""
    except CodecError as error:
        return stored.value, f"cannot be decoded: {error}"


def _draw(stored: StoredResult, value: Any, note: str, traceback: bool) -> None:
    failure = stored.failure
    ran_for = stored.finished_at - stored.started_at if stored.started_at and stored.finished_at else 0.0
    draw_fields(
        [
            ("id", stored.task_id),
            ("task", stored.task),
            ("state", str(stored.state)),
            ("value", note or (repr(value) if stored.value is not None else "")),
            ("failure", f"{failure.type}: {failure.message}" if failure else ""),
            ("attempt", str(stored.attempt) if stored.attempt > 1 else ""),
            ("finished", ago(stored.finished_at, time.time())),
            ("took", span(ran_for) if ran_for else ""),
        ]
    )
    if traceback and failure is not None:
        click.echo("\n" + safe(failure.traceback or "no traceback was kept").rstrip())
