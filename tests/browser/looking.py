"""A little of everything to look at, and the addresses of all pages."""

import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shop import HOSTILE, charge, hostile, mail, picture, publish, resize

from taskbus import chain, cron, group
from tests.browser.stack import Stack, wait_until

EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>'\"&lt;"
"""What must be shown as the text it is, wherever it stands."""


@contextmanager
def lived_in(folder: Path) -> Iterator[Stack]:
    """A stack with a page and a worker that is a beat too, for ``fill``."""
    stack = Stack(folder)
    try:
        stack.start_worker("ann", "-B")
        stack.start_web()
        yield stack
    finally:
        stack.make("released")
        stack.close()


def fill(stack: Stack) -> dict[str, str]:
    """Tasks, letters, workflows and a schedule, some with hostile names; the path of each page, by its name."""
    stack.app.schedules.add(EVIL, mail.s(EVIL), cron("0 4 * * *"), replace=True)
    done = stack.send("shop.mail", "ann", subject=EVIL)
    evil = stack.send(HOSTILE, EVIL, **{EVIL: EVIL})
    dead = [charge.delay(number).id for number in (1, 2)]
    held = stack.send("shop.holds", "released")
    stack.send("shop.mail", EVIL, queue="idle", countdown=3600)
    flow = str(chain(picture.s(2), group(resize.s(12), resize.s(13)), publish.s(), hostile.si(EVIL)).delay().flow_id)
    stack.wait_for(done)
    for task_id in (evil, *dead):
        stack.wait_for(task_id, "FAILURE")
    wait_until(lambda: stack.ask(f"flows/{flow}").get("flow", {}).get("dead"), "the workflow to fail")
    for task_id in (done, evil, held):
        wait_until(lambda task_id=task_id: "row" in stack.ask(f"tasks/{task_id}"), "the task on the page")  # type: ignore[misc]
    worker = stack.ask("nodes?limit=1")["items"][0]["name"]
    return {
        "overview": "", "queues": "queues", "queue": "queues/default", "waiting": "queues/idle", "tasks": "tasks",
        "task": f"tasks/{done}", "evil task": f"tasks/{evil}", "running task": f"tasks/{held}", "types": "types",
        "type": f"types/{urllib.parse.quote(HOSTILE, safe='')}", "workers": "workers", "worker": f"workers/{worker}",
        "workflows": "workflows", "workflow": f"workflows/{flow}", "dead letters": "dead-letters",
        "dead letter": f"dead-letters/{evil}", "schedules": "schedules", "system": "system",
    }  # fmt: skip
