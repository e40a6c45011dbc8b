"""``taskbus migrate``: what it takes to come over from another task queue."""

from collections import Counter
from collections.abc import Sequence

import rich_click as click
from rich.text import Text

from taskbus.celery_settings import Verdict
from taskbus.cli.exits import FAILED, OK, WARNINGS
from taskbus.cli.migrate_celery import Port, load_celery, ports
from taskbus.cli.migrate_writing import options_to_write, settings_to_write, sharing_to_write, toml
from taskbus.cli.options import scope_of, shared_options
from taskbus.cli.output import emit_one
from taskbus.cli.phrase import safe
from taskbus.cli.tables import console, draw, say

MARKS = {
    Verdict.SAME: ("✓", "green"),
    Verdict.NEEDLESS: ("✓", "green"),
    Verdict.DIFFERS: ("!", "yellow"),
    Verdict.NOT: ("✗", "red"),
}
HEADS = {
    Verdict.NOT: "What there is nothing like",
    Verdict.DIFFERS: "What differs",
    Verdict.SAME: "What ports as it is",
    Verdict.NEEDLESS: "What can be left out",
}
MOST_NAMES = 3
PAGE = "docs/howto/coming_from_celery.md"


@click.group("migrate")
def command() -> None:
    """Come over from another task queue: what ports, what differs, and what to write."""


@command.command("celery")
@click.argument("path", metavar="MODULE:APP")
@click.option("--check", is_flag=True, help="Only say what ports and what does not, and tell it by the exit status.")
@shared_options("output", "verbose")
@click.pass_context
def celery(ctx: click.Context, path: str, check: bool) -> None:
    """Read an application of Celery's, and print what becomes of it; nothing is changed, no broker is asked.

    To be run where the application can be imported, with Celery. Without --check it prints the settings of TaskBus as
    TOML, and the options of each task. Exit status of --check: 0 all ports, 75 something differs, 1 there is nothing
    like something.
    """
    scope = scope_of(ctx)
    app = load_celery(path)
    found = ports(app)
    verdicts = Counter(port.verdict for port in found)
    document = {"app": path, "verdicts": {verdict.value: verdicts[verdict] for verdict in Verdict}, "ports": found}
    if check:
        emit_one(scope.output, "migration", document, lambda: _draw(path, found, verdicts))
        ctx.exit(FAILED if verdicts[Verdict.NOT] else WARNINGS if verdicts[Verdict.DIFFERS] else OK)
    settings, options = settings_to_write(app), options_to_write(app)
    text = toml(settings) + sharing_to_write(app)
    document |= {"settings": settings, "toml": text, "tasks": options}

    def table() -> None:
        _draw(path, found, verdicts)
        _write(text, options)

    emit_one(scope.output, "migration", document, table)


def _draw(path: str, found: Sequence[Port], verdicts: Counter[Verdict]) -> None:
    for verdict, head in HEADS.items():
        alike: dict[tuple[str, str], list[Port]] = {}
        for port in found:
            if port.verdict is verdict:
                alike.setdefault((port.name, port.value), []).append(port)
        if alike:
            mark, colour = MARKS[verdict]
            rows = [
                (Text(mark, style=colour), _of(group), f"{name} = {value}", _words(group[0]))
                for (name, value), group in alike.items()
            ]
            say(f"\n{head}", "bold")
            draw(("", "of", "what", "what becomes of it"), rows)
    words = {
        Verdict.SAME: "as they are",
        Verdict.DIFFERS: "with a difference",
        Verdict.NEEDLESS: "needless",
        Verdict.NOT: "not at all",
    }
    told = ", ".join(f"{verdicts[verdict]} {text}" for verdict, text in words.items() if verdicts[verdict])
    say(f"\n{path}: {told or 'nothing but defaults'}. More in {PAGE}.", "bold")


def _of(alike: Sequence[Port]) -> str:
    """Who says it: one, or some of many."""
    names = [port.of or port.kind for port in alike]
    return ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")


def _words(port: Port) -> Text:
    text = Text(f"{port.becomes}: " if port.becomes else "", style="bold")
    return text.append(safe(port.words), style="none")


def _write(settings: str, options: dict[str, str]) -> None:
    say("\ntaskbus.toml (passwords are not shown)", "bold")
    console().print(Text(settings))
    say("Tasks, where they are not left to taskbus_celery", "bold")
    for name, decorator in options.items():
        console().print(Text(f"# {name}\n{decorator}"))
