"""From ``module:name`` to the ``TaskBus`` it means: the one place that imports user code, and says what went wrong."""

import dataclasses
import difflib
import importlib
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from taskbus import TaskBus
from taskbus.errors import AppNotFound
from taskbus.worker.runner.celery_tasks import answer_to


def load_app(path: str) -> TaskBus:
    """The application at ``module:name``, ready to work; ``module`` alone will do where that module holds just one.

    The working folder is looked into first, as by ``python -m``. Raises ``AppNotFound`` that says what is there
    instead; its cause is what the module itself raised, if it did.
    """
    app = _load_app(path)
    answer_to(app)
    return app


def _load_app(path: str) -> TaskBus:
    module_name, _, name = path.partition(":")
    if not module_name:
        raise AppNotFound(f"-A {path!r} names no module; write it as module:name, such as -A shop:app")
    if not all(part.isidentifier() for part in module_name.split(".")):
        near = _as_module(module_name) + path[len(module_name) :]
        raise AppNotFound(f"-A {path}: {module_name!r} is no name of a module; did you mean -A {near}?")
    module = _import(module_name)
    apps = {key: app for key, value in list(vars(module).items()) if (app := application_of(value)) is not None}
    if name:
        return _named(module, name, apps)
    if len({id(app) for app in apps.values()}) == 1:
        return next(iter(apps.values()))
    if apps:
        raise AppNotFound(f"-A {path}: that module holds several; say which: {_listed(module_name, apps)}")
    raise AppNotFound(f"-A {path}: {module.__file__} holds no TaskBus; make one there: app = TaskBus({module_name!r})")


def application_of(value: Any) -> TaskBus | None:
    """The ``TaskBus`` that ``value`` is or stands for; None if it is none.

    Objects of other packages stand for one by a method ``__taskbus__`` that returns it.
    """
    if isinstance(value, TaskBus):
        return value
    stands_for = getattr(type(value), "__taskbus__", None)
    return None if stands_for is None else stands_for(value)


def _as_module(path: str) -> str:
    """The name that a module's path most likely means, seen from the working folder."""
    found, folder = Path(path.removesuffix(".py")), Path.cwd()
    if found.is_absolute():
        found = found.relative_to(folder) if found.is_relative_to(folder) else Path(found.name)
    parts = [part for word in found.parts for part in word.split(".") if part]
    return ".".join(re.sub(r"\W", "_", part) for part in parts) or "module"


def hello(app: TaskBus) -> dict[str, Any]:
    """What the supervisor is told of an application, which it never imports; see ``protocol``."""
    return {
        "app": app.name,
        "config": dataclasses.asdict(app.config),
        "broker": app.broker_url,
        "results": app.results_url,
        "schedules": app.schedules.packed(),
        "tasks": {
            name: {
                "is_async": task.is_async,
                "time_limit": task.time_limit,
                "at_most_once": task.at_most_once,
                "queue": task.queue,
                "store_results": task.store_results,
                "result_ttl": task.result_ttl,
                "takes": task.arguments.takes,
                "parameters": task.arguments.positional,
            }
            for name, task in app.tasks.items()
        },
    }


def _named(module: ModuleType, name: str, apps: dict[str, TaskBus]) -> TaskBus:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    app = application_of(found)
    if app is not None:
        return app
    if found is None:
        near = difflib.get_close_matches(name, apps, n=1)
        hint = f"; did you mean -A {module.__name__}:{near[0]}?" if near else ""
        problem = f"{module.__file__} has no {name!r}{hint}"
    else:
        problem = f"{name!r} in {module.__file__} is not a TaskBus but a {type(found).__name__}"
    raise AppNotFound(f"-A {module.__name__}:{name}: {problem}; it has {_listed(module.__name__, apps)}")


def _listed(module: str, apps: dict[str, TaskBus]) -> str:
    return ", ".join(f"-A {module}:{name}" for name in apps) or "no TaskBus at all"


def _import(name: str) -> ModuleType:
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise AppNotFound(_no_module(name, folder)) from None
        raise AppNotFound(_raised(name, error)) from error
    except (Exception, SystemExit) as error:
        raise AppNotFound(_raised(name, error)) from error


def _raised(name: str, error: BaseException) -> str:
    return f"-A {name}: importing it raised {type(error).__name__}: {error}"


def _no_module(name: str, folder: str) -> str:
    near = difflib.get_close_matches(name, [file.stem for file in Path(folder).glob("*.py")], n=1)
    hint = f"did you mean -A {near[0]}?" if near else "run this in the folder that holds it, or install it"
    return f"-A {name}: there is no module {name!r}, neither in {folder} nor installed; {hint}"
