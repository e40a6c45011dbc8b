"""Dramatiq on Redis or RabbitMQ."""

import sys
import time
from importlib.metadata import version
from typing import Any

import dramatiq
from adapter import FOLDER, IO_SLOTS, KEEPS_RESULTS, NAP, RESULTS_URL, URL, add_up, counter_hit
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

IS_AMQP = URL.startswith("amqp")
if IS_AMQP:
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    broker: Any = RabbitmqBroker(url=URL, confirm_delivery=True)
else:
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=URL)
broker.add_middleware(Results(backend=RedisBackend(url=RESULTS_URL or URL)))
dramatiq.set_broker(broker)
hit = counter_hit()
KEPT: dict[str, Any] = {"store_results": KEEPS_RESULTS}


@dramatiq.actor(actor_name="noop", **KEPT)
def noop(number: int) -> int:
    """Counted, and nothing else."""
    hit()
    return number


@dramatiq.actor(actor_name="nap", **KEPT)
def nap(number: int) -> int:
    """Waits, as for a network."""
    hit()
    time.sleep(NAP)
    return number


@dramatiq.actor(actor_name="sum", **KEPT)
def sum_up(number: int) -> int:
    """Computes."""
    hit()
    return add_up()


@dramatiq.actor(actor_name="instant", store_results=True)
def instant() -> float:
    """When it ran."""
    return time.time()


TASKS: dict[str, Any] = {"noop": noop, "nap": nap, "sum": sum_up}


class DramatiqPeer:
    def about(self) -> dict[str, str]:
        return {
            "name": "Dramatiq",
            "version": version("dramatiq"),
            "ack": "late: after the task, its result first",
            "guarantee": "at least once; dead workers are noticed by a heartbeat of a minute",
            "tuning": f"8 threads a process (100 for naps){'; confirm_delivery=True' if IS_AMQP else ''}",
        }

    def send(self, kind: str, number: int) -> object:
        return TASKS[kind].send(number)

    def send_many(self, kind: str, tasks: int) -> bool:
        return False

    def send_later(self, delay: float) -> object:
        return instant.send_with_options(delay=int(delay * 1000))

    def wait(self, sent: Any) -> Any:
        return sent.get_result(block=True, timeout=60_000)

    def work(self, kind: str, processes: int) -> list[str] | None:
        threads = IO_SLOTS if kind == "nap" else 8
        line = f"-m dramatiq dramatiq_peer --processes {processes} --threads {threads} --skip-logging"
        return [sys.executable, *line.split(), "--pid-file", f"{FOLDER}/dramatiq.pid"]


PEER = DramatiqPeer()
