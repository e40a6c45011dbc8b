"""The application of the tests of beats: what runs by itself, and what may be scheduled."""

import os
from pathlib import Path

from taskbus import Context, TaskBus, cron, every

app = TaskBus("sample_schedules", sweep=0.5)
NOTES = Path(os.environ.get("SAMPLE_NOTES", os.devnull))


@app.task(schedule=every(0.5))
def often(ctx: Context) -> int:
    note(f"often {ctx.schedule} {ctx.scheduled_at}")
    return os.getpid()


@app.task
def report(ctx: Context, region: str, width: int = 1) -> None:
    note(f"report {region} {width} {ctx.schedule}")


app.schedule("yearly", report.s("north"), cron("0 0 1 1 *", tz="Europe/Paris"))


def note(text: str) -> None:
    """A line in the file of notes."""
    with NOTES.open("a") as file:
        file.write(f"{text}\n")
