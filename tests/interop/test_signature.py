"""Real Celery and TaskBus send the same calls for the same signature: ids are kept, all else is in its place."""

import json
from typing import Any

import pytest
from celery import Celery, chain, chord, group

from tests.interop.canvas_capture import celery_app, renamed, sent_by_celery, sent_by_taskbus

app: Celery = celery_app()
SENT = {"parent_id": "the-parent", "root_id": "the-root"}


def add(*args: Any) -> Any:
    return app.tasks["add"].s(*args)


def total(*args: Any) -> Any:
    return app.tasks["total"].s(*args)


def written(canvas: Any, *, is_frozen: bool) -> Any:
    """The signature as it travels; ``is_frozen``: with its ids, as the rest of a chain has them."""
    if is_frozen:
        canvas.freeze()
    return json.loads(json.dumps(canvas))


CANVASES = {
    "a task": lambda: add(1),
    "an immutable task": lambda: app.tasks["one"].si(5),
    "a task with options": lambda: add(1).set(queue="q", priority=3, countdown=5),
    "a task with links": lambda: add(1).on_error(app.tasks["failed"].s()).set(link=[total()]),
    "a stamped task": lambda: _stamped(add(1)),
    "a chain": lambda: chain(add(1), add(2), add(3)),
    "a chain of one": lambda: chain(add(1)),
    "a chain with an errback": lambda: _with_errback(chain(add(1), add(2))),
    "a chain with a link": lambda: _with_link(chain(add(1), add(2))),
    "a group": lambda: group(add(1), add(2)),
    "a group of one": lambda: group(add(1)),
    "a group of nothing": lambda: group([]),
    "a group of chains": lambda: group(chain(add(1), add(2)), add(3)),
    "a chord": lambda: chord([add(1), add(2)], total()),
    "a chord of nothing": lambda: chord([], total()),
    "a chord with an errback": lambda: _body_errback(),
    "a chord of chains": lambda: chord([chain(add(1), add(2)), add(3)], total()),
    "a chord that ends in a chain": lambda: chord([add(3), chain(add(1), add(2))], total()),
    "a chord in a chord": lambda: chord([chord([add(1), add(2)], total()), add(3)], total()),
    "a chord with a chain for its body": lambda: chord([add(1), add(2)], chain(total(), add(5), add(6))),
    "a chord with a group for its body": lambda: chord([add(1), add(2)], group(total(), total())),
    "a group, then a task": lambda: chain(add(1), group(add(2), add(3)), total()),
    "a group, then a group": lambda: chain(group(add(2), add(3)), group(total(), total())),
    "two groups with tasks": lambda: chain(group(add(2), add(3)), total(), group(add(4), add(5)), total()),
    "a chain that ends in a group": lambda: chain(add(1), group(add(2), add(3))),
    "a chord of a group's chains": lambda: chord([chain(add(1), group(add(2), add(3)))], total()),
    "chords one after another": lambda: chain(chord([add(1)], total()), chord([add(2), add(3)], total()), add(4)),
}


def _stamped(canvas: Any) -> Any:
    canvas.stamp(customer="c-7")
    return canvas


def _with_errback(canvas: Any) -> Any:
    canvas.link_error(app.tasks["failed"].s())
    return canvas


def _with_link(canvas: Any) -> Any:
    canvas.link(total())
    return canvas


def _body_errback() -> Any:
    body = total().on_error(app.tasks["failed"].s())
    return chord([add(1), add(2)], body)


@pytest.mark.parametrize("is_frozen", [True, False], ids=["with ids", "without ids"])
@pytest.mark.parametrize("name", CANVASES)
def test_a_signature_is_sent_as_celery_sends_it(name: str, is_frozen: bool) -> None:
    plain = written(CANVASES[name](), is_frozen=is_frozen)
    check(plain)


def check(plain: Any) -> None:
    theirs = sent_by_celery(app, json.loads(json.dumps(plain)), (10,), **SENT)
    ours = sent_by_taskbus(json.loads(json.dumps(plain)), (10,), **SENT)
    assert renamed(ours) == renamed(theirs)


@pytest.mark.parametrize("name", ["a chain", "a group, then a task", "chords one after another"])
def test_the_rest_of_a_chain_travels_with_what_comes_next(name: str) -> None:
    plain = written(CANVASES[name](), is_frozen=True)
    rest = [written(add(8), is_frozen=True), written(add(7), is_frozen=True)]
    theirs = sent_by_celery(app, json.loads(json.dumps(plain)), (10,), chain=rest, **SENT)
    ours = sent_by_taskbus(json.loads(json.dumps(plain)), (10,), chain=rest, **SENT)
    assert renamed(ours) == renamed(theirs)


def test_what_is_sent_again_has_the_same_ids() -> None:
    plain = written(CANVASES["a group, then a task"](), is_frozen=False)
    assert sent_by_taskbus(plain, (1,)) == sent_by_taskbus(plain, (1,))
