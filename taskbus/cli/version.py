"""``taskbus version``: what to put into a report."""

import platform
from importlib.metadata import PackageNotFoundError, version

import rich_click as click

from taskbus import __version__
from taskbus.cli.options import scope_of, shared_options
from taskbus.cli.output import emit_one

PARTS = ("kombu", "sqlalchemy", "msgpack", "tenacity", "click", "rich")


@click.command("version")
@shared_options("output")
@click.option("--all", "everything", is_flag=True, help="With Python, the system and the libraries in use.")
@click.pass_context
def command(ctx: click.Context, everything: bool) -> None:
    """Print the version; with --all also those of Python, the system and the libraries in use."""
    item: dict[str, str] = {"taskbus": __version__}
    if everything:
        item |= {"python": platform.python_version(), "system": platform.platform()}
        item |= {part: _version(part) for part in PARTS}
    emit_one(scope_of(ctx).output, "version", item, lambda: click.echo("\n".join(f"{k} {v}" for k, v in item.items())))


def _version(part: str) -> str:
    try:
        return version(part)
    except PackageNotFoundError:
        return "not installed"
