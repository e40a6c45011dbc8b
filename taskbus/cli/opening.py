"""From the shared options to a ``TaskBus``: the user's own with ``-A``, else one that knows only URLs."""

import dataclasses
import difflib
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

from taskbus.app import TaskBus
from taskbus.cli.exits import USAGE, CommandFailed
from taskbus.cli.options import Scope
from taskbus.config import OVERRIDES, load
from taskbus.errors import AppNotFound, TaskBusError


def open_app(scope: Scope) -> TaskBus:
    """The user's application, with the flags over its own settings; fails without ``-A``."""
    apply_flags(scope)
    if not scope.app:
        raise CommandFailed("this needs your application: give -A module:app, or set TASKBUS_APP", USAGE)
    return find_app(scope.app)


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


def apply_config_file(scope: Scope) -> None:
    """Turn the file of ``--config`` into variables. Raises ``ConfigError`` for what does not fit in it."""
    if scope.config is None:
        return
    config, origins = load({}, environment={}, file=scope.config)
    for field in dataclasses.fields(config):
        if origins[field.name] != "default":
            os.environ.setdefault(f"TASKBUS_{field.name.upper()}", _as_variable(getattr(config, field.name)))


def find_app(path: str) -> TaskBus:
    """The ``TaskBus`` at ``module:name``; ``module`` alone will do where that module holds just one.

    Raises ``AppNotFound`` that says what is there instead; its cause is what the module itself raised, if it did.
    """
    module_name, _, attribute = path.partition(":")
    module = _import(module_name)
    here = {name: value for name, value in vars(module).items() if isinstance(value, TaskBus)}
    if attribute:
        found = here.get(attribute, getattr(module, attribute, None))
        if isinstance(found, TaskBus):
            return found
        near = difflib.get_close_matches(attribute, here, n=1) or list(here)
        hint = f"; did you mean -A {module_name}:{near[0]}?" if near else "; no TaskBus is there at all"
        raise AppNotFound(f"-A {path}: {attribute!r} in {module.__file__} is not a TaskBus{hint}")
    if len(set(map(id, here.values()))) == 1:
        return next(iter(here.values()))
    raise AppNotFound(f"-A {path}: say which, as module:name; {module.__file__} has {', '.join(here) or 'no TaskBus'}")


def _import(name: str) -> ModuleType:
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return import_module(name)
    except TaskBusError:
        raise
    except Exception as error:  # a user's module may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise AppNotFound(_no_module(name, folder)) from None
        raise AppNotFound(f"-A {name}: importing it raised {type(error).__name__}: {error}") from error


def _no_module(name: str, folder: str) -> str:
    near = difflib.get_close_matches(name, [file.stem for file in Path(folder).glob("*.py")], n=1)
    hint = f"did you mean {near[0]!r}?" if near else "run it in the folder that holds it"
    return f"-A {name}: no module {name!r} in {folder} or installed; {hint}"


def _as_variable(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, tuple) else str(value)
