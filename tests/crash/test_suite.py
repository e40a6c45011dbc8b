"""Plays cells of the crash suite: the quick ones always, the others with ``-m slow``; see also ``make crash``."""

from pathlib import Path

import pytest

from .suite import Playable, playables


def cells() -> list[object]:
    return [
        pytest.param(cell, id=cell.name, marks=() if cell.is_quick else (pytest.mark.slow,)) for cell in playables()
    ]


@pytest.mark.parametrize("cell", cells())
def test_nothing_accepted_is_lost_and_nothing_runs_twice_without_a_fault(cell: Playable, tmp_path: Path) -> None:
    outcome = cell.play(tmp_path / "cell")
    if outcome.not_run:
        pytest.skip(outcome.not_run)
    assert outcome.is_good, outcome.error or f"{outcome.verdict.violations}\n{outcome.verdict}"
