"""A producer that is Celery's: evaluates the expressions it is given, line by line, in which ``app`` is a Celery."""

import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from celery import Celery
from kombu import Exchange, Queue
from kombu.transport import native_delayed_delivery

app = Celery("producer")
app.conf.accept_content = ["json", "msgpack", "yaml", "pickle"]
old = Celery("old_producer", task_protocol=1)


@app.task(name="shop.add")
def add(x: int, y: int = 100) -> None:
    """For its canvas; it runs elsewhere."""


NAMES = {
    "add": add,
    "Celery": Celery, "app": app, "old": old, "datetime": datetime, "UTC": UTC, "Decimal": Decimal, "UUID": UUID,
    "Queue": Queue, "Exchange": Exchange, "delayed": native_delayed_delivery,
}  # fmt: skip


def main() -> None:
    for line in sys.stdin:
        try:
            exec(json.loads(line), NAMES)
            print("done", flush=True)
        except Exception as error:
            print(f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)


if __name__ == "__main__":
    main()
