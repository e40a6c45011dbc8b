"""What a worker says when it is asked about itself: the replies of Celery 5.7's inspect commands.

Each function is given the worker and the command's arguments by name, and returns what is sent back. Source of names
and shapes: celery/worker/control.py, as its replies were seen. What only Celery has is answered as empty.
"""

import dataclasses
import platform
import resource
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from taskbus import __version__
from taskbus.database.urls import redacted
from taskbus.monitor.wording import call_of, plain, shortened
from taskbus.worker.realm import Active, Realm
from taskbus.worker.settlement import Held

Reply = Any
RUSAGE = (
    "utime", "stime", "maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt",
    "nswap", "inblock", "oublock", "msgsnd", "msgrcv", "nsignals", "nvcsw", "nivcsw",
)  # fmt: skip
TASK_ITEMS = ("exchange", "routing_key", "rate_limit")
_samples: list[str] = []


def ping(realm: Realm, **_: Any) -> Reply:
    return {"ok": "pong"}


def report(realm: Realm, **_: Any) -> Reply:
    """What to put into a report about a fault."""
    software = f"software -> taskbus:{__version__} py:{platform.python_version()}"
    system = (
        f"platform -> system:{platform.system()} machine:{platform.machine()} imp:{platform.python_implementation()}"
    )
    settings = "\n".join(f"{name}: {value!r}" for name, value in conf(realm).items())
    return {"ok": f"\n{software}\n{system}\n\n{settings}\n"}


def conf(realm: Realm, **_: Any) -> Reply:
    """The settings, without passwords; those that Celery has too also under its names."""
    info = realm.info
    ours = {**dataclasses.asdict(realm.config), "broker": info.broker, "results": info.results}
    ours["spool"] = redacted(realm.config.spool)
    theirs = {
        "broker_url": info.broker,
        "result_backend": info.results,
        "task_default_queue": realm.config.default_queue,
        "task_serializer": realm.config.serializer,
        "result_expires": realm.config.result_ttl,
        "worker_concurrency": realm.slots,
        "worker_pool": info.pool,
    }
    return plain({**theirs, **ours})


def registered(realm: Realm, taskinfoitems: Sequence[str] | None = None, builtins: bool = False, **_: Any) -> Reply:
    """The tasks it knows, each with those of these attributes that it has."""
    items = [item for item in taskinfoitems or TASK_ITEMS if isinstance(item, str) and not item.startswith("_")]
    names = sorted(name for name in realm.specs if builtins or not name.startswith("celery."))
    return [_with_items(realm, name, items) for name in names]


def _with_items(realm: Realm, name: str, items: Iterable[str]) -> str:
    limit = realm.standing.limits.get(name)
    known = {**dataclasses.asdict(realm.specs[name]), "rate_limit": limit and limit.text}
    found = [f"{item}={known[item]}" for item in items if known.get(item) is not None]
    return f"{name} [{' '.join(found)}]" if found else name


def query_task(realm: Realm, ids: str | Sequence[str], **_: Any) -> Reply:
    """Where these tasks are, of those that are here."""
    wanted = {ids} if isinstance(ids, str) else set(ids)
    found = {_id(each): ["reserved", request(realm, each)] for each in realm.reserved() if _id(each) in wanted}
    running = [active for active in realm.active() if _id(active.held) in wanted]
    return found | {_id(active.held): ["active", request(realm, active.held, active)] for active in running}


def active(realm: Realm, safe: bool | None = False, **_: Any) -> Reply:
    """What it runs."""
    return [request(realm, active.held, active, is_safe=bool(safe)) for active in realm.active()]


def reserved(realm: Realm, **_: Any) -> Reply:
    """What it holds and does not run yet."""
    return [request(realm, held) for held in realm.reserved()]


def scheduled(realm: Realm, **_: Any) -> Reply:
    """Always empty: what is not due waits in the broker, where it outlives every worker."""
    return []


def revoked(realm: Realm, **_: Any) -> Reply:
    """The ids of tasks that it will not run."""
    return list(realm.standing.revoked)


