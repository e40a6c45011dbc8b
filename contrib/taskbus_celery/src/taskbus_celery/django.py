"""What Celery does for Django: sets it up for a worker, and gives its database connections a new start with each task.

Only where DJANGO_SETTINGS_MODULE is set. More is the business of a bridge to Django.
"""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from taskbus import Context, Middleware

VARIABLE = "DJANGO_SETTINGS_MODULE"


def is_used() -> bool:
    """Whether this process has a Django of its own."""
    return bool(os.environ.get(VARIABLE))


def set_up() -> None:
    """Load Django's applications, if that is not done: their tasks may use models."""
    if is_used():
        importlib.import_module("django").setup()


def packages() -> list[str]:
    """The packages of Django's applications; none where there is no Django."""
    if not is_used():
        return []
    return [config.name for config in importlib.import_module("django.apps").apps.get_app_configs()]


def on_commit(call: Any) -> Any:
    """Call it when Django's present transaction is committed, at once where there is none."""
    return importlib.import_module("django.db").transaction.on_commit(call)


class Connections(Middleware):
    """Closes connections to databases that are too old or broken, before an attempt and after it."""

    @contextmanager
    def running(self, context: Context) -> Iterator[None]:
        database = importlib.import_module("django.db")
        database.close_old_connections()
        try:
            yield
        finally:
            database.close_old_connections()
