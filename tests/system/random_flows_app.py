"""The application that random workflows are made of, and how one that is written as plain data becomes a canvas.

A *shape* is a dict, so that Hypothesis can make it, the reference interpreter read it, and a message carry it to a task
that is replaced by it. ``is`` says what it is:

    call     ``key``, ``failures``: how many attempts fail, ``takes``: whether it is given what runs before,
             ``is_async``, ``delay``: seconds, ``instead``: the shape that it is replaced by, or None
    chain    ``steps``, ``is_piped``: whether it is written with ``|``
    group    ``members``, ``collects``
    chord    ``members``, ``collects``, ``body``
    map, starmap, chunks    ``items``: calls, ``size``: how many in a chunk

``links`` and ``errors`` are the shapes that are linked to its success and to its failure.
"""

import re
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from sample import AT_ONCE, note

from taskbus import Context, FailedTask, TaskBus, chain, chord, group

Shape = dict[str, Any]
ATTEMPTS = 3
FAILED = "failed"
app = TaskBus("random_flows", unknown_task_grace=0, sweep=0.5)


@app.task(retry=AT_ONCE)
def step(ctx: Context, given: Any, path: str, key: str, failures: int) -> Any:
    return run(ctx, path, key, failures, told(given))


@app.task(retry=AT_ONCE)
async def astep(ctx: Context, given: Any, path: str, key: str, failures: int) -> Any:
    return run(ctx, path, key, failures, told(given))


@app.task(retry=AT_ONCE)
def alone(ctx: Context, path: str, key: str, failures: int) -> Any:
    return run(ctx, path, key, failures)


@app.task(retry=AT_ONCE)
async def aalone(ctx: Context, path: str, key: str, failures: int) -> Any:
    return run(ctx, path, key, failures)


@app.task(retry=AT_ONCE)
def each(ctx: Context, item: list[Any]) -> Any:
    return run(ctx, *item)


@app.task
def unfolded(ctx: Context, path: str, key: str, instead: Shape) -> Any:
    note(path, key)
    ctx.replace(canvas(instead, path))


def run(ctx: Context, path: str, key: str, failures: int, *given: Any) -> list[Any]:
    """Notes that it ran; its value says which call it is of and what that was given."""
    note(path, key)
    if ctx.attempt <= failures:
        raise ValueError(f"no {key}")
    return [key, *given]


def told(value: Any) -> Any:
    """A value as plain data: what failed is ``[FAILED, key]`` with the key of the call that had failed by itself."""
    if isinstance(value, FailedTask):
        return [FAILED, blamed(value.message)]
    return [told(each) for each in value] if isinstance(value, list) else value


def blamed(message: str) -> str:
    """The key of the call that is named by an error, or by one that tells of it."""
    found = re.search(r"no (\w+)$", message)
    return found[1] if found else f"nobody: {message}"


def ran(path: Path) -> list[str]:
    """The keys of all calls that were run, once for each attempt."""
    return path.read_text().split() if path.exists() else []


def canvas(shape: Shape, path: str, *, is_fed: bool = False) -> Any:
    """The workflow. ``is_fed``: whether something runs before it, whose value it may be given."""
    made = _KINDS[shape["is"]](shape, path, is_fed)
    for link in shape["links"]:
        made = made.link(canvas(link, path, is_fed=True))
    for link in shape["errors"]:
        made = made.link_error(canvas(link, path, is_fed=True))
    return made


def _call(shape: Shape, path: str, is_fed: bool) -> Any:
    key, failures = shape["key"], shape["failures"]
    if shape["instead"] is not None:
        made: Any = unfolded.si(path, key, shape["instead"])
    elif is_fed and shape["takes"]:
        made = (astep if shape["is_async"] else step).s(path, key, failures)
    else:
        made = (aalone if shape["is_async"] else alone).si(path, key, failures)
    return made.options(countdown=shape["delay"]) if shape["delay"] else made


def _chain(shape: Shape, path: str, is_fed: bool) -> Any:
    steps = [canvas(each, path, is_fed=is_fed or number > 0) for number, each in enumerate(shape["steps"])]
    return reduce(or_, steps) if shape["is_piped"] else chain(steps)


def _group(shape: Shape, path: str, is_fed: bool) -> Any:
    return group([canvas(each, path, is_fed=is_fed) for each in shape["members"]], collect=shape["collects"])


def _chord(shape: Shape, path: str, is_fed: bool) -> Any:
    header = [canvas(each, path, is_fed=is_fed) for each in shape["members"]]
    return chord(header, canvas(shape["body"], path, is_fed=True), collect=shape["collects"])


def _map(shape: Shape, path: str, is_fed: bool) -> Any:
    return each.map(_items(shape, path))


def _starmap(shape: Shape, path: str, is_fed: bool) -> Any:
    return alone.starmap(_items(shape, path))


def _chunks(shape: Shape, path: str, is_fed: bool) -> Any:
    return (aalone if shape["is_async"] else alone).chunks(_items(shape, path), shape["size"])


def _items(shape: Shape, path: str) -> list[list[Any]]:
    return [[path, item["key"], item["failures"]] for item in shape["items"]]


_KINDS = {
    "call": _call,
    "chain": _chain,
    "group": _group,
    "chord": _chord,
    "map": _map,
    "starmap": _starmap,
    "chunks": _chunks,
}
