"""What becomes of an application of Celery's: reads its settings, tasks, schedule and signals; changes nothing.

Celery is the user's. It is imported here by importing the user's module, and by nothing else.
"""

import importlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taskbus.celery_settings import Verdict, celery_settings, is_default
from taskbus.cli.exits import USAGE, CommandFailed
from taskbus.cli.migrate_words import ALWAYS, HABITS, HOOKS, SIGNALS, TASK_OPTIONS
from taskbus.database.urls import redacted

MARKS_OF_CELERY = ("celery", "kombu", "vine", "taskbus_celery")
_SECRET = ("password", "key", "token", "secret")


@dataclass(frozen=True, slots=True)
class Port:
    """One thing that an application says, and what becomes of it.

    ``kind``: "habit", "setting", "task", "schedule" or "signal". ``of``: the task or the entry that says it, "" where
    the whole does. ``value`` is text, without secrets.
    """

    kind: str
    of: str
    name: str
    value: str
    verdict: Verdict
    becomes: str
    words: str


def load_celery(path: str) -> Any:
    """The ``Celery`` at ``module:app``, or the only one in ``module`` or ``module.celery``, with all its tasks.

    Raises ``CommandFailed`` that says what is there instead.
    """
    module_name, _, name = path.partition(":")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = _import(module_name)
    found = getattr(module, name, None) if name else _only_app(module)
    if found is None and not name and hasattr(module, "__path__"):
        try:
            found = _only_app(importlib.import_module(f"{module_name}.celery"))
        except ModuleNotFoundError as error:
            if error.name != f"{module_name}.celery":
                raise
    if found is None or not _is_celery(found):
        what = f"{name!r} is a {type(found).__name__}" if found is not None else f"no {name or 'Celery'} there"
        raise CommandFailed(
            f"{path}: {what}; name the Celery application as module:app, such as shop.celery:app", USAGE
        )
    found.finalize()
    found.loader.import_default_modules()
    return found


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] in MARKS_OF_CELERY:
            advice = "run this where your Celery code runs: pip install taskbus in its environment"
            raise CommandFailed(f"{name} needs {error.name}, which is not installed here; {advice}", USAGE) from None
        advice = "run this in the folder that holds it"
        raise CommandFailed(f"{name} cannot be imported: {error}; {advice}", USAGE) from error
    except Exception as error:
        raise CommandFailed(f"{name} cannot be imported: {type(error).__name__}: {error}", USAGE) from error


def _only_app(module: Any) -> Any:
    apps = {id(value): value for value in list(vars(module).values()) if _is_celery(value)}
    return next(iter(apps.values())) if len(apps) == 1 else None


def _is_celery(value: Any) -> bool:
    return any(f"{kind.__module__}.{kind.__name__}" == "celery.app.base.Celery" for kind in type(value).__mro__)


def ports(app: Any) -> list[Port]:
    """Everything that the application says, in an order to be read."""
    habits = [Port("habit", "", name, "always", Verdict.DIFFERS, "", HABITS[name]) for name in ALWAYS]
    return [*habits, *_settings(app), *_tasks(app), *_schedule(app), *_signals()]


# --- settings ------------------------------------------------------------------------------------------------------


_FOLLOW = {
    "task_default_exchange": "task_default_queue",
    "task_default_routing_key": "task_default_queue",
    "broker_read_url": "broker_url",
    "broker_write_url": "broker_url",
}
"""Settings that are as another one where nothing is said."""
_USUAL = "celery.backend_cleanup"
"""A task of Celery's own: what it says, every task does."""


def given_settings(app: Any) -> dict[str, Any]:
    """The settings that have another value than Celery's default."""
    found = {}
    for name, setting in celery_settings().items():
        value = getattr(app.conf, name, None)
        default = app.conf[_FOLLOW[name]] if name in _FOLLOW else setting.default
        if not is_default(value, default):
            found[name] = value
    return found


def _settings(app: Any) -> Iterator[Port]:
    for name, value in given_settings(app).items():
        setting = celery_settings()[name]
        yield Port("setting", "", name, shown(name, value), setting.verdict, setting.becomes, setting.words)


