"""The application and its tasks."""

from typing import Any

from taskbus_celery import state
from taskbus_celery.app.base import Celery
from taskbus_celery.app.task import Task

__all__ = ["Celery", "Task", "app_or_default", "shared_task"]


def shared_task(*args: Any, **options: Any) -> Any:
    """Make a task of every app there is and will be; called, it is that of the current one."""

    def share(function: Any) -> Any:
        def add(app: Any) -> Any:
            return app.task_of(function, **options)

        state.shared.append(add)
        for app in state.apps:
            add(app)
        name = options.get("name")

        def find() -> Any:
            app = state.get_current_app()
            return app.tasks[name or app.gen_task_name(function.__name__, function.__module__)]

        return state.Proxy(find)

    return share(args[0]) if len(args) == 1 and callable(args[0]) else share


def app_or_default(app: Any = None) -> Any:
    """The app given, or the current one."""
    return state.get_current_app() if app is None else app
