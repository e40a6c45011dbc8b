"""``taskbus config``: which settings hold, and where each comes from."""

import os
from pathlib import Path
from typing import Any

import rich_click as click

from taskbus.cli.exits import FAILED, CommandFailed
from taskbus.cli.opening import open_parts
from taskbus.cli.options import Scope, scope_of, shared_options
from taskbus.cli.output import emit_one
from taskbus.cli.tables import draw, say
from taskbus.config import load
from taskbus.errors import ConfigError
from taskbus.monitor.settings import shown


@click.group("config")
def command() -> None:
    """Show or validate the settings."""


@command.command("show")
@click.option("--origin", is_flag=True, help="With where each value comes from.")
@click.option("--changed", is_flag=True, help="Only settings that are not at their default.")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def show(ctx: click.Context, origin: bool, changed: bool) -> None:
    """Print every setting; with -A as the application's code has them."""
    scope = scope_of(ctx)
    settings, origins = effective(scope)
    if changed:
        settings = {name: value for name, value in settings.items() if origins[name] != "default"}
    item: dict[str, Any] = {"settings": settings}
    if origin:
        item["origins"] = {name: origins[name] for name in settings}
    columns = ("setting", "value", "from") if origin else ("setting", "value")
    rows = [(name, _text(value), origins[name])[: len(columns)] for name, value in settings.items()]
    emit_one(scope.output, "config", item, lambda: draw(columns, rows, empty="Every setting is at its default."))


@command.command("validate")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def validate(ctx: click.Context, file: Path | None) -> None:
    """Check FILE, or the settings in force here: exit status 1 names what is wrong."""
    scope = scope_of(ctx)
    try:
        if file is not None:
            load({}, environment={}, file=file)
        else:
            effective(scope)
    except ConfigError as error:
        raise CommandFailed(str(error), FAILED) from error
    emit_one(scope.output, "valid", {"file": str(file) if file else None}, lambda: say("The settings are valid."))


def effective(scope: Scope) -> tuple[dict[str, Any], dict[str, str]]:
    """Every setting in force, without passwords, and its origin."""
    variables = set(os.environ)
    app = open_parts(scope)
    settings = shown(app.config, {"broker": app.broker_url, "results": app.results_url})
    origins = dict(app.origins)
    for name, origin in origins.items():
        if origin.startswith("TASKBUS_") and origin not in variables:
            origins[name] = str(scope.config)  # the file came in as variables
    return settings, origins


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "(none)"
    return str(value)
