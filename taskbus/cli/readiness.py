"""How a command that serves until it is told to stop says to the one that started it that it is ready."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

_pipe = -1


def tell_by(pipe: int) -> None:
    """From now on ``tell_ready`` writes there (-1: nowhere); no process that this one starts inherits it."""
    global _pipe
    _pipe = pipe
    if pipe >= 0:
        os.set_inheritable(pipe, False)


def tell_ready(item: Mapping[str, Any]) -> None:
    """Say so, once: a line of JSON. Nothing happens where nobody wants to know, or where he has left."""
    global _pipe
    pipe, _pipe = _pipe, -1
    if pipe >= 0:
        with suppress(BrokenPipeError), open(pipe, "w") as stream:
            stream.write(json.dumps(item) + "\n")
