"""One queue, a Celery worker and a TaskBus worker, and Flower watching both: ``python examples/mixed_fleet``.

Needs a Redis (``MIXED_FLEET_URL``, else one on localhost:6379 is used, in database 0) and
``pip install "taskbus[redis]" "celery[redis]" flower``. Sends half of the calls by Celery and half by TaskBus, lets
both fleets drain them, checks that each ran once, and asks Flower who is there. With ``--stay`` all goes on until
Ctrl-C, so that you can look at Flower's page.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import celery_side
import taskbus_side

HERE = Path(__file__).parent
QUEUE = "invoices"
EACH = 200
"""Calls that each side sends."""
PATIENCE = 60.0
FLOWER_PORT = int(os.environ.get("MIXED_FLEET_FLOWER_PORT", "5555"))
FLOWER = f"http://127.0.0.1:{FLOWER_PORT}"

CELERY_WORKER = ("celery", "-A", "celery_side", "worker", "-c", "1", "-E", "-n", "celery@mixed", "-l", "warning")
TASKBUS_WORKER = ("taskbus", "worker", "-A", "taskbus_side", "-c", "1", "-E", "--name", "taskbus@mixed", "-q")
WATCHER = ("celery", "-A", "celery_side", "flower", f"--port={FLOWER_PORT}", "--address=127.0.0.1")


def main(arguments: Sequence[str]) -> int:
    with ExitStack() as stack:
        for program in (CELERY_WORKER, TASKBUS_WORKER, WATCHER):
            stack.enter_context(running(program))
        print(f"A Celery worker, a TaskBus worker, and Flower on {FLOWER}")
        await_both_in_flower()
        ran_by = drained()
        print(f"{2 * EACH} invoices, half sent by each side, each run once: {said(ran_by)}")
        print(f"Flower counts: {said(counted_by_flower())}")
        if "--stay" in arguments:
            print("Ctrl-C ends all of it.")
            signal.pause()
    return 0


def drained() -> Counter[str]:
    """Send from both sides, read each result from the other one; who ran how many."""
    amounts = [[number, 2 * number, 7] for number in range(2 * EACH)]
    by_celery = [celery_side.total.delay(n, amounts[n]) for n in range(EACH)]
    with taskbus_side.app.batch():
        by_taskbus = [taskbus_side.total.delay(n, amounts[n]) for n in range(EACH, 2 * EACH)]
    # Each result is read by the library that did not send the call: the documents are Celery's on both sides.
    found = [celery_side.app.AsyncResult(sent.id).get(timeout=PATIENCE) for sent in by_taskbus]
    found += [taskbus_side.app.result(sent.id, queue=QUEUE).get(timeout=PATIENCE) for sent in by_celery]
    for result in found:
        assert result["total"] == sum(amounts[result["number"]]), result
    assert len({result["number"] for result in found}) == 2 * EACH
    return Counter(result["by"] for result in found)


def await_both_in_flower() -> None:
    deadline = time.monotonic() + PATIENCE
    while len(asked("/api/workers?refresh=1")) < 2:
        if time.monotonic() > deadline:
            sys.exit("Flower did not see both workers; is Redis up, and are celery and flower installed?")
        time.sleep(0.5)


def counted_by_flower() -> Counter[str]:
    """How many tasks Flower has seen succeed at each worker, once it has seen them all."""
    deadline, seen = time.monotonic() + PATIENCE, Counter[str]()
    while seen.total() < 2 * EACH and time.monotonic() < deadline:
        tasks = asked(f"/api/tasks?limit={4 * EACH}&state=SUCCESS").values()
        seen = Counter(task["worker"] if isinstance(task["worker"], str) else "?" for task in tasks)
        time.sleep(0.2)
    return seen


def asked(path: str) -> dict[str, Any]:
    """What Flower's API answers; nothing while it does not."""
    try:
        with urllib.request.urlopen(FLOWER + path, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except (urllib.error.URLError, OSError, ValueError):
        return {}


def said(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


@contextmanager
def running(program: Sequence[str]) -> Iterator[None]:
    """A program beside this one, ended when the block ends; what it says is shown if it ends before."""
    with tempfile.TemporaryFile() as log:
        environment = {**os.environ, "FLOWER_UNAUTHENTICATED_API": "true"}  # on loopback, for this example
        command = [sys.executable, "-m", *program]
        process = subprocess.Popen(command, cwd=HERE, stdout=log, stderr=log, env=environment)
        try:
            yield
        finally:
            if process.poll() is not None:
                log.seek(0)
                print(f"{' '.join(program)} ended by itself:\n{log.read().decode(errors='replace')[-3000:]}")
            process.terminate()
            process.wait(timeout=60)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
