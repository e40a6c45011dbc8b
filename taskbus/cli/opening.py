"""From the shared options to a ``TaskBus``: the user's own with ``-A``, else one that knows only URLs."""

import dataclasses
import json
import os

from taskbus.app import TaskBus
from taskbus.cli.exits import USAGE, CommandFailed
from taskbus.cli.options import Scope
from taskbus.config import OVERRIDES, load
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


def apply_flags(scope: Scope) -> None:
    """Make ``-b``, ``--results`` and ``--config`` count here and in every child process.

    The URLs stand above what the application's code says; the file above taskbus.toml and below variables.
    """
    apply_config_file(scope)
    if scope.urls():
        os.environ[OVERRIDES] = json.dumps(scope.urls())
    load({})  # a setting that cannot be is better told of now than as an error of the user's module


def apply_config_file(scope: Scope) -> None:
    """Turn the file of ``--config`` into variables. Raises ``ConfigError`` for what does not fit in it."""
    if scope.config is None:
        return
    config, origins = load({}, environment={}, file=scope.config)
    for field in dataclasses.fields(config):
        if origins[field.name] != "default":
            os.environ.setdefault(f"TASKBUS_{field.name.upper()}", _as_variable(getattr(config, field.name)))


def _as_variable(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, tuple) else str(value)
