"""When Celery's signals about workers are sent: around the life of a worker, and of each of its runners.

Handlers of ``celeryd_init``, ``worker_init``, ``worker_ready`` and ``worker_shutdown`` run in the process that imports
the application and forks the runners, those of ``worker_process_init`` and ``worker_process_shutdown`` in each runner.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from taskbus import Middleware
from taskbus_celery import signals
from taskbus_celery.request import HOSTNAME
from taskbus_celery.utils.log import task_logger


class WorkerHere(NamedTuple):
    """Stands for the worker where a signal has one as its sender."""

    app: Any
    hostname: str
    pid: int


class Lives(Middleware):
    """Sends the signals of one app."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._has_logging = False

    @contextmanager
    def working(self) -> Iterator[None]:
        worker = WorkerHere(self._app, HOSTNAME, os.getpid())
        self._set_up_logging()
        about = {"instance": worker, "conf": self._app.conf}
        signals.celeryd_init.send(sender=HOSTNAME, **about, options={})
        signals.celeryd_after_setup.send(sender=HOSTNAME, **about)
        signals.worker_init.send(sender=worker)
        signals.worker_ready.send(sender=worker)
        yield
        signals.worker_shutdown.send(sender=worker)

    @contextmanager
    def serving(self) -> Iterator[None]:
        self._set_up_logging()
        signals.worker_process_init.send(sender=None)
        yield
        signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=0)

    def _set_up_logging(self) -> None:
        """Once: a forked runner has it from the process that it was forked from."""
        if self._has_logging:
            return
        self._has_logging = True
        about = {"loglevel": logging.getLogger().level, "logfile": None, "format": None, "colorize": None}
        signals.setup_logging.send(sender=None, **about)
        signals.after_setup_logger.send(sender=None, logger=logging.getLogger(), **about)
        signals.after_setup_task_logger.send(sender=None, logger=task_logger, **about)
