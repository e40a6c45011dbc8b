"""From the shared options to a ``TaskBus``: the user's own with ``-A``, else one that knows only URLs."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Literal

from taskbus.app import TaskBus
from taskbus.broker.transports.schemes import transport_of
from taskbus.cli.config_file import apply_config_file
from taskbus.cli.exits import NOT_FOUND, USAGE, CommandFailed
from taskbus.cli.options import Scope
from taskbus.config import OVERRIDES, load
from taskbus.database import look
from taskbus.database.connection import explain
from taskbus.database.sqlite import locate
from taskbus.errors import BrokerError
from taskbus.history.history import History
from taskbus.history.opening import history_url, open_history
from taskbus.store.report_opening import open_reports
from taskbus.store.reports import ReportStore
from taskbus.worker.runner.loading import load_app


def open_app(scope: Scope) -> TaskBus:
    """The user's application, with the flags over its own settings; fails without ``-A``."""
    apply_flags(scope)
    if not scope.app:
        raise CommandFailed("this needs your application: give -A module:app, or set TASKBUS_APP", USAGE)
    return load_app(scope.app)


def open_parts(scope: Scope) -> TaskBus:
    """Broker and store as flags, variables and files say; the user's code is imported only with ``-A``."""
    if scope.app:
        return open_app(scope)
    apply_flags(scope)
    return TaskBus("taskbus")


@contextmanager
def opened_reports(app: TaskBus) -> Iterator[ReportStore]:
    """What workers report, and are told: in the result store's database."""
    with closing(open_reports(app.results_url, app.clock)) as reports:
        yield reports


@contextmanager
def opened_history(app: TaskBus) -> Iterator[History | None]:
    """What is remembered of tasks; None where there is no file of a history: looking makes none."""
    url = app.config.history or history_url(app.results_url)
    if url.startswith("sqlite:") and not os.path.exists(locate(url).path):
        yield None
        return
    with closing(open_history(url, app.clock)) as history:
        yield history


def open_existing(scope: Scope, *places: Literal["broker", "results"]) -> TaskBus:
    """As ``open_parts``, for a command that only looks: what is not there is an error, and stays not there."""
    app = open_parts(scope)
    transport_of(app.broker_url)
    for url in dict.fromkeys(app.broker_url if place == "broker" else app.results_url for place in places):
        check_shared(url)
        if url.startswith("sqlite:"):
            _check_ours(locate(url).path)
    return app


def check_shared(url: str) -> None:
    """Raise ``CommandFailed`` for a place that lives inside one process: no other finds anything there."""
    if url.startswith("memory:"):
        raise CommandFailed(
            f"{url} lives inside one process, and this one is new; give -b a place to share: sqlite:///file.db", USAGE
        )


def _check_ours(path: str) -> None:
    try:
        found = look.tables(path)
    except (sqlite3.Error, OSError) as error:
        raise BrokerError(explain(error, path) if isinstance(error, sqlite3.Error) else str(error)) from error
    advice = "nothing was ever sent there (did you mean to run this in another folder, or with -b?)"
    if not found:
        raise CommandFailed(f"no database at {path}; {advice}", NOT_FOUND)
    if not any(name.startswith(look.PREFIX) for name in found):
        raise CommandFailed(f"{path} is the database of something else, with {named(found)}; {advice}", NOT_FOUND)


def named(tables: frozenset[str]) -> str:
    """Some of the tables of another program, to tell which it is."""
    names = sorted(tables)
    return f"table {names[0]}" if len(names) == 1 else f"tables {', '.join(names[:3])}{', ...' if names[3:] else ''}"


def apply_flags(scope: Scope) -> None:
    """Make ``-b``, ``--results`` and ``--config`` count here and in every child process.

    The URLs stand above what the application's code says; the file above taskbus.toml and below variables.
    """
    apply_config_file(scope)
    if scope.urls():
        os.environ[OVERRIDES] = json.dumps(scope.urls())
    load({})  # a setting that cannot be is better told of now than as an error of the user's module
