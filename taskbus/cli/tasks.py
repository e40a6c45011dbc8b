"""``taskbus tasks``: look for tasks, look at one, run one again, call some off."""

import dataclasses
from collections.abc import Sequence

import rich_click as click

from taskbus.cli.editing import edit_options, read_edit
from taskbus.cli.exits import OK
from taskbus.cli.opening import open_existing, opened_history, opened_reports
from taskbus.cli.options import scope_of, shared_options
from taskbus.cli.output import emit_items, emit_one
from taskbus.cli.phrase import ago, count, safe, shortened, span
from taskbus.cli.tables import draw, draw_fields, say
from taskbus.history.history import History
from taskbus.monitor.report import TaskRecord
from taskbus.steering import retrying, revoking
from taskbus.steering.detail import Attempt, Detail, Row, detail
from taskbus.steering.nodes import REVOKED_FOR
from taskbus.steering.refusal import NotThere
from taskbus.steering.search import Places, search
from taskbus.steering.showing import Showing
from taskbus.steering.tracing import trace

LIST_LIMIT = 50
SORTS = ("newest", "slowest", "longest_wait")
shared = shared_options("app", "broker", "results", "config", "output", "verbose")


@click.group("tasks")
def command() -> None:
    """Search tasks, show one, run one again, call some off.

    \b
    --where takes terms that must all match:
        state:failure  task:mail.*  queue:images  worker:box1*  error:ValueError
        text:"no such file"  args:42  flow:...  age<1h  ran>5s  waited>1m  id:...
        time>=2026-11-28T10:00  time<2026-11-29
    state:started are those that run now, state:pending those that wait in queues.
    What has ended is looked for in the history, which `taskbus web` keeps; without one, among the dead letters.
    """


@command.command("list")
@click.option("--where", default="", metavar="TERMS", help="Only tasks that match, such as 'state:failure age<1h'.")
@click.option("--sort", type=click.Choice(SORTS), default=SORTS[0], show_default=True, help="Which come first.")
@click.option("--limit", type=click.IntRange(1, 500), default=LIST_LIMIT, show_default=True, help="How many at most.")
@click.option("--after", default="", metavar="NEXT", help="Go on behind a list that said next.")
@shared
@click.pass_context
def list_tasks(ctx: click.Context, where: str, sort: str, limit: int, after: str) -> None:
    """List tasks that match."""
    scope = scope_of(ctx)
    with open_existing(scope, "results") as app, opened_reports(app) as reports, opened_history(app) as history:
        places = Places(app, Showing(app), reports, history)
        found = search(places, where, sort=sort, limit=limit, after=after or None)

        def table() -> None:
            _draw_rows(found.rows, app.clock(), "No task matches." if where else "No task is known.")
            if found.note:
                say(found.note, "dim")
            if found.next:
                say(f"More: --after {found.next}", "dim")

        about = {"next": found.next or "", "note": found.note}
        emit_items(scope.output, "tasks", map(dataclasses.asdict, found.rows), table, **about)


@command.command("show")
@click.argument("task_id", metavar="ID")
@shared
@click.pass_context
def show(ctx: click.Context, task_id: str) -> None:
    """Show all that is known of the task ID: how it stands, its attempts, how to send it again."""
    scope = scope_of(ctx)
    with open_existing(scope, "results") as app, opened_reports(app) as reports, opened_history(app) as history:
        found = trace(app, reports, history, task_id)
        if not found.is_known:
            raise NotThere(
                f"nothing is known of a task {task_id!r}",
                "it was never sent, or what was kept of it is over its time to live",
            )
        showing = Showing(app)
        shown = showing.detail(detail(found, showing.call), found.message)
        emit_one(scope.output, "task", dataclasses.asdict(shown), lambda: _draw(shown, app.clock()))


@command.command("retry")
@click.argument("task_id", metavar="ID")
@edit_options
@click.option("-Q", "--queue", help="Queue of a task that is sent anew; the one it was on if not given.")
@shared
@click.pass_context
def retry(ctx: click.Context, task_id: str, args: str | None, kwargs: str | None, queue: str | None) -> None:
    """Run the task ID again. Prints the id under which it was sent.

    One with a dead letter is replayed under its id. One without is sent as a new task, with all of its arguments
    given by --args and --kwargs: its message is gone, and what is remembered of them is text that was cut.
    """
    scope = scope_of(ctx)
    with open_existing(scope, "broker", "results") as app, opened_history(app) as history:
        edit = read_edit(args, kwargs)
        done = retrying.retry(app, task_id, edit, recall=lambda each: _last(history, each), queue=queue)
        item = {"task_id": done.id, "is_new": done.is_new}
        emit_one(scope.output, "retried", item, lambda: click.echo(done.id))
    ctx.exit(OK)


