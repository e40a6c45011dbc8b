"""What a worker says when it is ready: enough to see at a glance whether it is the right one."""

import json
import sys
from collections.abc import Iterable

import rich_click as click
from rich.table import Table
from rich.text import Text

from taskbus import __version__
from taskbus.cli.output import plain
from taskbus.cli.phrase import count, safe, span
from taskbus.cli.tables import console, print_table
from taskbus.worker.options import WorkerInfo


def show_banner(info: WorkerInfo, *, as_json: bool = False, is_quiet: bool = False) -> None:
    """Print it on stderr: a drawing on a terminal, plain lines elsewhere, one JSON line with the logs."""
    if as_json:
        entry = {"event": "ready", "version": __version__, **plain(info), "tasks": len(info.tasks)}
        click.echo(json.dumps(entry | {"warnings": warnings(info)}), err=True)
    elif not is_quiet:
        _draw(info)


def fields(info: WorkerInfo) -> list[tuple[str, str]]:
    """Names and values, in the order they are printed."""
    results = "in the same database: each task settles in one transaction" if info.is_shared else info.results
    return [
        ("app", info.app),
        ("broker", info.broker),
        ("results", results),
        ("slots", slots(info)),
        ("queues", ", ".join(map(str, info.queues))),
        ("tasks", f"{len(info.tasks)}: {', '.join(_sorted(info.tasks)[:6])}{', ...' if len(info.tasks) > 6 else ''}"),
        ("lease", f"{span(info.lease)}, grace {span(info.grace)}"),
    ]


def slots(info: WorkerInfo) -> str:
    """What fits at once, by kind."""
    if info.pool == "solo":
        return "one, in this very process (solo: for a debugger; a task longer than the lease may run twice)"
    runners = count(info.processes, "process", "processes")
    kind = count(info.threads, "thread") if info.threads else "its main thread"
    return f"{runners}, each with {kind} for def and {count(info.coroutines, 'coroutine')} for async def ({info.pool})"


def warnings(info: WorkerInfo) -> list[str]:
    """What an operator should know before relying on this worker."""
    found = []
    if not info.is_shared:
        found.append(
            "results are in another database than the broker: a crash between the two may run a finished task again"
        )
    unreached = _sorted({spec.queue for spec in info.tasks.values()} - set(info.queues))
    if unreached:
        found.append(
            f"tasks go to {count(len(unreached), 'queue')} that this worker does not consume: {', '.join(unreached)}"
        )
    if not info.tasks:
        found.append("the app has no tasks; are the modules that define them imported, or named in app.include()?")
    once = _sorted(name for name, spec in info.tasks.items() if spec.at_most_once)
    if once:
        found.append(f"at_most_once: a crash loses a running {', '.join(once)}")
    return found


def _sorted(names: Iterable[object]) -> list[str]:
    """As texts, whatever an application took for a name: a banner must not keep a worker from starting."""
    return sorted(map(str, names))


def _draw(info: WorkerInfo) -> None:
    target = console(err=True)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", min_width=8)
    table.add_column(overflow="fold")
    for name, value in fields(info):
        table.add_row(name, Text(safe(value)))
    title = f"TaskBus {__version__}  worker {info.name}  pid {info.pid}"
    target.print(Text(title, style="bold"))
    print_table(table, err=True)
    for warning in warnings(info):
        target.print(Text(f"! {safe(warning)}", style="yellow"))
    stop = "Ctrl-C" if sys.stdin.isatty() else f"kill {info.pid}"
    target.print(Text(f"Ready in {span(info.started_in)}. Stop: {stop} (again: at once)", style="green"))
