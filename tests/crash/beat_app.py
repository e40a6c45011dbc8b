"""The application of the beats' cases: one task, which writes down for when it ran."""

import os
import time

from taskbus import Context, TaskBus
from taskbus.clock import wall_clock

SKEW = float(os.environ.get("CRASH_BEAT_SKEW", "0"))
EVIDENCE = os.environ.get("CRASH_BEAT_EVIDENCE", os.devnull)
LEASE = 2.0


def wrong_clock() -> float:
    """A clock that is wrong by so much."""
    return time.time() + SKEW


app = TaskBus(
    "beats",
    broker=os.environ.get("CRASH_BEAT_BROKER", "memory://none"),
    results=os.environ.get("CRASH_BEAT_RESULTS") or None,
    clock=wrong_clock if SKEW else wall_clock,
    beat_lease=LEASE,
    publish_timeout=2.0,
)


@app.task(name="tick")
def tick(ctx: Context) -> None:
    """One line, written in one step."""
    file = os.open(EVIDENCE, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{ctx.scheduled_at} {ctx.task_id}\n".encode())
    os.close(file)
