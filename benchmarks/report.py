"""Medians over the rounds, and the page that shows them: one section a broker, the others left as they are."""

import re
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from figures import Figure

Medians = dict[str, dict[str, float | None]]
HEAD = """# TaskBus beside the others

Made by `python benchmarks/against_others.py --broker NAME`, one section a broker, and by `--workflows`. In each, all
peers ran in one run on one machine, taking turns at each figure; what is shown is the median of the rounds. Tasks that
were done are counted in shared memory, outside of any queue, at the same cost for all. The machine is small and noisy:
read the ratios.
`cannot`: the peer has no such thing, or did not finish. A ratio above 1 means that TaskBus is better.
"""


def medians(rounds: Sequence[Sequence[Figure]]) -> Medians:
    """Figure by figure, peer by peer: the median over the rounds, None where the peer has no such thing."""
    seen: dict[str, dict[str, list[float]]] = {}
    for figures in rounds:
        for figure in figures:
            values = seen.setdefault(figure.name, {}).setdefault(figure.peer, [])
            if figure.value is not None:
                values.append(figure.value)
    return {
        name: {peer: statistics.median(values) if values else None for peer, values in peers.items()}
        for name, peers in seen.items()
    }


def section(
    broker: str,
    tasks: int,
    about: Mapping[str, Mapping[str, str]],
    rounds: Sequence[Sequence[Figure]],
    machine: Mapping[str, object],
) -> str:
    """A broker's part of the page."""
    first, *others = about
    units = {figure.name: figure for figures in rounds for figure in figures}
    names = {peer: about[peer]["name"] for peer in about}
    heads = ["measured", names[first], "best of the others", "ratio", *(names[peer] for peer in others)]
    lines = [
        f"## On {broker}",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {', '.join(f'{name} {value}' for name, value in machine.items())}.",
        f"{tasks:,} tasks a figure, {len(rounds)} {'round' if len(rounds) == 1 else 'interleaved rounds, medians'}.",
        "",
        f"| {' | '.join(heads)} |",
        f"|---|{'--:|' * (len(heads) - 1)}",
    ]
    for name, values in medians(rounds).items():
        figure = units[name]
        best = _best(figure, {peer: values.get(peer) for peer in others})
        cells = [_cell(figure, values.get(first))]
        cells += [f"{names[best[0]]} {_cell(figure, best[1])}" if best else "", _ratio(figure, values.get(first), best)]
        cells += [_cell(figure, values.get(peer)) for peer in others]
        lines.append(f"| {' | '.join([name, *cells])} |")
    lines += ["", "| peer | version | acknowledges | guarantee | tuning |", "|---|---|---|---|---|"]
    keys = ("name", "version", "ack", "guarantee", "tuning")
    lines += [f"| {' | '.join(about[peer][key] for key in keys)} |" for peer in about]
    return "\n".join(lines) + "\n"


def write(path: Path, broker: str, text: str) -> None:
    """Put a broker's section in the place of its last one; what somebody wrote below its tables stays."""
    page = path.read_text() if path.exists() else ""
    sections = dict.fromkeys(re.findall(r"^## On (.+)$", page, re.MULTILINE), "")
    for name in sections:
        found = re.search(rf"^## On {name}\n.*?(?=^## On |\Z)", page, re.MULTILINE | re.DOTALL)
        sections[name] = found[0].rstrip() + "\n" if found else ""
    sections[broker] = text + _remarks(sections.get(broker, ""))
    path.write_text("\n".join([HEAD, *sections.values()]))


def _remarks(section: str) -> str:
    """What follows the last table of a section: to be read again by whoever measured again."""
    below = re.split(r"^\|.*\n", section, flags=re.MULTILINE)[-1].strip()
    return f"\n{below}\n" if section and below else ""


def _best(figure: Figure, values: Mapping[str, float | None]) -> tuple[str, float] | None:
    there = [(peer, value) for peer, value in values.items() if value is not None and value >= 0]  # early is not good
    pick = min if figure.is_better_small else max
    return pick(there, key=lambda pair: pair[1]) if there else None


def _cell(figure: Figure, value: float | None) -> str:
    if value is None:
        return "cannot"
    if figure.unit == "/s":
        return f"{value:,.0f}"
    return f"{value:.2f} {figure.unit}"


def _ratio(figure: Figure, ours: float | None, best: tuple[str, float] | None) -> str:
    if not ours or best is None or not best[1]:
        return ""
    return f"{best[1] / ours if figure.is_better_small else ours / best[1]:.1f}x"
