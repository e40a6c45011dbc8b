"""The capacity model's figures as text: lines for a terminal, and the tables of ``docs/explanation/scaling.md``."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model import BATCH, BUSY, Costs, Demand, Prediction
from parts import BATCHES, Worked

BEGIN, END = "<!-- capacity: begin -->", "<!-- capacity: end -->"
DEDUP_WINDOW = 120.0
"""Seconds for which a task id is remembered at most, as installed."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A rate as predicted and as measured; ``batch`` None: a filled queue being drained, without a producer.

    ``cpu``: what a task should take of all CPUs at the measured rate, in microseconds.
    """

    batch: int | None
    predicted: Prediction
    cpu: float
    measured: Worked

    @property
    def error(self) -> float:
        """By how much the prediction is off, in percent of what was measured."""
        return (self.predicted.rate / self.measured.rate - 1) * 100


@dataclass(frozen=True, slots=True)
class Capacity:
    """All there is to say of one broker."""

    broker: str
    version: str
    costs: Costs
    compared: Sequence[Compared]
    demand: Demand

    def document(self) -> dict[str, Any]:
        """For JSON."""
        compared = [{**asdict(each), "error_percent": each.error} for each in self.compared]
        return {
            "broker": self.broker,
            "version": self.version,
            "costs": asdict(self.costs),
            "compared": compared,
            "million": asdict(self.demand),
        }


Rows = list[tuple[str, list[str]]]


def tables(found: Sequence[Capacity], machine: Mapping[str, object], date: str, command: str) -> str:
    """The block of the docs: costs, the curve, and a million tasks a second, a column a broker."""
    facts = ", ".join(f"{name} {value}" for name, value in machine.items())
    noise = max(each.measured.others for one in found for each in one.compared)
    warning = "" if noise < 0.2 else ": **not a quiet machine; rates and waits mean little, CPU somewhat more**"
    versions = ", ".join(each.version for each in found)
    lines = [
        f"Measured {date} by `{command}`: {facts}; {versions}.",
        f"Other programs took up to {noise:.1f} cores meanwhile{warning}.",
    ]
    for title, rows in (
        ("no-op task of 130 bytes, results off", _costs(found)),
        ("one producer, one worker, one runner: tasks/s", _curve(found)),
        (f"1,000,000 tasks/s in batches of {BATCH}", _million(found)),
    ):
        lines += ["", f"| {title} | {' | '.join(each.broker for each in found)} |", f"|---|{'--:|' * len(found)}"]
        lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows]
    return "\n".join(lines) + "\n"


def _costs(found: Sequence[Capacity]) -> Rows:
    costs = [each.costs for each in found]
    rows: Rows = []
    for name, steps in (("publish", "publish"), ("claim and settle", "take")):
        for what, cost in (("client CPU", "client"), ("broker CPU", "broker")):
            values = [
                " / ".join(f"{getattr(step, cost):.0f}" for step in getattr(each, steps).measured) for each in costs
            ]
            rows.append((f"{name}: {what}, us, in batches of {' / '.join(map(str, BATCHES))}", values))
        values = [" / ".join(f"{step.round_trips:.2f}" for step in getattr(each, steps).measured) for each in costs]
        rows.append((f"{name}: round trips a task", values))
    rows.append(("worker: supervisor CPU, us, claims of 1 / 100", [_ends(each.supervisor) for each in costs]))
    rows.append(("worker: runner CPU, us, jobs of 1 / 100", [_ends(each.runner) for each in costs]))
    rows.append((f"bytes on the wire, batches of {BATCH}", [f"{_network(each):.0f}" for each in costs]))
    rows.append((f"bytes written by the broker, batches of {BATCH}", [f"{_written(each):.0f}" for each in costs]))
    rows.append(("bytes a queued task takes", [f"{each.held:.0f}" for each in costs]))
    rows.append(("bytes a remembered task id takes", [f"{each.remembered:.0f}" for each in costs]))
    return rows


def _ends(line: Any) -> str:
    return f"{line.at(1):.0f} / {line.at(BATCH):.0f}"


def _network(costs: Costs) -> float:
    return costs.publish.largest.network + costs.take.largest.network


def _written(costs: Costs) -> float:
    return costs.publish.largest.written + costs.take.largest.written


def _curve(found: Sequence[Capacity]) -> Rows:
    rows: Rows = []
    for turn in zip(*(each.compared for each in found), strict=True):
        name = "drain alone" if turn[0].batch is None else f"sent by {turn[0].batch}"
        rows.append((f"{name}: predicted", [f"{each.predicted.rate:,.0f}" for each in turn]))
        rows.append((f"{name}: measured", [f"{each.measured.rate:,.0f}" for each in turn]))
        rows.append((f"{name}: error of the rate", [f"{each.error:+.0f} %" for each in turn]))
        rows.append(
            (f"{name}: error of the CPU a task at that rate", [_error(each.cpu, each.measured.cpu) for each in turn])
        )
        rows.append((f"{name}: bound by", [each.predicted.bound.removeprefix("the ") for each in turn]))
    return rows


def _error(predicted: float, measured: float) -> str:
    return f"{(predicted / measured - 1) * 100:+.0f} %"


def _million(found: Sequence[Capacity]) -> Rows:
    wants = [each.demand for each in found]
    return [
        ("cores of brokers", [f"{want.broker_cores:.0f}" if want.broker_cores else "in the clients" for want in wants]),
        ("cores of producers", [f"{want.producer_cores:.0f}" for want in wants]),
        ("cores of supervisors, one each", [f"{want.supervisor_cores:.0f}" for want in wants]),
        ("cores of runners, before your own code", [f"{want.runner_cores:.0f}" for want in wants]),
        ("network, Gbit/s", [f"{want.network * 8 / 1e9:.1f}" for want in wants]),
        ("broker's log, MB/s", [f"{want.log / 1e6:.0f}" for want in wants]),
        ("a minute of backlog, GB", [f"{want.backlog_minute / 1e9:.1f}" for want in wants]),
        (f"remembered ids ({DEDUP_WINDOW:.0f} s), GB", [f"{want.ids / 1e9:.1f}" for want in wants]),
        (
            "one queue ends at, tasks/s; PostgreSQL, MySQL: of 8 cores",
            [f"{_rounded(want.one_queue):,}" for want in wants],
        ),
        (f"so many of them, {BUSY:.0%} busy", [f"{want.shares}" for want in wants]),
    ]


def _rounded(value: float) -> int:
    digits = max(0, int(math.log10(max(value, 1))) - 1)
    return int(round(value, -digits))


def write(page: Path, text: str) -> None:
    """Put the tables between the two marks of a page."""
    head, begin, rest = page.read_text().partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no {BEGIN} ... {END} to write between")
    page.write_text(f"{head}{BEGIN}\n{text}{END}{tail}")
