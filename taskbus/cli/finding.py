"""One thing that ``taskbus doctor`` has to say."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """``text`` says what was found, with the value; ``hint`` what to do."""

    level: Level
    subject: str
    text: str
    hint: str = ""
