"""The options every command shares, usable before and after the command's name, and the ``Scope`` they fill."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

Function = TypeVar("Function", bound=Callable[..., Any])


class Format(StrEnum):
    """How data is printed on stdout."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


@dataclass(slots=True)
class Scope:
    """What the shared options say; empty means not given. ``verbosity`` is above 0 with -v, below 0 with -q."""

    app: str = ""
    broker: str = field(default="", repr=False)
    results: str = field(default="", repr=False)
    config: Path | None = None
    output: Format = Format.TABLE
    verbosity: int = 0

    def urls(self) -> dict[str, str]:
        """The settings given as flags."""
        return {name: url for name, url in (("broker", self.broker), ("results", self.results)) if url}


def scope_of(ctx: click.Context) -> Scope:
    """The options of this invocation, wherever on the command line they stood."""
    return ctx.ensure_object(Scope)


def _remember(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is not None:
        setattr(scope_of(ctx), str(parameter.name), value)


def _louder(ctx: click.Context, parameter: click.Parameter, value: int) -> None:
    scope_of(ctx).verbosity += value if parameter.name == "verbose" else -value


_OPTIONS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "app": (("-A", "--app"), {"metavar": "MODULE:APP", "help": "Where your TaskBus is, for example shop.tasks:app."}),
    "broker": (("-b", "--broker"), {"metavar": "URL", "help": "Broker: a SQLite file, such as sqlite:///queue.db."}),
    "results": (
        ("--results",),
        {"metavar": "URL", "help": "Store of results and dead letters; the broker's if not given."},
    ),
    "config": (
        ("--config",),
        {"type": click.Path(exists=True, dir_okay=False, path_type=Path), "help": "TOML file of settings."},
    ),
    "output": (
        ("-o", "--output"),
        {"type": click.Choice(Format, case_sensitive=False), "help": "How to print data (table if not given)."},
    ),
    "quiet": (("-q", "--quiet"), {"count": True, "metavar": "", "callback": _louder, "help": "Say less."}),
    "verbose": (
        ("-v", "--verbose"),
        {"count": True, "metavar": "", "callback": _louder, "help": "Say more; errors with their traceback."},
    ),
}
_VARIABLES = {"app": "TASKBUS_APP", "output": "TASKBUS_OUTPUT"}


def shared_options(*names: str, environment: bool = False) -> Callable[[Function], Function]:
    """Add shared options to a command; their values are in ``scope_of(ctx)``, the last one on the line wins.

    ``environment`` belongs to the outermost group alone: read again by a command, a variable would beat a flag
    given before the command's name.
    """

    def decorate(function: Function) -> Function:
        for name in reversed(names):
            flags, settings = _OPTIONS[name]
            variable = {"envvar": _VARIABLES[name], "show_envvar": True} if environment and name in _VARIABLES else {}
            settings = {"callback": _remember, "expose_value": False, **settings, **variable}
            function = click.option(*flags, **settings)(function)
        return function

    return decorate
