"""Queues: how full they are, what waits in them; to pause, resume and empty one."""

from collections.abc import Sequence

from taskbus.broker.delivery import Delivery
from taskbus.errors import CodecError
from taskbus.steering import queues as acts
from taskbus.steering.queues import QueueView
from taskbus.steering.showing import Showing
from taskbus.store.where import parse_queues
from taskbus.web import picture
from taskbus.web.api.charts import series_of
from taskbus.web.api.paging import page_of
from taskbus.web.house import House, Visit
from taskbus.web.routes import Routes
from taskbus.web.shapes.basis import Changed, DryRun, Found, Listing, Nothing, Range, Role
from taskbus.web.shapes.work import Queue, QueueDetail, Waiting
from taskbus.wire import formats

queues = Routes("queues")
SHOWN = 50
"""Messages of a queue that are shown."""


@queues.get("/queues")
def list_all(visit: Visit, query: Found) -> Listing[Queue]:
    """Every queue that matches, and how full it is."""
    house, wanted = visit.house, parse_queues(query.where)
    views = acts.queue_views(house.app, house.reports, house.clock())
    found = shapes_of(house, [view for view in views if acts.is_meant(view, wanted, is_paused=view.is_paused)])
    page, following = page_of(found, query, lambda queue: queue.name)
    note = "" if house.broker.features.lists else "this broker lists no queues: these are those of the workers"
    return Listing(items=list(page), next=following, count=len(found), note=note)


@queues.get("/queues/{name}")
def show(visit: Visit, name: str, query: Range) -> QueueDetail:
    """One queue: how full it is, how that came, and the messages that come next."""
    house = visit.house
    view = acts.queue_view(house.app, house.reports, name, house.clock())
    peeked = house.broker.peek(name, SHOWN) if house.broker.features.lists else ()
    showing, now = Showing(house.app), house.app.now()
    return QueueDetail(
        queue=shapes_of(house, [view])[0],
        series=series_of(house, query.range, queue=name),
        messages=[waiting_of(delivery, showing, now) for delivery in peeked],
    )


@queues.post("/queues/{name}/pause")
def pause(visit: Visit, name: str, body: Nothing) -> Changed:
    """Let no worker fetch from a queue until it is resumed; what they hold of it is done."""
    done = acts.pause(visit.house.reports, name)
    visit.note(target=name)
    return Changed(changed=done.changed)


@queues.post("/queues/{name}/resume")
def resume(visit: Visit, name: str, body: Nothing) -> Changed:
    """End a pause."""
    done = acts.resume(visit.house.reports, name)
    visit.note(target=name)
    return Changed(changed=done.changed)


@queues.post("/queues/{name}/purge", role=Role.ADMIN)
def purge(visit: Visit, name: str, body: DryRun) -> Changed:
    """Delete what waits in a queue, never what a worker holds; ``dry_run`` only counts it."""
    done = acts.purge(visit.house.app, name, dry_run=body.dry_run)
    visit.note(target=name, detail="dry run" if body.dry_run else None, count=done.count)
    return Changed(changed=done.changed, count=done.count)


def shapes_of(house: House, views: Sequence[QueueView]) -> list[Queue]:
    """Queues as they are sent, with their rates of the moment."""
    live, growth = house.snapshot, house.gauges.read().growth
    rates = {each.queue: each for each in live.queues} if live is not None else {}
    return [picture.queue(view, rates.get(view.name), growth.get(view.name, 0.0)) for view in views]


def waiting_of(delivery: Delivery, showing: Showing, now: float) -> Waiting:
    """A message that waits, as far as it can be read."""
    size = len(delivery.wire)
    try:
        message = formats.decode(delivery.wire, delivery.queue, delivery.priority, max(1, size))
    except CodecError as error:
        return Waiting(
            id="", task="", priority=delivery.priority, attempt=1, sent_at=None, due_at=None,
            args=f"cannot be read: {error}", kwargs="", size=size, is_delayed=False,
        )  # fmt: skip
    args, kwargs = showing.call(message)
    return Waiting(
        id=message.id,
        task=message.task,
        priority=message.priority,
        attempt=message.attempt,
        sent_at=message.sent_at or None,
        due_at=message.due_at,
        args=args,
        kwargs=kwargs,
        size=size,
        is_delayed=message.due_at is not None and message.due_at > now,
    )
