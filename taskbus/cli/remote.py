"""What ``taskbus inspect`` and ``taskbus control`` share: a command for each of Celery's, and how answers are shown."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import rich_click as click

from taskbus.broker.monitoring.asking import ask, tell
from taskbus.broker.monitoring.place import is_celerys, place_of
from taskbus.cli.exits import FAILED, NO_REPLY, OK, CommandFailed
from taskbus.cli.opening import open_existing
from taskbus.cli.options import Scope, scope_of, shared_options
from taskbus.cli.output import emit_items, plain
from taskbus.cli.tables import say
from taskbus.monitor.commands import Command

TIMEOUT = 1.0
"""Seconds to wait for answers where it is not known whose they will be."""


def commands(group: click.Group, vocabulary: Sequence[Command]) -> None:
    """Add a command to ``group`` for each of these."""
    for each in vocabulary:
        group.add_command(_command(each))


def _command(spoken: Command) -> click.Command:
    function: Any = partial(_run, spoken)
    function.__name__ = spoken.name
    function = click.pass_context(function)
    function = shared_options("app", "broker", "config", "output", "verbose")(function)
    options: list[tuple[tuple[str, ...], dict[str, Any]]] = [
        (
            ("-d", "--destination", "nodes"),
            {"multiple": True, "metavar": "NODE", "help": "Only this worker; may be given several times."},
        ),
        (
            ("-t", "--timeout"),
            {
                "type": float,
                "default": TIMEOUT,
                "show_default": True,
                "metavar": "SECONDS",
                "help": "How long to wait.",
            },
        ),
    ]
    if spoken.name in ("revoke", "revoke_by_stamped_headers"):
        options.append((("--terminate",), {"is_flag": True, "help": "End them, too, if they run."}))
    for names, settings in options:
        function = click.option(*names, **settings)(function)
    for parameter in reversed(spoken.parameters):
        function = click.argument(
            parameter.name,
            type=parameter.kind,
            required=parameter.is_needed,
            nargs=-1 if parameter.is_many else 1,
            metavar=_metavar(parameter.name, parameter.is_needed, parameter.is_many),
        )(function)
    return click.command(spoken.name, help=spoken.help)(function)


def _metavar(name: str, is_needed: bool, is_many: bool) -> str:
    shown = name.upper() + ("..." if is_many else "")
    return shown if is_needed else f"[{shown}]"


def _run(spoken: Command, ctx: click.Context, /, nodes: tuple[str, ...], timeout: float, **given: Any) -> None:
    scope = scope_of(ctx)
    with open_existing(scope, "broker") as app:
        url = app.broker_url
    place = place_of(url)
    arguments = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    arguments = {name: value for name, value in arguments.items() if value is not None and value is not False}
    if not spoken.is_answered:
        tell(place, spoken.name, arguments, nodes=nodes)
        say(f"{spoken.name}: told {', '.join(nodes) or 'every worker'}; nobody answers that")
        ctx.exit(OK)
    replies = ask(place, spoken.name, arguments, nodes=nodes, timeout=timeout)
    if not replies:
        raise CommandFailed(_nobody(url, timeout), NO_REPLY)
    _show(scope, spoken, replies)
    missing = sorted({*nodes} - replies.keys())
    if missing:
        raise CommandFailed(f"no answer within {timeout:g} s from {', '.join(missing)}", NO_REPLY)
    ctx.exit(FAILED if any(map(_is_error, replies.values())) else OK)


def _nobody(url: str, timeout: float) -> str:
    text = f"no worker answered within {timeout:g} s"
    if not is_celerys(url):
        text += "; on a database workers listen only if told to: taskbus worker --set remote_control=full"
    return text


def _is_error(reply: Any) -> bool:
    return isinstance(reply, Mapping) and "error" in reply


def _show(scope: Scope, spoken: Command, replies: Mapping[str, Any]) -> None:
    items = [{"node": node, "reply": reply} for node, reply in sorted(replies.items())]

    def table() -> None:
        for item in items:
            click.secho(item["node"], bold=True)
            for line in _lines(plain(item["reply"])):
                click.echo(f"  {line}")

    emit_items(scope.output, spoken.name, items, table)


def _lines(value: Any, indent: str = "") -> list[str]:
    """A reply as indented lines, ``name: value`` each."""
    match value:
        case {"ok": said} | {"error": said} if len(value) == 1:
            return str(said).strip().splitlines() if "ok" in value else [f"error: {said}"]
        case dict():
            lines = []
            for name, item in value.items():
                is_nested = isinstance(item, (dict, list)) and bool(item)
                lines += (
                    [f"{indent}{name}:", *_lines(item, f"{indent}  ")] if is_nested else [f"{indent}{name}: {item}"]
                )
            return lines
        case list():
            return [line for item in value for line in _of_list(item, indent)] or [f"{indent}none"]
        case _:
            return [f"{indent}{value}"]


def _of_list(item: Any, indent: str) -> list[str]:
    if not isinstance(item, dict):
        return [f"{indent}{item}"]
    first, *rest = _lines(item, f"{indent}  ")
    return [f"{indent}- {first.lstrip()}", *rest]
