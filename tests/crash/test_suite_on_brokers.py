"""Plays the cells on every other broker: a few always, the rest with ``-m slow``; see also ``make crash``."""

from pathlib import Path

import pytest

from .grounds import GROUNDS
from .suite import Playable
from .test_suite import cells
from .town import Town

OTHERS = [name for name in GROUNDS if name != "sqlite"]


@pytest.mark.parametrize("cell", cells(*OTHERS))
def test_nothing_accepted_is_lost_and_nothing_runs_twice_without_a_fault(
    cell: Playable, tmp_path: Path, town: Town
) -> None:
    outcome = cell.play(tmp_path / "cell", town)
    if outcome.not_run:
        pytest.skip(outcome.not_run)
    assert outcome.is_good, outcome.error or f"{outcome.verdict.violations}\n{outcome.verdict}"