def shown(name: str, value: Any) -> str:
    """A value as text of a bounded size, without what must not be shown."""
    if isinstance(value, str) and "://" in value:
        return redacted(value)
    if any(word in name for word in _SECRET) and isinstance(value, str):
        return "********"
    text = repr(value)
    if len(text) <= 60:
        return text
    return f"{len(value)} entries" if isinstance(value, Mapping | list | tuple) else f"{text[:57]}..."


# --- tasks ---------------------------------------------------------------------------------------------------------


def users_tasks(app: Any) -> list[Any]:
    """The tasks of the application's own, by name."""
    return [task for name, task in sorted(app.tasks.items()) if not name.startswith("celery.")]


def said(app: Any, task: Any) -> dict[str, Any]:
    """What a task's decorator or class says that neither Celery nor the settings say for every task."""
    found, usual = {}, app.tasks[_USUAL]
    for option in TASK_OPTIONS.keys() - {"bind", "base", "name"}:
        value = getattr(task, option, None)
        if value not in (None, (), getattr(usual, option, None)):
            found[option] = value
    if _is_bound(task):
        found["bind"] = True
    hooks = overridden(task)
    if hooks:
        found["base"] = ", ".join(hooks)
    return {option: found[option] for option in TASK_OPTIONS if option in found}


def _is_bound(task: Any) -> bool:
    return not isinstance(vars(type(task)).get("run"), staticmethod)


def overridden(task: Any) -> list[str]:
    """The hooks that a class of the user's overrides."""
    return [
        hook
        for hook in HOOKS
        if (owner := next((kind for kind in type(task).__mro__ if hook in vars(kind)), None)) is not None
        and not owner.__module__.startswith("celery")
    ]


def _tasks(app: Any) -> Iterator[Port]:
    for task in users_tasks(app):
        for option, value in said(app, task).items():
            verdict, words = TASK_OPTIONS[option]
            yield Port("task", task.name, option, shown(option, value), verdict, "", words)
        if not task.acks_late:
            yield Port("task", task.name, "acks", "early", Verdict.DIFFERS, "", HABITS["early acks"])
        if not getattr(task, "autoretry_for", ()):
            yield Port("task", task.name, "retry", "not by itself", Verdict.DIFFERS, "", HABITS["retries"])


# --- schedule and signals --------------------------------------------------------------------------------------------


def _schedule(app: Any) -> Iterator[Port]:
    setting = celery_settings()["beat_schedule"]
    for name, entry in dict(app.conf.beat_schedule or {}).items():
        when = entry.get("schedule")
        kind = type(when).__name__
        words = setting.words
        if kind == "crontab" and when._orig_day_of_week != "*" and when._orig_day_of_month != "*":
            words = "for Celery the day of the week and of the month must both fit, for cron either: write two entries"
        yield Port("schedule", name, kind, str(when), Verdict.DIFFERS, "", words)


def _signals() -> Iterator[Port]:
    module = sys.modules.get("celery.signals")
    for name, words in SIGNALS.items():
        receivers = [_name_of(receiver) for receiver in _receivers(getattr(module, name, None))]
        users = [each for each in receivers if each.partition(".")[0] not in MARKS_OF_CELERY]
        if users:
            yield Port("signal", "", name, ", ".join(users), words.verdict, "", words.words)


def _receivers(signal: Any) -> Sequence[Any]:
    found = []
    for _, receiver in getattr(signal, "receivers", None) or ():
        is_reference = type(receiver).__name__ in ("weakref", "ReferenceType", "WeakMethod", "BoundMethodWeakref")
        found.append(receiver() if is_reference else receiver)
    return [each for each in found if each is not None]


def _name_of(receiver: Any) -> str:
    inner = getattr(receiver, "__wrapped__", receiver)
    module = getattr(inner, "__module__", type(inner).__module__)
    return f"{module}.{getattr(inner, '__qualname__', type(inner).__name__)}"
