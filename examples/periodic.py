"""Things that run by themselves: every two seconds, by a crontab line in a time zone, and added while it runs.

    python examples/periodic.py

Starts a worker with a beat in it (`taskbus worker -B`), adds a schedule while that is running, watches for some
seconds, and shows what was sent and how late. Everything is in one SQLite file; nothing needs to be installed.
"""

import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from taskbus import Context, TaskBus, cron, every

HERE = Path(__file__).parent
DATABASE = HERE / "periodic.db"
LOG = HERE / "periodic.log"
PARIS = ZoneInfo("Europe/Paris")
WATCHED = 12.0

app = TaskBus("periodic", broker=f"sqlite:///{DATABASE}", beat_lease=2)


def told(ctx: Context, what: str) -> None:
    """Say when it was to run, and when it did."""
    assert ctx.scheduled_at is not None
    wanted = datetime.fromtimestamp(ctx.scheduled_at, PARIS)
    late = 1000 * (time.time() - ctx.scheduled_at)
    print(f"{wanted:%H:%M:%S}  {what:<28} {late:6.1f} ms after its time", flush=True)


@app.task(schedule=every(2, anchor=0))
def heartbeat(ctx: Context) -> None:
    told(ctx, "heartbeat")


@app.task
def greet(ctx: Context, name: str) -> None:
    told(ctx, f"hello {name}")


app.schedule("five o'clock in Paris", greet.s("Paris"), cron("*/5 * * * * *", tz="Europe/Paris"), catch_up="none")


def main() -> None:
    """Run a worker and a beat, change what is scheduled, look at it."""
    for file in HERE.glob("periodic.db*"):
        file.unlink()
    command = [sys.executable, "-m", "taskbus", "worker", "-A", "periodic", "-B", "--processes", "1", "-q"]
    with LOG.open("w") as log:
        worker = subprocess.Popen(command, cwd=HERE, stdout=None, stderr=log, env=os.environ)
    try:
        app.schedules.add("added while it runs", greet.s("from the store"), every(3, anchor=1))
        end = time.monotonic() + WATCHED
        while time.monotonic() < end and worker.poll() is None:
            time.sleep(0.1)
        app.schedules.pause("added while it runs")
        print(f"\n{'schedule':<24} {'origin':<7} {'sent':>4} {'worst':>9}  next")
        for info in app.schedules.list():
            upcoming = f"{datetime.fromtimestamp(info.next_at, PARIS):%H:%M:%S}" if info.next_at else "paused"
            print(f"{info.name:<24} {info.origin:<7} {info.sent:>4} {1000 * info.worst:>6.1f} ms  {upcoming}")
        print("\nIts next times, as the beat will find them: ", end="")
        for nominal, _ in app.schedules.next("five o'clock in Paris", 3):
            print(f"{datetime.fromtimestamp(nominal, PARIS):%H:%M:%S %Z}", end="  ")
        print(f"\nMore: cd {HERE.name}; taskbus schedule list -b sqlite:///periodic.db")
    finally:
        worker.terminate()
        worker.wait(30)
        app.close()


if __name__ == "__main__":
    main()
