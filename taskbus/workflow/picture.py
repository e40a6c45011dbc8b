"""Shapes as text, short enough for a line: with arguments for a developer, without for a list of workflows."""

from collections.abc import Sequence
from itertools import groupby
from reprlib import Repr

from taskbus.workflow.shape import AtOnce, InTurn, OneCall, Shape

MAX_LABEL = 120
DEEPEST, MOST = 4, 6
"""Shapes nested deeper are shown as ``...``, and so are steps and members after the sixth."""
_values = Repr()
_values.maxstring = _values.maxother = 40


def label(shape: Shape) -> str:
    """Its tasks, as ``fetch | group(100 resize) | album``, cut after ``MAX_LABEL`` characters."""
    text = _named(shape, 0)
    return text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…"


def picture(shape: Shape) -> str:
    """As a developer would write it, without what is deep inside or far behind."""
    return _written(shape, 0)


def _named(shape: Shape, depth: int) -> str:
    if isinstance(shape, OneCall):
        return shape.task.name
    if depth >= DEEPEST:
        return "..."
    if isinstance(shape, InTurn):
        text = _cut([_named(step, depth + 1) for step in shape.steps[:MOST]], len(shape.steps), " | ")
        return f"({text})" if depth and len(shape.steps) > 1 else text
    members = shape.members if isinstance(shape, AtOnce) else ()
    # Only what stands side by side is counted together, so that a long group costs its first few names.
    kinds = groupby(members, lambda each: each.task.name if isinstance(each, OneCall) else _named(each, depth + 1))
    told = []
    for name, alike in kinds:
        number = sum(1 for _ in alike)
        told.append(name if number == 1 else f"{number:,} {name}")
        if len(told) == MOST:
            told.append("...")
            break
    return f"group({', '.join(told)})"


def _written(shape: Shape, depth: int) -> str:
    if isinstance(shape, OneCall):
        return _call(shape)
    if depth >= DEEPEST:
        return "..."
    if isinstance(shape, InTurn):
        text = _cut([_written(step, depth + 1) for step in shape.steps[:MOST]], len(shape.steps), " | ")
        return f"({text})" if depth and len(shape.steps) > 1 else text
    members = shape.members if isinstance(shape, AtOnce) else ()
    return f"group({_cut([_written(member, depth + 1) for member in members[:MOST]], len(members), ', ')})"


def _call(call: OneCall) -> str:
    told = [*map(_values.repr, call.args), *(f"{name}={_values.repr(value)}" for name, value in call.kwargs.items())]
    kind = "chunk" if call.is_chunk else "si" if call.is_immutable else "s"
    return f"{call.task.name}.{kind}({', '.join(told)})"


def _cut(told: Sequence[str], of: int, between: str) -> str:
    more = f"{between}... {of - len(told):,} more" if of > len(told) else ""
    return between.join(told) + more
