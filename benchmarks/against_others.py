"""TaskBus beside its rivals, in one run on one machine: ``python benchmarks/against_others.py --broker redis``.

Every peer runs in an environment of its own (``.bench/``), works on an empty place of one server for each figure, and
counts what its tasks did in the same shared memory. Rounds are interleaved and medians are compared. The figures go
into ``benchmarks/results.md``; ``-o json`` prints them with every round.
"""

import argparse
import json
import sys
from pathlib import Path

from environment import HOME
from figures import Figure
from grounds import GROUNDS, ground
from report import medians, section, write
from rounds import field, run_round

from taskbus.cli.machine import describe_machine

PEERS = {
    "sqlite": ["taskbus", "huey", "huey:synced", "flexiq"],
    "redis": [
        "taskbus", "celery", "celery:threads", "dramatiq", "taskiq:list", "taskiq:stream", "huey", "rq", "arq", "saq",
        "streaq",
    ],
    "rabbitmq": ["taskbus", "celery", "celery:threads", "dramatiq"],
    "postgresql": ["taskbus", "procrastinate", "flexiq"],
}  # fmt: skip
"""Who is compared on which broker: ``name`` or ``name:variant``, see ``peers/``. The first is what ratios are of."""


def main() -> None:
    """Measure, write the report, print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", choices=sorted(GROUNDS), default="sqlite")
    parser.add_argument("--peers", help="only these, by comma; the first is what ratios are of")
    parser.add_argument("--tasks", type=int, default=5_000, help="per figure (default 5,000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--report", type=Path, default=HOME / "results.md", help="where to write the table")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    given = parser.parse_args()
    peers = given.peers.split(",") if given.peers else PEERS[given.broker]
    rounds: list[list[Figure]] = []
    with ground(given.broker) as place:
        about: dict[str, dict[str, str]] = {}
        for peer in peers:
            with field(place, peer, results=False) as each:
                about[peer] = each.ask("about")
        for number in range(given.rounds):
            turn = peers[number % len(peers) :] + peers[: number % len(peers)]
            rounds.append([])
            for figure in run_round(place, turn, given.tasks):
                rounds[-1].append(figure)
                told = "cannot" if figure.value is None else f"{figure.value:12,.4f} {figure.unit}"
                print(f"round {number + 1}: {figure.peer:16} {figure.name:36} {told}", file=sys.stderr, flush=True)
        machine = {**describe_machine(), "server": place.version}
    text = section(given.broker, given.tasks, about, rounds, machine)
    write(given.report, given.broker, text)
    if given.output == "table":
        print(text)
    else:
        told_rounds = [[[figure.peer, figure.name, figure.value] for figure in each] for each in rounds]
        document = {"version": 1, "kind": "against_others", "broker": given.broker, "tasks": given.tasks}
        document |= {"machine": machine, "peers": about, "medians": medians(rounds), "rounds": told_rounds}
        print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
