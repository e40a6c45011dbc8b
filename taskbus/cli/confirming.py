"""Before anything is destroyed: say how much, and ask; without a terminal, only ``--yes`` answers."""

import sys

import rich_click as click

from taskbus.cli.exits import USAGE, CommandFailed


def confirm(what: str, *, yes: bool, instead: str = "--yes", has_dry_run: bool = True) -> None:
    """Return if it may be done. Raises ``Abort`` on "no", ``CommandFailed`` where nobody can be asked.

    ``instead`` names the options that answer. ``has_dry_run``: the command has one.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        look = ", or --dry-run to only look" if has_dry_run else ""
        raise CommandFailed(f"{what}: nobody can be asked here; add {instead}{look}", USAGE)
    if not click.confirm(f"{what}?", err=True):
        raise CommandFailed("Nothing was done.")
