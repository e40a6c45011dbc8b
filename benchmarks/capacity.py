"""What a task costs on each broker, how fast that lets tasks go here, and what a million a second would take.

    python benchmarks/capacity.py --broker redis           measure, predict, measure again, compare (about a minute)
    python benchmarks/capacity.py --write                  all five brokers, into docs/explanation/scaling.md
    python benchmarks/capacity.py --broker redis --delayed 1000000     a worker's memory beside a million delayed tasks
    python benchmarks/capacity.py --broker redis --backlog 1000000     how fast a long queue drains beside a short one

The model is ``model.py``, explained in ``docs/explanation/scaling.md``; what is measured alone is in ``parts.py``.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

import parts
from capacity_report import DEDUP_WINDOW, Capacity, Compared, tables, write
from checks import backlog, delayed
from environment import HOME
from grounds import Ground, ground
from model import Costs, claims, demand, predict

from taskbus.cli.machine import describe_machine

BROKERS = ("sqlite", "redis", "rabbitmq", "postgresql", "mysql")
PAGE = HOME.parent / "docs" / "explanation" / "scaling.md"
QUICK = 0.3
MIB = 1 << 20


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", choices=[*BROKERS, "all"], default="all")
    parser.add_argument("--quick", action="store_true", help="fewer tasks; --delayed and --backlog: a tenth")
    parser.add_argument("--delayed", type=int, metavar="N", help="only this: memory of a worker beside N delayed tasks")
    parser.add_argument("--backlog", type=int, metavar="N", help="only this: the rate of a queue of N and of 10,000")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}; all brokers")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    given = parser.parse_args()
    if given.write and (given.broker != "all" or given.delayed or given.backlog):
        parser.error("--write is for the tables of all brokers")
    brokers = BROKERS if given.broker == "all" else (given.broker,)
    if given.delayed or given.backlog:
        check(brokers, given)
        return
    found = [capacity(broker, QUICK if given.quick else 1.0) for broker in brokers]
    command = "python benchmarks/capacity.py " + " ".join(sys.argv[1:])
    machine = {name: value for name, value in describe_machine().items() if name not in ("sqlite", "kombu")}
    text = tables(found, machine, f"{datetime.now(UTC):%Y-%m-%d}", command.strip())
    if given.write:
        write(PAGE, text)
    if given.output == "json":
        document = {"version": 1, "kind": "capacity", "machine": machine, "items": [each.document() for each in found]}
        print(json.dumps(document, indent=2))
    else:
        print(text)


def capacity(broker: str, share: float) -> Capacity:
    """Everything about one broker, on a server of its own."""
    with ground(broker) as place:
        _say(broker, "costs, part by part")
        costs = parts.measure(broker, place, share)
        compared = list(_compare(broker, place, costs, share))
        return Capacity(broker, place.version, costs, compared, demand(costs, DEDUP_WINDOW))


def _compare(broker: str, place: Ground, costs: Costs, share: float) -> Iterator[Compared]:
    cores = float(len(os.sched_getaffinity(0)))
    for batch in (None, *parts.BATCHES):
        predicted = predict(costs, batch, cores)
        if batch is None:
            with parts.bench(broker, place, share) as each:
                measured = parts.drain(each)
        else:
            measured = parts.together(broker, place, batch, share)
        at_that_rate = costs.cpu(batch, claims(costs, batch, measured.rate))
        found = Compared(batch, predicted, at_that_rate, measured)
        _say(broker, f"batch {batch}: predicted {predicted.rate:,.0f}/s, measured {measured.rate:,.0f}/s")
        yield found


def check(brokers: tuple[str, ...], given: argparse.Namespace) -> None:
    """The two promises about large numbers, broker by broker."""
    items = []
    for broker in brokers:
        with ground(broker) as place:
            if given.delayed:
                tasks = given.delayed // (10 if given.quick else 1)
                memory = delayed(broker, place, tasks)
                items.append({"broker": broker, "check": "delayed", **asdict(memory)})
                said = f"{tasks:,} delayed: worker {memory.before / MIB:.1f} MiB before, {memory.after / MIB:.1f} after"
                _tell(given, broker, f"{said}; {memory.in_broker / tasks:.0f} bytes a task in the broker")
            if given.backlog:
                tasks = given.backlog // (10 if given.quick else 1)
                rates = backlog(broker, place, tasks)
                items.append({"broker": broker, "check": "backlog", **asdict(rates)})
                said = f"10,000 drain at {rates.short:,.0f}/s, {tasks:,} at {rates.long:,.0f}/s"
                said += (
                    f" ({rates.long / rates.short:.0%}); CPU a task {rates.short_cpu:.0f} and {rates.long_cpu:.0f} us"
                )
                _tell(given, broker, f"{said}; other programs took {rates.others:.1f} cores")
    if given.output == "json":
        print(json.dumps({"version": 1, "kind": "capacity_checks", "items": items}, indent=2))


def _tell(given: argparse.Namespace, broker: str, text: str) -> None:
    if given.output == "table":
        print(f"{broker:11} {text}", flush=True)


def _say(broker: str, text: str) -> None:
    print(f"{broker}: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
