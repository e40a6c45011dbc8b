"""The application that the tests of the page look at and steer. Its files are in the folder that its worker runs in."""

import time
from pathlib import Path

from tenacity import stop_after_attempt, wait_none

from taskbus import Context, RetryPolicy, TaskBus, cron

app = TaskBus("shop", unknown_task_grace=0, sweep=0.5)
ONCE = RetryPolicy.never()
TWICE = RetryPolicy(stop=stop_after_attempt(2), wait=wait_none())
NOTES = "notes"
HOSTILE = "shop.<img src=x onerror=alert(1)>"


def note(text: str) -> None:
    """A line in the file of notes, so that a test sees what ran."""
    with open(NOTES, "a") as file:
        file.write(f"{text}\n")


@app.task
def mail(to: str, *, subject: str = "") -> str:
    note(f"mail {to} {subject}".strip())
    return f"mailed {to}"


@app.task(retry=ONCE)
def charge(order: int, *, card: str = "") -> int:
    """Fails while the bank is closed: until there is a file ``bank``, or for a card that is ``good``."""
    if card != "good" and not Path("bank").exists():
        raise ConnectionError(f"the bank is closed, order {order}")
    note(f"charge {order}")
    return order


@app.task(retry=TWICE)
def refund(order: int) -> None:
    raise ValueError(f"no such order {order}")


@app.task
def holds(ctx: Context, until: str) -> str:
    """Tells how far it is, and runs until there is a file of that name."""
    note(f"holds {until}")
    ctx.progress(1, 4, "counting")
    while not Path(until).exists():
        time.sleep(0.01)
    return until


@app.task
def picture(number: int) -> int:
    return number


@app.task(retry=ONCE)
def resize(number: int, width: int) -> int:
    """Fails for the width 13 until there is a file ``thirteen``."""
    if width == 13 and not Path("thirteen").exists():
        raise ValueError("13 brings bad luck")
    return number * width


@app.task
def publish(sizes: list[int]) -> int:
    note(f"publish {sum(sizes)}")
    return sum(sizes)


@app.task(name=HOSTILE, retry=ONCE)
def hostile(text: str, **names: str) -> str:
    raise ValueError(text)


app.schedule("nightly", mail.s("nightly"), cron("0 3 * * *", tz="Europe/Paris"))
