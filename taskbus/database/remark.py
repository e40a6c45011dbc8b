"""What a back end says of its own live settings: read by ``taskbus doctor``, and by a worker when it starts."""

from enum import StrEnum
from typing import NamedTuple


class Weight(StrEnum):
    """How much a remark matters."""

    FINE = "fine"
    RISK = "risk"
    """It works, and something accepted may be lost, late or run twice: a worker logs it at its start."""
    REFUSED = "refused"
    """TaskBus does not work on this: a worker does not start."""


class Remark(NamedTuple):
    """One finding: ``subject`` is a word ("durability"), ``text`` what was found, ``advice`` what to do, or empty."""

    weight: Weight
    subject: str
    text: str
    advice: str = ""
