"""What other processes say, made to fit the tables: whatever is in it, it can be stored, and none is too long.

A name that is too long keeps its beginning and is told apart by its end.
"""

import hashlib
import math
from typing import Any

from taskbus.store.statements import storable

MOST_OF_A_NAME = 255
MOST_OF_A_TEXT = 1000
"""Characters of a message or of arguments in a row that lists show; its detail has the whole."""
_MOST = 1 << 53


def fitted_name(name: Any) -> str:
    """A name of at most 255 characters, another one for another name."""
    text = storable(str(name))
    if len(text) <= MOST_OF_A_NAME:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{text[: MOST_OF_A_NAME - 17]}~{digest}"


def fitted_text(text: Any, most: int = MOST_OF_A_TEXT) -> str:
    """The beginning of a text, at most so many characters."""
    text = storable(str(text)[: most + 1])
    return text if len(text) <= most else f"{text[: most - 1]}…"


def fitted_count(count: Any) -> int:
    """A whole number from 0 up to what every database adds up exactly."""
    return min(max(0, int(count)), _MOST)


def fitted_int(number: Any) -> int:
    """A whole number that has 32 bits."""
    return min(max(-(2**31), int(number)), 2**31 - 1)


def fitted_seconds(number: Any) -> float:
    """An instant or a duration: no less than 0, and no end of time."""
    seconds = float(number)
    return min(max(0.0, seconds), 1e12) if math.isfinite(seconds) else 0.0
