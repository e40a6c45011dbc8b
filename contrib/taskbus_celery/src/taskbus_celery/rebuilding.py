"""From a failure as TaskBus keeps it to an exception of the class that was raised."""

import builtins
import sys
from ast import literal_eval
from typing import Any

from taskbus_celery.exceptions import NotRegistered, TaskRevokedError, TimeLimitExceeded, WorkerLostError

_RENAMED: dict[str, type[BaseException]] = {
    "taskbus.errors.TimeLimitExceeded": TimeLimitExceeded,
    "taskbus.errors.TaskTimedOut": TimeLimitExceeded,
    "taskbus.errors.TaskRevoked": TaskRevokedError,
    "taskbus.errors.TaskExpired": TaskRevokedError,
    "taskbus.errors.UnknownTask": NotRegistered,
    "taskbus.worker.RunnerDied": WorkerLostError,
    "taskbus.worker.WorkerDied": WorkerLostError,
}


def exception_of(failure: Any) -> BaseException:
    """The exception itself, made of its message; of a class that no module here has, one that is made for it."""
    kind = _RENAMED.get(failure.type) or _class_of(failure.type)
    if kind is None:
        module, _, name = failure.type.rpartition(".")
        kind = type(name, (Exception,), {"__module__": module})
    argument: Any = failure.message
    if issubclass(kind, KeyError):  # whose text is the repr of what was not there
        try:
            argument = literal_eval(failure.message)
        except (ValueError, SyntaxError):
            pass
    try:
        made = kind(argument) if failure.message else kind()
    except Exception:  # noqa: BLE001 - a constructor of the user's, that wants something else
        made = kind.__new__(kind)
        made.args = (failure.message,)
    return made


def _class_of(path: str) -> type[BaseException] | None:
    """The exception class of that name, in a module that was imported here; never imports one."""
    module, _, name = path.rpartition(".")
    if module in ("", "builtins"):
        found = getattr(builtins, name, None)
    else:
        while module and module not in sys.modules:
            module, _, outer = module.rpartition(".")
            name = f"{outer}.{name}"
        found = sys.modules.get(module)
        for part in name.split("."):
            found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, BaseException) else None
