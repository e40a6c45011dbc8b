"""Tables and messages on a terminal, by rich; plain aligned text where stdout is no terminal."""

import sys
from collections.abc import Iterable, Sequence

import rich_click as click
from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from taskbus.cli.phrase import safe

UNBOUNDED = 100_000
LEAST_COLUMN = 16
"""Characters a line that text folded in a column needs at least to be read."""


def console(*, err: bool = False) -> Console:
    """A console that neither wraps nor cuts lines off a terminal, and obeys NO_COLOR and FORCE_COLOR."""
    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else UNBOUNDED
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=width is not None)


def draw(
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
    caption: str = "",
    empty: str = "",
) -> None:
    """Print a table, below a ``caption`` on stderr; when there is no row, ``empty`` instead, on stderr too.

    The ``right`` columns hold numbers; the ``whole`` ones hold ids to copy, so that the others must give way. Where a
    terminal leaves those no room, each row becomes a block of lines.
    """
    lines = [[cell if isinstance(cell, Text) else Text(safe(cell)) for cell in row] for row in rows]
    target = console()
    if not lines:
        console(err=True).print(Text(safe(empty)))
        return
    if caption:
        say(caption, "dim")
    table = Table(box=SIMPLE_HEAD if target.is_terminal else None, pad_edge=False, header_style="bold")
    for column in columns:
        justify: JustifyMethod = "right" if column in right else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=column in whole)
    for line in lines:
        table.add_row(*line)
    foldable = [number for number, column in enumerate(columns) if column not in whole]
    widest = max(line[number].cell_len for line in lines for number in foldable)
    if whole and target.is_terminal and natural_width(table, target) - target.width > max(0, widest - LEAST_COLUMN):
        for line in lines:
            click.echo()
            draw_fields(zip(columns, line, strict=True))
        return
    print_table(table)


def natural_width(table: Table, target: Console) -> int:
    """How wide a table would be if nothing were in its way."""
    return target.measure(table, options=target.options.update(width=UNBOUNDED)).maximum


def draw_fields(fields: Iterable[tuple[str, str | Text]], *, err: bool = False) -> None:
    """Print names and values in two columns, without a header; empty values are left out."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in fields:
        if value:
            table.add_row(name, value if isinstance(value, Text) else Text(safe(value)))
    print_table(table, err=err)


def print_table(table: Table, *, err: bool = False) -> None:
    """Print without the blanks that rich fills every line with, where a program may read it."""
    target = console(err=err)
    if target.is_terminal:
        target.print(table)
        return
    with target.capture() as captured:
        target.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()), err=err)


def say(text: str, style: str = "") -> None:
    """A line for the reader, on stderr: data stays alone on stdout."""
    console(err=True).print(Text(safe(text), style=style))
