"""The Celery application of the two fleets that share results; broker and results as the environment says."""

import gc
import os
import warnings
from typing import Any

from celery import Celery
from kombu import pools

from tests.interop import results_shop


def made(broker: str | None, results: str | None) -> Celery:
    app = Celery("results_celery", broker=broker, backend=results)
    app.conf.update(
        task_default_queue="results-both",
        result_extended=True,
        result_chord_retry_interval=0.2,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        worker_prefetch_multiplier=1,
        task_acks_late=True,
    )
    for function in results_shop.TASKS:
        app.task(function, name=f"shop.{function.__name__}")
    for function in (told_id, told_all, who, unkept):
        app.task(function, name=f"shop.{function.__name__}", ignore_result=function is unkept)
    app.task(results_shop.add, name="shop.foreign")
    app.task(foreign_fail, name="shop.foreign_fail")
    app.task(third_time, name="shop.third_time", bind=True)
    return app


def close(app: Celery) -> None:
    """Close all its connections: what the garbage collector closes is a warning, and so an error, at any moment."""
    backend = app.backend
    consumer, client = getattr(backend, "result_consumer", None), backend.__dict__.get("client")
    if consumer is not None:
        consumer.stop()
    if client is not None:
        client.connection_pool.disconnect()
        client.close()
    app.close()
    pools.reset()
    app.__dict__.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # what kombu leaves open of its own
        gc.collect()


def told_id(task_id: str) -> None:
    results_shop.told_id(task_id)


def told_all(request: Any, error: Any, traceback: Any) -> None:
    results_shop.write(key="told_all", who="celery", task_id=request.id, error=str(error), traceback=traceback)


def who(*values: Any) -> str:
    return "celery"


def unkept(value: int) -> int:
    return value


def foreign_fail(value: int = 0) -> int:
    raise ValueError(f"bad {value}")


def third_time(self: Any) -> int:
    if self.request.retries < 2:
        raise self.retry(exc=ValueError("not yet"), countdown=0.05)
    return int(self.request.retries) + 1


app = made(os.environ.get("FLEET_BROKER"), os.environ.get("FLEET_RESULTS"))