def stats(realm: Realm, **_: Any) -> Reply:
    """Counts, pool and use of the machine; ``clock`` and ``broker`` are added where they are known."""
    running = list(realm.active())
    used = resource.getrusage(resource.RUSAGE_SELF)
    held = sum(len(runner.held) for runner in realm.runners())
    return {
        "total": dict(realm.totals + _count(running)),
        "pid": realm.info.pid,
        "uptime": round(time.monotonic() - realm.started_at),
        "pool": _pool(realm),
        "prefetch_count": max(realm.slots, held),
        "rusage": {name: getattr(used, f"ru_{name}") for name in RUSAGE},
        "telemetry": {"is_on": realm.telemetry.is_on, "dropped": realm.telemetry.dropped},
    }


def _count(running: Sequence[Active]) -> Counter[str]:
    return Counter(_name(active.held) for active in running)


def _pool(realm: Realm) -> dict[str, Any]:
    runners = realm.runners()
    ended = sum(realm.totals.values())
    return {
        "implementation": f"taskbus.worker.crew:{realm.info.pool}",
        "max-concurrency": realm.slots,
        "processes": [runner.pid or realm.info.pid for runner in runners],
        "threads": realm.config.threads,
        "coroutines": realm.config.coroutines,
        "max-tasks-per-child": realm.config.max_tasks_per_runner or "N/A",
        "put-guarded-by-semaphore": False,
        "timeouts": [0, 0],
        "writes": {
            "total": ended,
            "avg": "N/A",
            "all": "",
            "raw": "",
            "strategy": "idlest",
            "inqueues": {"total": 0, "active": 0},
        },
    }


def active_queues(realm: Realm, **_: Any) -> Reply:
    """The queues it consumes, as Celery describes a queue of kombu."""
    return [_queue(name) for name in realm.consumer.queues]


def _queue(name: str) -> dict[str, Any]:
    exchange = {
        "name": "", "type": "direct", "arguments": None, "durable": True, "passive": False, "auto_delete": False,
        "delivery_mode": None, "no_declare": False,
    }  # fmt: skip
    return {
        "name": name, "exchange": exchange, "routing_key": name, "queue_arguments": None, "binding_arguments": None,
        "consumer_arguments": None, "durable": True, "exclusive": False, "auto_delete": False, "no_ack": False,
        "alias": None, "bindings": [], "no_declare": None, "expires": None, "message_ttl": None, "max_length": None,
        "max_length_bytes": None, "max_priority": None,
    }  # fmt: skip


def memsample(realm: Realm, **_: Any) -> Reply:
    """Memory of the supervisor, as a text; None where it cannot be known."""
    sample = _resident()
    if sample:
        _samples.append(f"{len(_samples)}: {sample}")
    return sample


def memdump(realm: Realm, samples: int = 10, **_: Any) -> Reply:
    """The latest samples, and the memory now."""
    lines = ["- rss (sample):", *(f"-    > {sample}," for sample in _samples[-samples:])] if _samples else []
    return "\n".join([*lines, f"- rss (end): {_resident()}."]) + "\n"


def objgraph(realm: Realm, **_: Any) -> Reply:
    """Needs a library that TaskBus does not bring; answered as a Celery without it."""
    raise ImportError("Requires the objgraph library")


def request(realm: Realm, held: Held, running: Active | None = None, *, is_safe: bool = False) -> dict[str, Any]:
    """A task as Celery describes a request. ``is_safe``: arguments as texts."""
    message: Any = held.message
    args, kwargs = call_of(message)
    where = {"exchange": "", "routing_key": held.delivery.queue, "priority": message.priority}
    return {
        "id": message.id,
        "name": message.task,
        "args": shortened(repr(args)) if is_safe else plain(args),
        "kwargs": shortened(repr(kwargs)) if is_safe else plain(kwargs),
        "type": message.task,
        "hostname": realm.node,
        "time_start": running.since if running else None,
        "acknowledged": held.is_acked,
        "delivery_info": {**where, "redelivered": bool(held.delivery.losses or held.delivery.crashes)},
        "worker_pid": (running.runner.pid or realm.info.pid) if running else None,
    }


def _id(held: Held) -> str:
    return held.message.id if held.message else ""


def _name(held: Held) -> str:
    return held.message.task if held.message else ""


def _resident() -> str | None:
    try:
        with open("/proc/self/statm") as statm:
            return f"{int(statm.read().split()[1]) * resource.getpagesize() / (1 << 20):.2f}MB"
    except (OSError, ValueError, IndexError):
        return None
