"""``taskbus control``: tell workers what to do, as ``celery control`` does."""

import rich_click as click

from taskbus.cli.remote import commands
from taskbus.monitor.commands import CONTROL


@click.group("control")
def command() -> None:
    """Tell workers what to do: all that hear it, or those named with -d.

    A worker with remote_control=inspect refuses what would change something. Exit status: 0 all obeyed, 1 one answered
    with an error, 69 nobody answered, or one that was named did not.
    """


commands(command, CONTROL)
