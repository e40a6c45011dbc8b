"""Medians over the rounds, and the page that shows them."""

import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rounds import Figure

Medians = dict[str, dict[str, float | None]]


def medians(rounds: Sequence[Sequence[Figure]]) -> Medians:
    """Figure by figure, peer by peer: the median over the rounds, None where the peer has no such thing."""
    seen: dict[str, dict[str, list[float | None]]] = {}
    for figures in rounds:
        for figure in figures:
            seen.setdefault(figure.name, {}).setdefault(figure.peer, []).append(figure.value)
    return {
        name: {peer: _median([value for value in values if value is not None]) for peer, values in peers.items()}
        for name, peers in seen.items()
    }


def markdown(
    broker: str,
    tasks: int,
    rounds: int,
    about: Mapping[str, Mapping[str, str]],
    figures: Sequence[Sequence[Figure]],
    machine: Mapping[str, object],
) -> str:
    """The report as one Markdown page."""
    peers = list(about)
    first, others = peers[0], peers[1:]
    names = {peer: about[peer]["name"] for peer in peers}
    heads = ["measured", *(names[peer] for peer in peers), *(f"{names[first]} / {names[peer]}" for peer in others)]
    lines = [
        f"# {names[first]} beside {' and '.join(names[peer] for peer in others)}, on {broker}",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {', '.join(f'{name} {value}' for name, value in machine.items())}.",
        f"{tasks:,} no-op tasks a figure, median of {rounds} interleaved rounds; tasks a second, latencies in ms.",
        "The machine is noisy: compare ratios. Made by `python benchmarks/against_others.py`.",
        "",
        f"| {' | '.join(heads)} |",
        f"|---|{'--:|' * (len(heads) - 1)}",
    ]
    for name, values in medians(figures).items():
        cells = [_cell(name, values.get(peer)) for peer in peers]
        ratios = [_ratio(name, values.get(first), values.get(peer)) for peer in others]
        lines.append(f"| {' | '.join([name, *cells, *ratios])} |")
    lines += ["", "| peer | version | acknowledges | guarantee | tuning |", "|---|---|---|---|---|"]
    lines += [
        f"| {' | '.join(about[peer][key] for key in ('name', 'version', 'ack', 'guarantee', 'tuning'))} |"
        for peer in peers
    ]
    return "\n".join(lines) + "\n"


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "cannot"
    return f"{value * 1000:.2f} ms" if name.startswith("latency") else f"{value:,.0f}"


def _ratio(name: str, ours: float | None, theirs: float | None) -> str:
    if not ours or not theirs:
        return ""
    return f"{theirs / ours if name.startswith('latency') else ours / theirs:.1f}x"
