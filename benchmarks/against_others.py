"""TaskBus beside its rivals, in one run on one machine: ``python benchmarks/against_others.py --broker redis``.

Every peer runs in an environment of its own (``.bench/``), works on an empty place of one server for each figure, and
counts what its tasks did in the same shared memory. Rounds are interleaved and medians are compared. The figures go
into ``benchmarks/results.md``; ``-o json`` prints them with every round.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import workflows
from environment import HOME
from figures import Figure
from grounds import ground
from report import medians, section, write
from rounds import field, run_round

from taskbus.cli.machine import describe_machine

PEERS = {
    "sqlite": ["taskbus", "huey", "huey:synced", "flexiq", "potatoq"],
    "redis": [
        "taskbus", "celery", "celery:threads", "dramatiq", "taskiq:list", "taskiq:stream", "huey", "rq", "arq", "saq",
        "streaq", "potatoq",
    ],
    "rabbitmq": ["taskbus", "celery", "celery:threads", "dramatiq", "potatoq"],
    "postgresql": ["taskbus", "procrastinate", "flexiq", "potatoq"],
}  # fmt: skip
"""Who is compared on which broker: ``name`` or ``name:variant``, see ``peers/``. The first is what ratios are of."""


def main() -> None:
    """Measure, write the report, print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", choices=sorted(PEERS), default="sqlite")
    parser.add_argument("--peers", help="only these, by comma; the first is what ratios are of")
    parser.add_argument("--tasks", type=int, default=5_000, help="per figure (default 5,000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--report", type=Path, default=HOME / "results.md", help="where to write the table")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    parser.add_argument("--workflows", action="store_true", help="a chord and chains instead, on Redis, beside Celery")
    parser.add_argument("--members", type=int, default=10_000, help="of the chord, with --workflows")
    parser.add_argument("--chains", type=int, default=1_000, help="of five tasks each, with --workflows")
    given = parser.parse_args()
    if given.workflows:
        compare_workflows(given)
        return
    peers = given.peers.split(",") if given.peers else PEERS[given.broker]
    rounds: list[list[Figure]] = []
    text = ""
    with ground(given.broker) as place:
        about: dict[str, dict[str, str]] = {}
        for peer in peers:
            with field(place, peer, results=False) as each:
                about[peer] = each.ask("about")
        machine = {**describe_machine(), "server": place.version}
        for number in range(given.rounds):
            turn = peers[number % len(peers) :] + peers[: number % len(peers)]
            rounds.append([])
            for figure in run_round(place, turn, given.tasks):
                rounds[-1].append(figure)
                told = "cannot" if figure.value is None else f"{figure.value:12,.4f} {figure.unit}"
                print(f"round {number + 1}: {figure.peer:16} {figure.name:36} {told}", file=sys.stderr, flush=True)
            text = section(given.broker, given.tasks, about, rounds, machine)
            write(given.report, given.broker, text)  # after each round: a run is long, and may be stopped half-way
    if given.output == "table":
        print(text)
    else:
        told_rounds = [[[figure.peer, figure.name, figure.value] for figure in each] for each in rounds]
        document = {"version": 1, "kind": "against_others", "broker": given.broker, "tasks": given.tasks}
        document |= {"machine": machine, "peers": about, "medians": medians(rounds), "rounds": told_rounds}
        print(json.dumps(document, indent=2))


def compare_workflows(given: argparse.Namespace) -> None:
    """The same for workflows, which Redis is the place for: Celery's chords need a result backend that counts."""
    peers = given.peers.split(",") if given.peers else workflows.PEERS
    loads = [workflows.Load("chord", given.members), workflows.Load("chains", given.chains)]
    load_average = os.getloadavg()[0]
    rounds: list[list[workflows.Flown]] = []
    with ground("redis") as place:
        about: dict[str, dict[str, str]] = {}
        for peer in peers:
            with field(place, peer, results=True) as each:
                about[peer] = each.ask("about")
        for number in range(given.rounds):
            turn = peers[number % len(peers) :] + peers[: number % len(peers)]
            rounds.append([])
            for flown in workflows.run_round(place, turn, loads):
                rounds[-1].append(flown)
                print(f"round {number + 1}: {flown}", file=sys.stderr, flush=True)
        machine = {**describe_machine(), "server": place.version}
    command = f"python {' '.join(['benchmarks/against_others.py', *sys.argv[1:]])}"
    text = workflows.section(about, rounds, machine, command, load_average)
    write(given.report, "redis: workflows", text)
    print(text)


if __name__ == "__main__":
    main()
