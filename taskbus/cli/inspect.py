"""``taskbus inspect``: ask workers what they do, as ``celery inspect`` does."""

import rich_click as click

from taskbus.cli.remote import commands
from taskbus.monitor.commands import INSPECT


@click.group("inspect")
def command() -> None:
    """Ask workers what they do. All that hear it answer, or those named with -d.

    Exit status: 0 all answered, 1 one answered with an error, 69 nobody did, or one that was named.
    """


commands(command, INSPECT)
