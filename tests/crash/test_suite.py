"""Plays the cells on SQLite: the quick ones always, the others with ``-m slow``; see also ``make crash``."""

from pathlib import Path

import pytest

from .__main__ import main
from .cases_of_clocks import no_compiler
from .checker import Verdict
from .grid import GRID
from .grounds import GROUNDS
from .suite import CASES, QUICK_ELSEWHERE, QUICK_SQUARES, Playable, not_run, playables
from .town import Town

LAST = 78
"""The fault matrix has cases 1 to 78; larger numbers are our own."""


def cells(*names: str) -> list[object]:
    """The cells on these grounds, as parameters."""
    return [
        pytest.param(cell, id=cell.name, marks=() if cell.is_quick else (pytest.mark.slow,))
        for cell in playables(GROUNDS[name] for name in names)
    ]


@pytest.mark.parametrize("cell", cells("sqlite"))
def test_nothing_accepted_is_lost_and_nothing_runs_twice_without_a_fault(
    cell: Playable, tmp_path: Path, town: Town
) -> None:
    outcome = cell.play(tmp_path / "cell", town)
    if outcome.not_run:
        pytest.skip(outcome.not_run)
    assert outcome.is_good, outcome.error or f"{outcome.verdict.violations}\n{outcome.verdict}"


def test_every_case_of_the_fault_matrix_is_played_or_has_a_reason() -> None:
    played = {int("".join(filter(str.isdigit, case.number))) for case in CASES}
    excused = {int(number) for number, _ in not_run()}
    assert played | excused >= set(range(1, LAST + 1))
    assert not played & excused


def test_cells_have_names_of_their_own_and_the_quick_squares_exist() -> None:
    names = [cell.name for cell in playables()]
    assert len(set(names)) == len(names)
    assert set(QUICK_SQUARES) <= {square.name for square in GRID}
    for broker, starts in QUICK_ELSEWHERE.items():
        here = [cell.cell for cell in playables([GROUNDS[broker]])]
        assert [start for start in starts if not any(cell.startswith(start) for cell in here)] == []


def test_a_missing_program_fails_a_cell_where_all_are_installed(
    tmp_path: Path, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = Playable("case", GROUNDS["sqlite"], lambda place: Verdict(), is_quick=False, obstacle=no_compiler)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    outcome = cell.play(tmp_path / "cell", town)
    assert outcome.is_good and "cc is not installed" in outcome.not_run
    monkeypatch.setenv("CI", "true")
    outcome = cell.play(tmp_path / "cell", town)
    assert not outcome.is_good and not outcome.not_run and "cc is not installed" in outcome.error


def test_words_that_no_cell_has_are_an_error_of_usage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["crash", "case 8:", "of no cell", "--broker", "sqlite"])
    assert main() == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "No cell on sqlite has 'case 8:' and 'of no cell' in its name; --list prints the names.\n"
