"""How it all is: the overview, the live stream, and what an autoscaler wants to know."""

import math

from taskbus.errors import StoreError
from taskbus.history.shapes import Counts as Counted
from taskbus.history.shapes import Quantiles as Measured
from taskbus.steering.queues import unlisted
from taskbus.web import picture
from taskbus.web.api.charts import counts_of, quantiles_of, series_of
from taskbus.web.house import House, Visit
from taskbus.web.problems import alive, problems
from taskbus.web.routes import EVENTS, Routes
from taskbus.web.shapes.basis import Range, RangeName
from taskbus.web.shapes.picture import (
    FailingTask,
    NodeCounts,
    Overview,
    Sampling,
    Scaling,
    ScalingOf,
    Snapshot,
    View,
)

overview = Routes("overview")
MOST_FAILING = 10


@overview.get("/overview")
def show(visit: Visit, query: Range) -> Overview:
    """How it all is, over the time asked for."""
    house = visit.house
    seen = house.seen()
    live = seen.live
    workers = alive(seen.live, "worker")
    history = house.history
    counts = history.counts(query.range) if history is not None else Counted()
    wait, run = history.quantiles(query.range) if history is not None else (Measured(), Measured())
    return Overview(
        now=seen.now,
        series=series_of(house, query.range),
        wait=quantiles_of(wait),
        run=quantiles_of(run),
        counts=counts_of(counts),
        queues=picture.queues(live, seen.gauged),
        failing=_failing(house, query.range),
        problems=problems(seen),
        nodes=NodeCounts(
            workers=len(workers),
            beats=len(alive(seen.live, "beat")),
            slots=sum(worker.state.slots for worker in workers),
            active=sum(worker.state.active for worker in workers),
        ),
        sampling=Sampling(one_of=live.one_of, dropped=live.dropped),
    )


def _failing(house: House, range: RangeName) -> list[FailingTask]:
    found = house.history.failing(range, MOST_FAILING) if house.history is not None else ()
    return [
        FailingTask(
            task=each.task, failed=each.failed, total=each.total, error=each.error, last_at=each.last_at or None
        )
        for each in found
    ]


@overview.get("/live", media=EVENTS)
def follow(visit: Visit, query: View) -> Snapshot:
    """Server-sent events, named snapshot: the live picture, once a second, in the parts that a view shows."""
    raise NotImplementedError("streams are served by taskbus.web.live")


@overview.get("/scaling")
def scaling(visit: Visit, query: ScalingOf) -> Scaling:
    """How many workers these queues want: for KEDA's metrics-api scaler. Fails, rather than guessing, without a broker.

    What runs counts too: a worker that runs a long task is not to be taken away because nothing waits. What is paused
    or not yet due wants nobody. Nor does a queue that is not there: it may come yet, and ``unknown`` names it.
    """
    seen = visit.house.seen()
    if seen.gauged.error:
        raise StoreError(seen.gauged.error)
    wanted = {name.strip() for name in query.queues.split(",") if name.strip()}
    queues = [queue for queue in seen.gauged.queues if queue.name in wanted or not wanted]
    unknown = wanted - {queue.name for queue in queues}
    if not visit.house.broker.features.lists:
        unseen = unlisted(visit.house.app, unknown)
        queues, unknown = [*queues, *unseen], unknown - {queue.name for queue in unseen}
        visit.house.broker.ping()  # or was it the broker that is not there?
    workers = [node for node in alive(seen.live, "worker") if not wanted or wanted & set(node.state.queues)]
    lists_held = visit.house.broker.features.lists
    in_flight = sum(queue.held for queue in queues) if lists_held else sum(node.state.held for node in workers)
    queued = sum(queue.ready for queue in queues if not queue.is_paused)
    oldest = min((queue.oldest_at for queue in queues if queue.oldest_at and not queue.is_paused), default=seen.now)
    capacity = sum(node.state.slots for node in workers)
    slots = query.slots or (capacity / len(workers) if capacity else 1)
    return Scaling(
        queued=queued,
        in_flight=in_flight,
        oldest_age=max(0.0, seen.now - oldest),
        workers=len(workers),
        capacity=capacity,
        desired=math.ceil((queued + in_flight) / slots),
        unknown=sorted(unknown - {visit.house.app.config.default_queue, *visit.house.app.config.queues}),
    )
