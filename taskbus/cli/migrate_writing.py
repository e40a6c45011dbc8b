"""What to write in TaskBus for an application of Celery's: its settings as TOML, and the options of its tasks."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from taskbus.cli.migrate_celery import given_settings, said, users_tasks
from taskbus.database.urls import redacted

_DIRECT = {
    "worker_concurrency": "processes",
    "worker_max_tasks_per_child": "max_tasks_per_runner",
    "worker_soft_shutdown_timeout": "grace",
    "result_expires": "result_ttl",
    "result_chord_expires": "flow_ttl",
}
_KILOBYTE = 1024
_NO_STORE = ("rpc", "amqp", "disabled")
_SHARED_BROKERS = ("redis", "rediss", "sentinel", "amqp", "amqps", "pyamqp")
_SHARED_RESULTS = ("redis", "rediss", "sentinel")


def settings_to_write(app: Any) -> dict[str, Any]:
    """The settings of TaskBus, by name; ``***`` stands for passwords."""
    given = given_settings(app)
    made: dict[str, Any] = {}
    broker = app.conf.broker_url
    if broker:
        made["broker"] = redacted(_first(broker))
    results = app.conf.result_backend
    if results and str(results).partition(":")[0] not in _NO_STORE:
        made["results"] = redacted(str(results).removeprefix("db+"))
    made["default_queue"] = app.conf.task_default_queue
    if app.conf.task_queues:
        made["queues"] = [each if isinstance(each, str) else each.name for each in app.conf.task_queues]
    if app.conf.task_serializer == "json":
        made["serializer"] = "json"
    if given.get("task_ignore_result") or str(results).startswith("disabled"):
        made["store_results"] = False
    for name, ours in _DIRECT.items():
        if name in given:
            made[ours] = _number(given[name])
    if "worker_max_memory_per_child" in given:
        made["max_memory_per_runner"] = given["worker_max_memory_per_child"] * _KILOBYTE
    if given.get("worker_send_task_events"):
        made["telemetry"] = True
    if given.get("task_send_sent_event"):
        made["telemetry_sent"] = True
    if given.get("worker_enable_remote_control") is False:
        made["remote_control"] = "off"
    if given.get("worker_pool_start_method") == "spawn":
        made["start_method"] = "spawn"
    return made


def toml(settings: Mapping[str, Any]) -> str:
    """Settings as ``taskbus.toml`` holds them."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())


def sharing_to_write(app: Any) -> str:
    """The settings under which both fleets share queues and results, each behind a ``#``; "" where they cannot."""
    broker, results = app.conf.broker_url, str(app.conf.result_backend or "")
    if not broker or _first(broker).partition(":")[0].partition("+")[0] not in _SHARED_BROKERS:
        return ""
    decided = (_decided(app, task) for task in users_tasks(app))
    queues = [app.conf.task_default_queue, *(app.conf.task_queues or ()), *(queue for queue in decided if queue)]
    shared: dict[str, Any] = {"celery_queues": list(dict.fromkeys(str(getattr(each, "name", each)) for each in queues))}
    if results.partition(":")[0] in _SHARED_RESULTS or results.startswith("db+"):
        shared["celery_results"] = redacted(results)
    lines = ["", "while Celery's workers or producers are left:", *toml(shared).splitlines()]
    return "".join(f"# {line}".rstrip() + "\n" if line else "\n" for line in lines)


def options_to_write(app: Any) -> dict[str, str]:
    """By the name of each task, the decorator that it is to have."""
    return {task.name: _decorator(app, task) for task in users_tasks(app)}


def _decorator(app: Any, task: Any) -> str:
    told = said(app, task)
    words = []
    if task.name != f"{task.__module__}.{task.__name__}":
        words.append(f"name={task.name!r}")
    queue = _decided(app, task)
    if queue is not None:
        words.append(f"queue={str(getattr(queue, 'name', queue))!r}")
    words += [f"{name}={getattr(task, name)!r}" for name in ("time_limit", "soft_time_limit") if getattr(task, name)]
    if told.get("priority") is not None:
        words.append(f"priority={told['priority']!r}")
    if task.ignore_result and not app.conf.task_ignore_result:
        words.append("store_results=False")
    if told.get("serializer") in ("json", "msgpack"):
        words.append(f"serializer={told['serializer']!r}")
    words.append(f"retry={_policy(task, told)}")
    return f"@app.task({', '.join(words)})"


def _decided(app: Any, task: Any) -> Any:
    """The queue of a task, as it says itself or by a route; None for the default one."""
    told = said(app, task)
    return told.get("queue") or told.get("routing_key") or _routed(app, task.name)


def _policy(task: Any, told: Mapping[str, Any]) -> str:
    """The policy of a task: of one that calls ``self.retry`` itself nothing but that can be seen."""
    autoretry = tuple(getattr(task, "autoretry_for", ()))
    if not autoretry and "bind" not in told:
        return "RetryPolicy.never()"
    most = dict(getattr(task, "retry_kwargs", {}) or {}).get("max_retries", task.max_retries)
    stop = "stop_never" if most is None else f"stop_after_attempt({most + 1})"
    parts = [f"stop={stop}", f"wait={_wait(task)}"]
    if autoretry and autoretry != (Exception,):
        names = ", ".join(kind.__name__ for kind in autoretry)
        parts.append(f"retry=retry_if_exception_type(({names},))")
    elif not autoretry:
        parts.append("retry=retry_if_exception_type(())")  # only where the task asks for it
    return f"RetryPolicy({', '.join(parts)})"


def _wait(task: Any) -> str:
    backoff = getattr(task, "retry_backoff", False)
    if not backoff:
        delay = dict(getattr(task, "retry_kwargs", {}) or {}).get("countdown", task.default_retry_delay)
        return f"wait_fixed({delay})"
    kind = "wait_random_exponential" if getattr(task, "retry_jitter", True) else "wait_exponential"
    return f"{kind}(multiplier={int(max(1, backoff))}, max={int(getattr(task, 'retry_backoff_max', 600))})"


def _routed(app: Any, name: str) -> Any:
    """The queue of a task by ``task_routes``, None for the default one; routes that look at arguments find none."""
    try:
        queue = app.amqp.router.route({}, name).get("queue")
    except Exception:  # noqa: BLE001 - a router of the user's, that wants a call
        return None
    found = getattr(queue, "name", queue)
    return None if found == app.conf.task_default_queue else found


def _first(broker: Any) -> str:
    return str(broker).split(";")[0] if isinstance(broker, str) else str(next(iter(broker)))


def _number(value: Any) -> float:
    found = value.total_seconds() if isinstance(value, timedelta) else value
    return int(found) if float(found).is_integer() else float(found)
