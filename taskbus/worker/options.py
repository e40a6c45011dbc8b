"""What ``taskbus worker`` was asked for, and what it comes to once the app's own settings are known."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from taskbus.config import Config
from taskbus.errors import ConfigError

POOLS = ("prefork", "threads", "asyncio", "solo")


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """A worker's command line. None and empty mean: as the app's ``Config`` says.

    ``pool`` and ``concurrency`` are a short way to say ``processes``, ``threads`` and ``coroutines``. ``overrides`` are
    settings of ``Config`` by name, stronger than what the app's code says. ``beat``: run one in this process too.
    """

    app: str
    queues: tuple[str, ...] = ()
    pool: str = "prefork"
    concurrency: int | None = None
    processes: int | None = None
    threads: int | None = None
    coroutines: int | None = None
    max_tasks_per_runner: int | None = None
    max_memory_per_runner: int | None = None
    grace: float | None = None
    lease: float | None = None
    telemetry: bool | None = None
    http: str | None = None
    name: str = ""
    beat: bool = False
    log_level: str = "INFO"
    log_format: str = "text"
    overrides: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.pool not in POOLS:
            raise ConfigError(f"pool {self.pool!r} is not one of {', '.join(POOLS)}")
        if self.concurrency is not None and self.concurrency < 1:
            raise ConfigError(f"concurrency {self.concurrency!r} must be at least 1")

    def settings(self) -> dict[str, Any]:
        """The settings this command line sets, to be merged over everything the app says."""
        slots = _preset(self.pool, self.concurrency)
        named = {
            "queues": list(self.queues) or None,
            "processes": self.processes,
            "threads": self.threads,
            "coroutines": self.coroutines,
            "max_tasks_per_runner": self.max_tasks_per_runner,
            "max_memory_per_runner": self.max_memory_per_runner,
            "grace": self.grace,
            "lease": self.lease,
            "telemetry": self.telemetry or None,
            "http": self.http,
        }
        return {**slots, **{name: value for name, value in named.items() if value is not None}, **self.overrides}


def _preset(pool: str, concurrency: int | None) -> dict[str, int]:
    """Celery's ``-P`` and ``-c`` as numbers of processes, threads and coroutines."""
    match pool:
        case "threads":
            return {"processes": 1, "threads": concurrency or 4 * cpus()}
        case "asyncio":
            return {"processes": 1, "threads": 0, "coroutines": concurrency or 100}
        case _:
            return {} if concurrency is None else {"processes": concurrency, "threads": 0}


def cpus() -> int:
    """CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes(config: Config) -> int:
    """How many runners a worker with these settings starts."""
    return config.processes or cpus()


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What the supervisor knows of a task, which it never imports."""

    is_async: bool = False
    time_limit: float | None = None
    at_most_once: bool = False
    queue: str = "default"
    store_results: bool = True
    result_ttl: float = 86_400.0
    takes: int = 0
    """How many positional arguments a caller may give."""
    parameters: tuple[str, ...] = ()
    """The names of the positional ones, in their order; what more there may be has none."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What runs, for the banner."""

    app: str
    name: str
    pid: int
    broker: str
    results: str
    is_shared: bool
    pool: str
    processes: int
    threads: int
    coroutines: int
    queues: tuple[str, ...]
    tasks: Mapping[str, TaskSpec]
    lease: float
    grace: float
    started_in: float
