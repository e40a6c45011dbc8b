"""``taskbus nodes``: the workers and beats that report, on any broker; and to steer workers."""

from collections.abc import Callable, Sequence
from typing import Any

import rich_click as click

from taskbus.cli.confirming import confirm
from taskbus.cli.exits import FAILED, NO_REPLY, OK, CommandFailed
from taskbus.cli.opening import open_existing, opened_reports
from taskbus.cli.options import scope_of, shared_options
from taskbus.cli.output import emit_items, emit_one
from taskbus.cli.phrase import ago, size, span
from taskbus.cli.tables import draw, draw_fields, say
from taskbus.steering import commanding
from taskbus.steering.nodes import TIMEOUT, SeenNode, find_node, seen_nodes
from taskbus.steering.tracing import running_of
from taskbus.store.reports import ReportStore
from taskbus.store.where import parse_nodes

shared = shared_options("app", "broker", "results", "config", "output", "verbose")
patience = click.option(
    "-t", "--timeout", type=click.FloatRange(min=0), default=TIMEOUT, show_default=True, metavar="SECONDS",
    help="How long to wait for an answer.",
)  # fmt: skip


@click.group("nodes", invoke_without_command=True)
@shared
@click.pass_context
def command(ctx: click.Context) -> None:
    """List the processes that report (also without a subcommand), look at one, or tell a worker what to do.

    \b
    Workers report to the database of the results, whatever the broker is.
    NAME is that of a node as the list shows it, such as w1@box; w1 will do where one living node is called so.
    --where takes terms that must all match:
        name:mail-*  kind:worker  queue:images  host:box1  app:shop*
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_nodes, where="")


@command.command("list")
@click.option("--where", default="", metavar="TERMS", help="Only those that match, such as 'kind:worker queue:mails'.")
@shared
@click.pass_context
def list_nodes(ctx: click.Context, where: str) -> None:
    """List workers, beats and web servers by name.

    Exit status: 0 if one of them is alive, 69 if none is.
    """
    scope = scope_of(ctx)
    with open_existing(scope, "results") as app, opened_reports(app) as reports:
        wanted, now = parse_nodes(where), app.clock()
        found = [seen for seen in seen_nodes(reports, now) if commanding.is_meant(seen, wanted)]
        place = app.store.database or app.results_url
        emit_items(scope.output, "nodes", map(node_item, found), lambda: draw_nodes(found, now, place), database=place)
    ctx.exit(OK if any(seen.is_alive for seen in found) else NO_REPLY)


@command.command("show")
@click.argument("name")
@shared
@click.pass_context
def show(ctx: click.Context, name: str) -> None:
    """Show one node: what it is, what it runs, the tasks it knows."""
    scope = scope_of(ctx)
    with open_existing(scope, "results") as app, opened_reports(app) as reports:
        now = app.clock()
        seen = find_node(reports, name, now)
        state = seen.state
        item = {
            **node_item(seen),
            "tasks": state.tasks,
            "running": [each.running._asdict() for each in running_of(seen)],
            "runners": [{"pid": pid, "rss": rss} for pid, rss, *_ in state.runners],
            "limits": {task: rate for task, rate, *_ in state.limits},
        }
        emit_one(scope.output, "node", item, lambda: _draw_one(seen, now))


@command.command("ping")
@patience
@shared
@click.pass_context
def ping(ctx: click.Context, timeout: float) -> None:
    """Ask every worker whether it is there.

    Exit status: 0 if all that report have answered, 69 if some did not, or none is there.
    """
    scope = scope_of(ctx)
    with open_existing(scope, "results") as app, opened_reports(app) as reports:
        workers, asked = commanding.ping(reports, timeout=timeout, clock=app.clock)
        items = [{"node": seen.name, "reply": asked.answers.get(seen.node)} for seen in workers]
        emit_items(scope.output, "ping", items, lambda: _draw_replies(items))
    if asked.missing:
        raise CommandFailed(f"no answer within {timeout:g} s from {', '.join(asked.missing)}", NO_REPLY)
    ctx.exit(FAILED if asked.errors else OK)


@command.command("grow")
@click.argument("name")
@click.argument("n", type=click.IntRange(min=1), default=1)
@patience
@shared
@click.pass_context
def grow(ctx: click.Context, name: str, n: int, timeout: float) -> None:
    """Have worker NAME run N runners more (one if not given)."""
    _tell(ctx, name, lambda reports, seen, **given: commanding.grow(reports, seen.node, n, **given), timeout)


@command.command("shrink")
@click.argument("name")
@click.argument("n", type=click.IntRange(min=1), default=1)
@patience
@shared
@click.pass_context
def shrink(ctx: click.Context, name: str, n: int, timeout: float) -> None:
    """Have worker NAME run N runners less (one if not given), once they have finished what they run."""
    _tell(ctx, name, lambda reports, seen, **given: commanding.shrink(reports, seen.node, n, **given), timeout)


@command.command("limit")
@click.argument("name")
@click.argument("task")
@click.argument("rate")
@patience
@shared
@click.pass_context
def limit(ctx: click.Context, name: str, task: str, rate: str, timeout: float) -> None:
    """Let TASK start at most so often at worker NAME: 10/s, 10/m, 10/h; 0: as often as it comes."""
    _tell(ctx, name, lambda reports, seen, **given: commanding.limit(reports, seen.node, task, rate, **given), timeout)


@command.command("stop")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared
@click.pass_context
def stop(ctx: click.Context, name: str, yes: bool) -> None:
    """Stop worker NAME in good order: what it runs is finished, or given back."""

    def act(reports: ReportStore, seen: SeenNode, **given: Any) -> Any:
        confirm(f"Stop the worker {seen.name}", yes=yes, has_dry_run=False)
        return commanding.stop(reports, seen.node, **given)

    _tell(ctx, name, act, 0.0, "told to stop")


def _tell(ctx: click.Context, name: str, act: Callable[..., Any], timeout: float, otherwise: str = "done") -> None:
    """Do it to the one node that ``name`` means."""
    scope = scope_of(ctx)
    with open_existing(scope, "results") as app, opened_reports(app) as reports:
        seen = find_node(reports, name, app.clock())
        reply = act(reports, seen, timeout=timeout, clock=app.clock)
        items = [{"node": seen.name, "reply": reply}]
        emit_items(scope.output, "told", items, lambda: _draw_replies(items, otherwise))
    ctx.exit(FAILED if isinstance(reply, dict) and "error" in reply else OK)


def node_item(seen: SeenNode) -> dict[str, Any]:
    """A node as JSON, without its lists."""
    state = seen.state
    skipped = ("name", "tasks", "running", "runners", "limits", "last_fetch_at", "cpu")
    kept = {name: value for name, value in state._asdict().items() if name not in skipped}
    return {"name": seen.name, "node": seen.node, "at": seen.at, "is_alive": seen.is_alive, **kept}


def draw_nodes(found: Sequence[SeenNode], now: float, place: str = "") -> None:
    """Nodes, a line each."""
    draw(
        ("name", "kind", "pid", "queues", "running", "slots", "memory", "up for", "reported"),
        [
            (
                seen.name,
                _kind(seen),
                f"{seen.state.pid}",
                ", ".join(seen.state.queues),
                f"{seen.state.active:,}" if seen.state.kind == "worker" else "",
                f"{seen.state.slots:,}" if seen.state.kind == "worker" else "",
                size(seen.state.rss) if seen.state.rss else "",
                span(max(0.0, now - seen.state.started_at)) if seen.state.started_at else "",
                ago(seen.at, now) if seen.is_alive else f"silent, {ago(seen.at, now)}",
            )
            for seen in found
        ],
        right=("pid", "running", "slots", "memory"),
        whole=("name",),
        caption=place,
        empty="No node reports; start a worker: taskbus worker -A module:app",
    )


def _kind(seen: SeenNode) -> str:
    if seen.state.is_stopping:
        return f"{seen.state.kind}, stopping"
    return f"{seen.state.kind}, leads" if seen.state.is_leader else seen.state.kind


def _draw_one(seen: SeenNode, now: float) -> None:
    state = seen.state
    draw_fields(
        [
            ("name", seen.name),
            ("node", seen.node),
            ("kind", _kind(seen)),
            ("application", state.app),
            ("version", state.version),
            ("host", f"{state.host}, pid {state.pid}"),
            ("reported", ago(seen.at, now) if seen.is_alive else f"silent, {ago(seen.at, now)}"),
            ("queues", ", ".join(state.queues)),
            ("pool", f"{state.pool}, {state.processes:,} processes, {state.slots:,} slots" if state.pool else ""),
            ("running", f"{state.active:,}, and {max(0, state.held - state.active):,} held" if state.slots else ""),
            ("memory", size(state.rss) if state.rss else ""),
            ("limits", ", ".join(f"{task} {rate}" for task, rate, *_ in state.limits)),
            ("tasks", ", ".join(state.tasks)),
        ]
    )
    running = list(running_of(seen))
    if running:
        draw(
            ("id", "task", "queue", "attempt", "pid", "for"),
            [
                (
                    each.running.id,
                    each.running.task,
                    each.running.queue,
                    str(each.running.attempt),
                    str(each.running.pid),
                    span(max(0.0, now - each.running.since)),
                )
                for each in running
            ],
            right=("attempt", "pid"),
            whole=("id",),
        )


def _draw_replies(items: Sequence[dict[str, Any]], otherwise: str = "done") -> None:
    for item in items:
        match item["reply"]:
            case {"error": error}:
                say(f"{item['node']}: {error}", "red")
            case {"ok": said}:
                say(f"{item['node']}: {said or otherwise}")
            case _:
                say(f"{item['node']}: no answer", "yellow")
