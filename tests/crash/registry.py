"""What a named case is, and the lists that the modules of cases keep."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .checker import Verdict

Play = Callable[[Path], Verdict]


@dataclass(frozen=True, slots=True)
class Case:
    """A named case and its number in the fault matrix. ``obstacle`` says why it cannot run here, or is empty."""

    number: str
    title: str
    run: Play
    is_quick: bool = False
    obstacle: Callable[[], str] = str

    @property
    def name(self) -> str:
        return f"case {self.number}: {self.title}"


@dataclass(slots=True)
class Cases:
    """The cases of one module; called as a decorator it adds one."""

    all: list[Case] = field(default_factory=list)

    def __call__(
        self, number: str, title: str, *, quick: bool = False, obstacle: Callable[[], str] = str
    ) -> Callable[[Play], Play]:
        def add(play: Play) -> Play:
            self.all.append(Case(number, title, play, quick, obstacle))
            return play

        return add
