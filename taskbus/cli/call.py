"""``taskbus call``: send a task from a shell."""

import difflib
import json
import re
from datetime import datetime
from typing import Any

import rich_click as click

from taskbus.app import TaskBus
from taskbus.cli.exits import NOT_FOUND, USAGE, CommandFailed
from taskbus.cli.opening import check_shared, open_parts
from taskbus.cli.options import Scope, scope_of, shared_options
from taskbus.cli.output import emit_one
from taskbus.cli.result import report
from taskbus.message import MAX_PRIORITY, MIN_PRIORITY

KEYWORD = re.compile(r"([^\W\d]\w*)=(.*)", re.DOTALL)


@click.command("call")
@click.argument("task")
@click.argument("arguments", nargs=-1, metavar="[ARGS]... [KEY=VALUE]...")
@click.option("--json", "document", metavar="JSON", help="Arguments as one JSON array, or keywords as one object.")
@click.option("-Q", "--queue", help="Queue to put it on; the task's own if not given.")
@click.option("--countdown", type=float, metavar="SECONDS", help="Start it no sooner than this many seconds from now.")
@click.option("--eta", metavar="TIME", help="Start it no sooner than this ISO 8601 time; local if it has no zone.")
@click.option("--expires", metavar="SECONDS|TIME", help="Bury it if it was not started by then.")
@click.option("--priority", type=click.IntRange(MIN_PRIORITY, MAX_PRIORITY), metavar="N", help="9 is fetched first.")
@click.option("--id", "task_id", help="Task id; made up if not given.")
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait for its result and show that.")
@click.option("--follow", is_flag=True, help="Show what becomes of it, and how far it is, until its end.")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    task: str,
    arguments: tuple[str, ...],
    document: str | None,
    wait: float | None,
    follow: bool,
    **given: Any,
) -> None:
    """Send the task TASK with ARGS, each read as JSON where it is JSON, else as text. Prints its id.

    With -A the call is checked against the task's signature first. Write -- before arguments that start with a dash.

    Exit status: 0 sent (with --wait, --follow: succeeded), 1 failed, 3 no such task, or no result in time.
    """
    scope = scope_of(ctx)
    args, kwargs = parse_arguments(arguments, document)
    with open_parts(scope) as app:
        check_shared(app.broker_url)
        check_name(app, task, scope)
        result = app.send(task, args, kwargs, **_options(**given))
        if wait is not None or follow:
            shows = scope.verbosity > 0
            ctx.exit(report(result, app, scope.output, wait=wait, follow=follow, traceback=shows))
        emit_one(scope.output, "call", {"task_id": result.id, "task": task}, lambda: click.echo(result.id))


def parse_arguments(words: tuple[str, ...], document: str | None) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments from the words of a command line, or from one JSON document."""
    if document is not None:
        if words:
            raise CommandFailed("give the arguments either as words or with --json, not both", USAGE)
        return _parse_document(document)
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for word in words:
        if (match := KEYWORD.fullmatch(word)) is not None:
            kwargs[match[1]] = _parse_word(match[2])
        elif kwargs:
            raise CommandFailed(f"argument {word!r} stands after a keyword; put KEY=VALUE last", USAGE)
        else:
            args.append(_parse_word(word))
    return args, kwargs


def _parse_document(document: str) -> tuple[list[Any], dict[str, Any]]:
    try:
        value = json.loads(document)
    except ValueError as error:
        raise CommandFailed(f"--json {document!r} is not JSON: {error}", USAGE) from error
    match value:
        case list():
            return value, {}
        case dict():
            return [], value
        case _:
            raise CommandFailed(f"--json {document!r} is neither an array (arguments) nor an object (keywords)", USAGE)


def _parse_word(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word


def check_name(app: TaskBus, task: str, scope: Scope) -> None:
    """Raise ``CommandFailed``, with a near name, where the application has no such task."""
    if not scope.app or not app.tasks or task in app.tasks:
        return
    near = difflib.get_close_matches(task, app.tasks, n=1) or [name for name in app.tasks if name.endswith(f".{task}")]
    hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(sorted(app.tasks))}"
    raise CommandFailed(f"{scope.app} has no task {task!r}; {hint}", NOT_FOUND)


def _options(*, eta: str | None, expires: str | None, **given: Any) -> dict[str, Any]:
    options = {name: value for name, value in given.items() if value is not None}
    if eta is not None:
        options["eta"] = _time("--eta", eta)
    if expires is not None:
        options["expires"] = float(expires) if _is_number(expires) else _time("--expires", expires)
    return options


def _time(option: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError as error:
        raise CommandFailed(f"{option} {text!r} is not an ISO 8601 time such as 2030-01-31T18:00", USAGE) from error


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?", text) is not None
