"""Which queues a worker consumes, and which of them it shares with Celery."""

from collections.abc import Mapping
from typing import Any

from taskbus.config import Config
from taskbus.message import CELERY_FLOWS
from taskbus.worker.options import TaskSpec


def config_of(told: Mapping[str, Any]) -> Config:
    """Settings as they came over a socket, which knows lists alone.

    A worker that shares queues with Celery shares one more, by which workflows go from one to the other.
    """
    redact = tuple(told["redact"])
    shared = (*told["celery_queues"], CELERY_FLOWS) if told["celery_queues"] else ()
    return Config(**{**told, "queues": tuple(told["queues"]), "celery_queues": shared, "redact": redact})


def queues_of(config: Config, specs: Mapping[str, TaskSpec]) -> tuple[str, ...]:
    """The queues that a worker consumes; ``config`` is from ``config_of``."""
    own = config.queues or (config.default_queue, *(spec.queue for spec in specs.values()))
    return tuple(dict.fromkeys((*own, CELERY_FLOWS) if config.celery_queues else own))
