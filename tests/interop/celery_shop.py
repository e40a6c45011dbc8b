"""The Celery application of the mixed fleet: the task names of ``mixed_shop``, each run an entry in the ledger."""

import time
from typing import Any

from celery import Celery, Task

from tests.interop.ledger import meet, write

app = Celery("celery_shop")
app.conf.update(
    accept_content=["json", "msgpack", "yaml"],
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
)


@app.task(name="shop.note", bind=True)
def note(self: Task, key: str, *values: Any, **named: Any) -> None:
    request = self.request
    write(
        who="celery", key=key, id=request.id, attempt=request.retries + 1, headers=request.headers or {},
        values=repr([*values, named]), eta=request.eta, expires=request.expires,
        priority=request.delivery_info["priority"], timelimit=request.timelimit, argsrepr=request.argsrepr,
        at=time.time(),
    )  # fmt: skip


@app.task(name="shop.together")
def together(key: str) -> None:
    meet("celery")
    write(who="celery", key=key)
