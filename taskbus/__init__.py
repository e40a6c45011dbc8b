"""TaskBus: tasks on queues that lose nothing.

What is public is what ``__all__`` lists. The names are loaded when they are first used, so that ``taskbus --help`` does
not pay for a broker; ``__init__.pyi`` says the same to type checkers, and a test keeps the two equal.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "AsyncResult": "taskbus.store.results",
    "BadArguments": "taskbus.errors",
    "Config": "taskbus.config",
    "ConfigError": "taskbus.errors",
    "Context": "taskbus.context",
    "EncodeError": "taskbus.errors",
    "FailedTask": "taskbus.workflow.failed",
    "FlowFailed": "taskbus.errors",
    "GroupResult": "taskbus.workflow.results",
    "Middleware": "taskbus.middleware",
    "PayloadTooLarge": "taskbus.errors",
    "Progress": "taskbus.context",
    "PublishFailed": "taskbus.errors",
    "PublishUnknown": "taskbus.errors",
    "Reject": "taskbus.errors",
    "RemoteError": "taskbus.errors",
    "ResultError": "taskbus.errors",
    "ResultTimeout": "taskbus.errors",
    "RetryPolicy": "taskbus.retry",
    "Signature": "taskbus.workflow.signature",
    "SoftTimeLimitExceeded": "taskbus.errors",
    "SpoolFailed": "taskbus.errors",
    "State": "taskbus.outcome",
    "Task": "taskbus.task",
    "TaskBus": "taskbus.app",
    "TaskBusError": "taskbus.errors",
    "TaskExpired": "taskbus.errors",
    "TaskTimedOut": "taskbus.errors",
    "TimeLimitExceeded": "taskbus.errors",
    "any_of": "taskbus.schedule.timetable",
    "as_completed": "taskbus.store.results",
    "at": "taskbus.schedule.timetable",
    "chain": "taskbus.workflow.words",
    "chord": "taskbus.workflow.words",
    "cron": "taskbus.schedule.cron",
    "every": "taskbus.schedule.timetable",
    "group": "taskbus.workflow.words",
    "solar": "taskbus.schedule.solar",
    "task": "taskbus.decorator",
}

__all__ = [*sorted(_HOME), "__version__"]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'taskbus' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class Package(ModuleType):
    """Keeps ``taskbus.task`` the decorator: the import system sets a submodule as an attribute of its package."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = Package
