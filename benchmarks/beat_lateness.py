"""How late a beat sends a thousand schedules of one second.

    python benchmarks/beat_lateness.py                               on SQLite, half a minute
    python benchmarks/beat_lateness.py --broker redis://localhost    on a server; an empty namespace of it
    python benchmarks/beat_lateness.py --aligned                     all due in the same instant, the worst case

Late is what lies between a run's time and the return of the step that published it: then a worker may have it. The
first five seconds do not count, as the beat reads its schedules in them.
"""

import argparse
import json
import math
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any

from taskbus import TaskBus, every
from taskbus.beat.beat import Beat
from taskbus.beat.running import beating
from taskbus.store.schedules import Advance

WARM_UP = 5.0


class Timed:
    """A broker that notes for each tick how late the step ended that published it."""

    def __init__(self, broker: Any) -> None:
        self._broker = broker
        self.late: list[tuple[float, float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def enact(self, advances: Sequence[Advance], *args: Any) -> bool:
        done: bool = self._broker.enact(advances, *args)
        now = self._broker.now()
        self.late += [(tick.nominal, now - tick.nominal) for advance in advances for tick in advance.ticks]
        return done


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--broker", default="", help="URL of a broker that keeps schedules too; a new SQLite file if not given"
    )
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--aligned", action="store_true", help="all at the same instant of each second")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="beat-lateness-") as folder:
        found = measure(given, given.broker or f"sqlite:///{folder}/beat.db")
    if given.output == "json":
        print(json.dumps(found))
    else:
        print(*(f"{name:<12} {value}" for name, value in found.items()), sep="\n")


def measure(given: argparse.Namespace, broker: str) -> dict[str, Any]:
    """Run one beat for so long."""
    with TaskBus("lateness", broker=broker) as app:
        task = app.task(name="nothing", store_results=False)(lambda number: None)
        for n in range(given.schedules):
            anchor = 0.0 if given.aligned else round(n / given.schedules, 6)
            app.schedule(f"second-{n:06}", task.s(n), every(1, anchor=anchor), catch_up="all")
        places = app.schedules.places()
        timed = Timed(places.broker)
        beat = Beat(places._replace(broker=timed), list(app.schedules.declared.values()), app.name)  # type: ignore[arg-type]
        cpu = time.process_time()
        with beating(beat):
            until_leading(beat)
            start = app.now() + WARM_UP
            threading.Event().wait(WARM_UP + given.seconds)
        cpu = (time.process_time() - cpu) / (WARM_UP + given.seconds)
        end = math.floor(start + given.seconds) - 1
        late = sorted(1000 * each for nominal, each in timed.late if start <= nominal < end)
        return {
            "schedules": given.schedules,
            "runs": len(late),
            "p50 ms": round(late[len(late) // 2], 1),
            "p99 ms": round(late[len(late) * 99 // 100], 1),
            "worst ms": round(late[-1], 1),
            "cpu": f"{100 * cpu:.0f} %",
        }


def until_leading(beat: Beat) -> None:
    """Wait until the beat has read its schedules."""
    pause = threading.Event()
    while not beat.is_leading:
        pause.wait(0.05)


if __name__ == "__main__":
    main()
