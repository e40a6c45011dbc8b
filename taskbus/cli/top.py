"""``taskbus top``: what runs, waits and fails now, as a live table; a screen with keys where textual is installed."""

import sys
import threading
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import rich_click as click
from rich.console import Console, Group, JustifyMethod
from rich.live import Live
from rich.table import Table
from rich.text import Text

from taskbus.app import TaskBus
from taskbus.cli.exits import OK
from taskbus.cli.opening import open_existing, opened_reports
from taskbus.cli.options import Format, Scope, scope_of, shared_options
from taskbus.cli.output import emit_one
from taskbus.cli.phrase import safe
from taskbus.cli.tables import console, draw, natural_width, say
from taskbus.cli.top_figures import Figures, Picture
from taskbus.cli.top_tables import COLUMNS, LEFT, VIEWS, Row, rows, summary
from taskbus.errors import StoreError
from taskbus.store.reports import ReportStore

EVERY = 1.0
"""Seconds between two looks, unless told."""
FIRST_LOOK = 1.2
"""Seconds to the second look of ``--once``: without it there would be no rates of now."""
HINT = 'Ctrl-C ends. With keys to switch, filter, pause, revoke: pip install "taskbus[tui]"'


@click.command("top")
@click.option("--by", type=click.Choice(VIEWS), default="task", show_default=True, help="What to show first.")
@click.option("--once", is_flag=True, help="Print it once, and leave.")
@click.option("--plain", is_flag=True, help="A table that refreshes, without keys, also where textual is installed.")
@click.option(
    "--every", type=click.FloatRange(min=0.1), default=EVERY, show_default=True, metavar="SECONDS",
    help="How often to look.",
)  # fmt: skip
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def command(ctx: click.Context, /, by: str, once: bool, plain: bool, every: float) -> None:
    """Show rates, waiting and running times, queues, workers and what runs, until told to stop.

    \b
    -o json prints all of it once; -o jsonl an object with each look, with --once just one.
    Rates are of tasks that ended, a second: of the last ten seconds, and of one and five minutes.
    """
    scope = scope_of(ctx)
    with open_existing(scope, "results") as app, opened_reports(app) as reports:
        figures = Figures(app, reports)
        is_live = not once and scope.output is Format.TABLE and sys.stdout.isatty()
        if not is_live:
            _print(figures, scope, by, every, is_once=once or scope.output is not Format.JSONL)
        elif plain or find_spec("textual") is None:
            _refresh(figures, by, every, hint="" if plain else HINT)
        else:
            _screen(app, reports, figures, by, every)
    ctx.exit(OK)


def _screen(app: TaskBus, reports: ReportStore, figures: Figures, by: str, every: float) -> None:
    import_module("taskbus.cli.top_screen").TopScreen(app, reports, figures, by, every).run()


# --- for programs ----------------------------------------------------------------------------------------------------


def _print(figures: Figures, scope: Scope, by: str, every: float, *, is_once: bool) -> None:
    figures.look()
    for picture in _pictures(figures, FIRST_LOOK if is_once else every):
        emit_one(scope.output, "top", item(picture), lambda picture=picture: _draw(picture, by))  # type: ignore[misc]
        if is_once:
            return


def item(picture: Picture) -> dict[str, Any]:
    """A picture as JSON."""
    return {
        "at": picture.now,
        "error": picture.error,
        "all": picture.all._asdict(),
        **{
            name: [each._asdict() for each in getattr(picture, name)]
            for name in ("tasks", "queues", "workers", "running")
        },
    }


def _pictures(figures: Figures, every: float) -> Iterator[Picture]:
    """One every so many seconds, the first after as many."""
    pause = threading.Event()
    while not pause.wait(every):
        yield figures.look()


def _draw(picture: Picture, by: str) -> None:
    for line in str(summary(picture)).splitlines():
        say(line)
    for view, empty in ((by, f"No {by} was seen in the last minutes."), ("running", "Nothing runs.")):
        columns = COLUMNS[view]
        right = [name for name in columns if name not in LEFT]
        draw(columns, [row.cells for row in rows(picture, view)], right=right, empty=empty)


# --- the plain table -------------------------------------------------------------------------------------------------


def _refresh(figures: Figures, by: str, every: float, hint: str) -> None:
    """Draw it again and again, until Ctrl-C."""
    target = console()
    try:
        with Live(_page(figures.look(), by, target, hint), console=target, screen=True, auto_refresh=False) as live:
            pause = threading.Event()
            while not pause.wait(every):
                live.update(_looked(figures, by, target, hint), refresh=True)
    except KeyboardInterrupt:
        return


def _looked(figures: Figures, by: str, target: Console, hint: str) -> Any:
    try:
        return _page(figures.look(), by, target, hint)
    except StoreError as error:
        return Text(f"{safe(str(error))}\ntrying again", "bold red")


def _page(picture: Picture, by: str, target: Console, hint: str) -> Group:
    """As much as fits."""
    head = summary(picture)
    left = max(4, target.height - len(str(head).splitlines()) - (2 if hint else 1) - 5)
    below = rows(picture, "running")
    main = rows(picture, by)
    shown_below = max(left // 2, left - len(main))
    tables = [
        _table(by, main[: max(1, left - min(len(below), shown_below))], target),
        _table("running", below[:shown_below], target),
    ]
    return Group(head, *tables, *([Text(hint, "dim")] if hint else []))


def _table(view: str, lines: Sequence[Row], target: Console) -> Table:
    """All columns that there is room for."""
    columns = list(COLUMNS[view])
    dropped = [name for name in reversed(columns[1:]) if view != "running"] or ["worker", "queue", "attempt", "id"]
    table = _drawn(view, columns, lines)
    for name in dropped:
        if natural_width(table, target) <= target.width:
            break
        columns.remove(name)
        table = _drawn(view, columns, lines)
    table.expand = True
    return table


def _drawn(view: str, columns: Sequence[str], lines: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold reverse")
    for column in columns:
        justify: JustifyMethod = "left" if column in LEFT else "right"
        table.add_column(column, justify=justify, no_wrap=True, overflow="ellipsis")
    for line in lines:
        table.add_row(*(cell for name, cell in zip(COLUMNS[view], line.cells, strict=True) if name in columns))
    return table
