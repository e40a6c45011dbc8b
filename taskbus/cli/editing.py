"""``--args`` and ``--kwargs``: other arguments for a call that was made before."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import rich_click as click

from taskbus.cli.exits import USAGE, CommandFailed
from taskbus.steering.letters import Edit

Function = TypeVar("Function", bound=Callable[..., Any])


def edit_options(function: Function) -> Function:
    """Add both options."""
    args = click.option("--args", metavar="JSON", help="Other positional arguments, as a JSON array.")
    kwargs = click.option("--kwargs", metavar="JSON", help="Other keyword arguments, as a JSON object.")
    return args(kwargs(function))


def read_edit(args: str | None, kwargs: str | None) -> Edit:
    """What both say together; raises ``CommandFailed`` for what is no JSON of its kind."""
    return Edit(_read("--args", args, list, "an array"), _read("--kwargs", kwargs, dict, "an object"))


def _read(option: str, text: str | None, kind: type, called: str) -> Any:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandFailed(f"{option} {text!r:.200} is not JSON: {error}", USAGE) from error
    if not isinstance(value, kind):
        raise CommandFailed(f"{option} {text!r:.200} is not {called} of JSON", USAGE)
    return value
