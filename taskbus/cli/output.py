"""Data on stdout as JSON or CSV, in shapes that carry a version; tables are drawn by ``taskbus.cli.tables``."""

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import rich_click as click

from taskbus.cli.options import Format

VERSION = 1
"""Version of the JSON shapes. Keys may be added within a version; none is renamed or removed."""


def emit_items(output: Format, kind: str, items: Iterable[Any], table: Callable[[], None], **about: str) -> None:
    """Print a list: ``{"version", "kind", "items"}`` with ``about``, one object a line, or what ``table`` draws.

    As CSV: a line with the names, a line for each item; what is no text or number is JSON in its cell.
    """
    if output is Format.JSON:
        echo_json({"version": VERSION, "kind": kind, **about, "items": list(items)})
    elif output is Format.JSONL:
        for item in items:
            click.echo(json.dumps(plain(item)))
    elif output is Format.CSV:
        _echo_csv([plain(item) for item in items])
    else:
        table()


def emit_one(output: Format, kind: str, item: Mapping[str, Any], table: Callable[[], None]) -> None:
    """Print one object with its version and kind, or what ``table`` draws."""
    if output is Format.JSON:
        echo_json({"version": VERSION, "kind": kind, **item})
    elif output is Format.JSONL:
        click.echo(json.dumps(plain({"version": VERSION, "kind": kind, **item})))
    elif output is Format.CSV:
        _echo_csv([plain(item)])
    else:
        table()


def _echo_csv(items: Sequence[Any]) -> None:
    rows = [item if isinstance(item, dict) else {"value": item} for item in items]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    click.echo(text.getvalue() if rows else "", nl=False)


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list | bool) else value


def echo_json(value: Any) -> None:
    """Print one JSON document, indented."""
    click.echo(json.dumps(plain(value), indent=2))


def plain(value: Any) -> Any:
    """``value`` in JSON's types: bytes as hex, dataclasses as objects, times in ISO 8601, the rest as its ``repr``."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if value == value and abs(value) != float("inf") else str(value)
        case bytes():
            return value.hex()
        case datetime() | date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {key if isinstance(key, str) else str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        case _:
            return repr(value)