@command.command("revoke")
@click.argument("task_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--terminate", is_flag=True, help="End them, too, if they run.")
@click.option("-t", "--timeout", type=click.FloatRange(min=0), default=3.0, show_default=True, metavar="SECONDS",
              help="How long to wait for what workers say.")  # fmt: skip
@shared
@click.pass_context
def revoke(ctx: click.Context, task_ids: tuple[str, ...], terminate: bool, timeout: float) -> None:
    """Let tasks not run. Those that wait are taken off their queues, where the broker can; workers are told of all.

    Workers that start within three hours hear of it too.
    """
    scope = scope_of(ctx)
    with open_existing(scope, "results") as app, opened_reports(app) as reports:
        done = revoking.revoke(app, reports, task_ids, terminate=terminate, timeout=timeout)

        def tell() -> None:
            told = count(len(done.told), "worker has", "workers have") if done.told else "no worker has"
            say(
                f"{count(len(done.ids), 'task')} called off; {told} said so yet, and it stands for {span(REVOKED_FOR)}."
            )
            for task_id in done.withdrawn:
                say(f"{task_id} was taken off its queue.")
            for task_id in done.terminated:
                say(f"{task_id} was ended while it ran.")
            for task_id in done.ended:
                say(f"{task_id} had ended before.", "yellow")

        emit_one(scope.output, "revoked", dataclasses.asdict(done), tell)


def _last(history: History | None, task_id: str) -> TaskRecord | None:
    records = history.attempts(task_id) if history is not None else ()
    return records[-1] if records else None


def _draw_rows(rows: Sequence[Row], now: float, empty: str) -> None:
    draw(
        ("id", "task", "queue", "state", "attempt", "when", "took", "error"),
        [
            (
                row.id,
                row.task,
                row.queue,
                row.state,
                str(row.attempt),
                ago(row.ended_at or row.started_at or row.sent_at or 0.0, now),
                span(row.ran_for) if row.ran_for is not None else "",
                shortened(f"{row.error.rpartition('.')[2]}: {row.message}", 60) if row.error else "",
            )
            for row in rows
        ],
        right=("attempt",),
        whole=("id",),
        empty=empty,
    )


def _draw(shown: Detail, now: float) -> None:
    row = shown.row
    draw_fields(
        [
            ("id", row.id),
            ("task", row.task),
            ("state", row.state),
            ("queue", f"{row.queue}, priority {shown.priority}" if row.queue else ""),
            ("arguments", f"{row.args} {row.kwargs}".strip()),
            ("sent", ago(row.sent_at or 0.0, now)),
            ("due", ago(shown.due_at or 0.0, now)),
            ("waited", span(row.waited) if row.waited is not None else ""),
            ("worker", row.worker),
            ("result", shown.result or ""),
            ("progress", _progress(shown)),
            ("workflow", shown.flow),
            ("sent by", shown.parent),
            ("schedule", row.schedule),
            ("trace", shown.trace),
        ]
    )
    for attempt in shown.attempts:
        _draw_attempt(attempt, now)
    if shown.is_dead_letter:
        click.echo(f"\nSend it again: taskbus tasks retry {safe(row.id)}")
    if shown.cli:
        click.echo(f"\nSend another: {safe(shown.cli)}")


def _draw_attempt(attempt: Attempt, now: float) -> None:
    times = [ago(attempt.started_at or attempt.ended_at or 0.0, now)]
    times += [f"took {span(attempt.ran_for)}"] if attempt.ran_for is not None else []
    times += [f"on {attempt.worker}"] if attempt.worker else []
    click.echo(safe(f"\nAttempt {attempt.attempt}: {attempt.state}, {', '.join(filter(None, times))}"))
    if attempt.traceback or attempt.error:
        click.echo(safe(attempt.traceback.rstrip() or f"{attempt.error}: {attempt.message}"))
    for line in attempt.logs:
        click.echo(safe(f"  {line}"))


def _progress(shown: Detail) -> str:
    progress = shown.progress
    if progress is None:
        return ""
    of = f" of {progress.total:g}" if progress.total else ""
    return f"{progress.done:g}{of} {progress.note}".strip()
