"""Why an act was not done. Nothing was changed where one of these is raised."""

import difflib
from collections.abc import Iterable

from taskbus.errors import TaskBusError


class Refusal(TaskBusError):
    """It could not be done; the text says why, ``advice`` what to do instead ("" where there is nothing)."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}; {self.advice}" if self.advice else text

    @property
    def text(self) -> str:
        """What happened, without the advice."""
        return super().__str__()


class NotThere(Refusal):
    """There is nothing of that name or id."""


class NobodyAnswered(Refusal):
    """No node said anything to an order in time; it may obey it all the same, until the order expires."""


def near(name: str, known: Iterable[str], *, at_most: int = 10) -> str:
    """Advice for a name that is not among those ``known``: the one that was meant, or those there are."""
    names = sorted(known)
    meant = difflib.get_close_matches(name, names, n=1) or [each for each in names if each.endswith(f".{name}")]
    if meant:
        return f"did you mean {meant[0]!r}?"
    shown = ", ".join(names[:at_most]) or "none"
    return f"there are: {shown}{', ...' if len(names) > at_most else ''}"
