"""Something to look at: tasks that take their time, tell how far they are, are tried again, and fail.

    cd examples
    taskbus dev -A workshop          # a worker, a beat and the page, in one terminal
    python -m workshop 50            # orders, in another one; `python -m workshop` sends some for ever

Orders are workflows: parts are made side by side, then put together, painted and packed. The paint shop, a queue of its
own, runs out of paint now and then, and is tried again; whoever orders glass gets a dead letter at once.
"""

import random
import sys
import time

from tenacity import stop_after_attempt, wait_random_exponential

from taskbus import Context, RetryPolicy, TaskBus, chord, every

app = TaskBus("workshop")
PARTS = ("wheel", "axle", "frame", "seat", "lamp")
COLOURS = ("red", "green", "blue")


class OutOfPaint(Exception):
    """The paint shop waits for paint."""


@app.task(retry=RetryPolicy.never())
def make(ctx: Context, part: str, seconds: float = 2.0) -> str:
    """Make a part, and tell how far it is."""
    steps = 20
    for step in range(steps):
        ctx.progress(step, steps, f"turning the {part}")
        time.sleep(seconds / steps)
    if part == "glass":
        raise ValueError("glass breaks: order it elsewhere")
    ctx.progress(steps, steps, "done")
    return part


@app.task
def assemble(parts: list[str]) -> str:
    """Put the parts together."""
    time.sleep(0.2)
    return " + ".join(sorted(parts))


@app.task(queue="paint", retry=RetryPolicy(stop=stop_after_attempt(4), wait=wait_random_exponential(0.5, max=5)))
def paint(thing: str, colour: str, luck: float = 0.6) -> str:
    """Paint it, where there is paint; it is tried four times."""
    time.sleep(0.3)
    if random.random() > luck:
        raise OutOfPaint(f"no {colour} left")
    return f"{colour} {thing}"


@app.task(queue="paint")
async def pack(thing: str) -> str:
    """Pack it."""
    return f"[{thing}]"


@app.task(schedule=every(5))
def sweep_the_floor() -> int:
    """Scheduled: every five seconds."""
    return random.randint(1, 100)


def order(*parts: str, colour: str, seconds: float = 2.0) -> str:
    """Order something of these parts; the id of its workflow."""
    flow = chord([make.s(part, seconds=seconds) for part in parts], assemble.s()) | paint.s(colour) | pack.s()
    return flow.delay().flow_id


def main(orders: int) -> None:
    """Send so many orders, one or two a second."""
    for number in range(1, orders + 1):
        parts = random.sample(PARTS, 3)
        flow = order(*parts, colour=random.choice(COLOURS), seconds=random.uniform(0.5, 4))
        print(f"order {number}: {', '.join(parts)}; workflow {flow}", flush=True)
        if number % 10 == 0:
            make.delay("glass", seconds=1)
        time.sleep(random.uniform(0.3, 1.2))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
