"""Where in a value the part is that cannot be encoded. Runs only once encoding has failed, so it may be slow."""

from collections.abc import Iterator
from enum import Enum
from typing import Any

from taskbus.codec import native
from taskbus.codec.limits import MAX_DEPTH
from taskbus.errors import CodecError

_LEAVES = (str, bytes, bytearray, memoryview, bool, int, float, type(None))
_ADVICE = {
    "numpy": "; convert it with .item() or .tolist()",
    "pandas": "; send a path or a key to it instead",
    "_io": "; send its path instead",
    "builtins.generator": "; send a list",
    "builtins.coroutine": "; await it first",
    "builtins.function": "; send its name",
}


def explain(value: Any, roots: tuple[str, ...], error: Exception) -> str:
    """A message that names the offending part; ``roots``: the name of ``value``, or of each of its items."""
    parts = ((roots[0], value),) if len(roots) == 1 else zip(roots, value, strict=True)
    for root, part in parts:
        found = _search(part, root, 0)
        if found is not None:
            return found
    return str(error)


def _search(value: Any, where: str, depth: int) -> str | None:
    if depth > MAX_DEPTH:
        return f"{where[:60]}...: nested deeper than {MAX_DEPTH} levels, or holds itself"
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            native.BY_NAME["$int"].write(value)
        except CodecError as error:
            return f"{where}: {error}"
    if isinstance(value, _LEAVES):
        return None
    for step, child in _children(value):
        if step is None:
            return f"{where}: {child}"
        found = _search(child, where + step, depth + 1)
        if found is not None:
            return found
    return None


def _children(value: Any) -> Iterator[tuple[str | None, Any]]:
    """The parts of ``value`` with the step that leads to each; a step of None comes with a message instead."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"{{key {key!r:.40}}}", key
            yield f"[{key!r:.40}]", item
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield f"[{index}]", item
    elif isinstance(value, (set, frozenset)):
        for item in value:
            yield f"{{{item!r:.40}}}", item
    elif native.tag_of(value) is None or isinstance(value, Enum):
        try:
            simpler = native.plain(value)
        except TypeError:
            yield None, _unknown(type(value))
            return
        if isinstance(simpler, dict):
            for name, item in simpler.items():
                yield f".{name}", item
        else:
            yield ".value", simpler


def _unknown(kind: type) -> str:
    name = f"{kind.__module__}.{kind.__qualname__}"
    advice = _ADVICE.get(name) or _ADVICE.get(kind.__module__.partition(".")[0], "; send plain values, or a dataclass")
    return f"{name} cannot be encoded{advice}"
