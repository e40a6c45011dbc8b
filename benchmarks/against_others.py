"""TaskBus beside its rivals, in one run on one machine: ``python benchmarks/against_others.py --broker sqlite``.

Every peer runs in an environment of its own (``.bench/``), works on an empty database for each figure, and counts what
its tasks did in the same shared memory. Rounds are interleaved and medians are compared. The figures go into
``benchmarks/results.md``; ``-o json`` prints them with every round.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from environment import HOME
from report import markdown, medians
from rounds import Field, Figure, run_round

from taskbus.cli.machine import describe_machine

PEERS = {"sqlite": ["taskbus", "huey", "huey:synced"]}
"""Who is compared on which broker: ``name`` or ``name:variant``, see ``peers/``. The first is what ratios are of."""


def main() -> None:
    """Measure, write the report, print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", choices=sorted(PEERS), default="sqlite")
    parser.add_argument("--tasks", type=int, default=20_000, help="per figure (default 20,000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--report", type=Path, default=HOME / "results.md", help="where to write the table")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    given = parser.parse_args()
    peers = PEERS[given.broker]
    about = {peer: _about(peer) for peer in peers}
    figures: list[list[Figure]] = []
    for number in range(given.rounds):
        turn = peers[number % len(peers) :] + peers[: number % len(peers)]
        figures.append([])
        for figure in run_round(turn, given.tasks):
            figures[-1].append(figure)
            print(f"round {number + 1}: {figure.peer:12} {figure.name:32} {figure.value or 0:12,.4f}", file=sys.stderr)
    text = markdown(given.broker, given.tasks, given.rounds, about, figures, describe_machine())
    given.report.write_text(text)
    if given.output == "table":
        print(text)
    else:
        rounds = [[[figure.peer, figure.name, figure.value] for figure in each] for each in figures]
        document = {"version": 1, "kind": "against_others", "broker": given.broker, "tasks": given.tasks}
        document |= {"machine": describe_machine(), "peers": about, "medians": medians(figures), "rounds": rounds}
        print(json.dumps(document, indent=2))


def _about(peer: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        answer: dict[str, str] = Field(peer, folder, results=False).ask("about")
        return answer


if __name__ == "__main__":
    main()
