"""What a named case is, and the lists that the modules of cases keep."""

from collections.abc import Callable
from dataclasses import dataclass, field

from .checker import Verdict
from .place import Place

Play = Callable[[Place], Verdict]
EVERYWHERE = ("sqlite", "redis", "postgresql", "mysql", "rabbitmq")
"""The brokers that a case is played on unless it says otherwise."""
NETWORK = EVERYWHERE[1:]


@dataclass(frozen=True, slots=True)
class Case:
    """A named case and its number in the fault matrix. ``obstacle`` says why it cannot run here, or is empty.

    ``on`` are the brokers it is played on. ``apart``: also where another server keeps the results; ``only_apart``: only
    there.
    """

    number: str
    title: str
    run: Play
    is_quick: bool = False
    obstacle: Callable[[], str] = str
    on: tuple[str, ...] = EVERYWHERE
    apart: bool = False
    only_apart: bool = False

    @property
    def name(self) -> str:
        return f"case {self.number}: {self.title}"


@dataclass(slots=True)
class Cases:
    """The cases of one module; called as a decorator it adds one."""

    on: tuple[str, ...] = EVERYWHERE
    all: list[Case] = field(default_factory=list)

    def __call__(
        self,
        number: str,
        title: str,
        *,
        quick: bool = False,
        obstacle: Callable[[], str] = str,
        on: tuple[str, ...] = (),
        apart: bool = False,
        only_apart: bool = False,
    ) -> Callable[[Play], Play]:
        def add(play: Play) -> Play:
            self.all.append(Case(number, title, play, quick, obstacle, on or self.on, apart, only_apart))
            return play

        return add
