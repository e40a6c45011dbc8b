"""What the commands of ``taskbus dlq`` share: which letters are meant, and the way to them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import rich_click as click

from taskbus.app import TaskBus
from taskbus.store.base import Filter
from taskbus.store.where import parse

Function = TypeVar("Function", bound=Callable[..., Any])


def filter_options(function: Function) -> Function:
    """Add ``--where`` and ``--id``."""
    ids = click.option("--id", "ids", multiple=True, metavar="ID", help="This letter; may be given several times.")
    where = click.option(
        "--where", default="", metavar="TERMS", help="Only letters that match, such as 'task:mail.* age>1d'."
    )
    return where(ids(function))


def read_filter(where: str, ids: tuple[str, ...], now: float) -> Filter:
    """The letters that both options mean together; raises ``ConfigError`` for terms that cannot be read."""
    wanted = parse(where, now)
    return replace(wanted, task_ids=(*wanted.task_ids, *ids))


def place_of(app: TaskBus) -> str:
    """The database that holds the dead letters, for the reader."""
    return app.store.database or app.results_url
