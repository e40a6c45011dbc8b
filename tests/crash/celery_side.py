"""Celery's side of a mixed fleet: a producer that notes every outcome, and the tasks of a Celery worker.

``python -m celery -A crash.celery_side worker`` serves ``hold``, which acknowledges early, as Celery does unless told
otherwise.
"""

import os
import time
import uuid
from typing import Any

from celery import Celery, Task
from kombu.exceptions import OperationalError

from .environment import BROKER, LEDGER
from .ledger import Ledger, now

LIMIT = 60.0
"""Seconds after which a task that waits for the harness gives up."""
PATIENCE = {"max_retries": 3, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5}
CONFIRMED = {"confirm_publish": True}
"""Without it Celery takes for sent what RabbitMQ has not said to have: what is lost by that is Celery's."""


def made(broker: str) -> Celery:
    """An application that publishes as carefully as Celery can."""
    app = Celery("celery_side", broker=broker, set_as_current=False)
    app.conf.broker_transport_options = CONFIRMED if broker.startswith("amqp") else {}
    app.conf.task_publish_retry_policy = PATIENCE
    app.conf.worker_prefetch_multiplier = 1
    return app


def send(app: Celery, ledger: Ledger, queue: str, task: str, id: str, *args: Any, **options: Any) -> None:
    """Send one task as Celery does, with the harness's id as its first argument, logging try and outcome."""
    lib = str(uuid.uuid4())
    countdown = options.get("countdown")
    eta = None if countdown is None else now() + countdown
    ledger.log("pub_try", id, lib=lib, expect="end", results=True, eta=eta)
    try:
        app.send_task(task, (id, *args), task_id=lib, queue=queue, **options)
    except (OperationalError, OSError) as error:
        ledger.log("pub_unk", id, why=str(error))
    else:
        ledger.log("pub_ok", id)


app = made(os.environ.get(BROKER, "memory://"))


@app.task(name="hold", bind=True, shared=False)  # else every Celery application of the process has it
def hold(self: Task, id: str, gate: str) -> None:
    """Goes on until the harness opens the gate; says when it begins and ends."""
    ledger = Ledger(os.environ[LEDGER])
    run = f"{os.getpid()}-{time.monotonic_ns()}"
    ledger.log("start", id, run=run, attempt=1, token=0, lib=self.request.id, worker=os.getpid())
    until = time.monotonic() + LIMIT
    while not (ledger.folder / f"gate-{gate}").exists() and time.monotonic() < until:
        time.sleep(0.01)
    ledger.log("end", id, run=run)
