"""``/metrics``: what Prometheus is told of all workers, queues and schedules, made when it asks.

Counts are the history's, of all time: they go on where they were when this server is restarted. Nothing is pushed.
"""

import threading
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from taskbus.errors import ConfigError, TaskBusError
from taskbus.monitor.figures import Figures, QueueFigures, ScheduleFigures, Sight, figures_of_all
from taskbus.monitor.serving import Exposition, exposition
from taskbus.store.base import Filter
from taskbus.web.answers import as_refusal
from taskbus.web.auth.doorkeeper import Door
from taskbus.web.house import House
from taskbus.web.refusal import Refusal
from taskbus.web.serving import Server


class Scrapes:
    """Answers those who scrape, and are let in by ``door``; any role will do."""

    def __init__(self, server: Server, door: Door) -> None:
        self._server, self._door = server, door
        self._lock = threading.Lock()
        self._exposition: Exposition | None = None

    async def respond(self, request: Request) -> Response:
        """The page; 501 where prometheus-client is not installed, 503 where the stores cannot be asked."""
        await self._door.who(request)
        accept = request.headers.get("accept", "")
        try:
            content_type, text = await self._server.threads.run(lambda: self._page(accept))
        except TaskBusError as error:
            raise as_refusal(error) from error
        return Response(text, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    def _page(self, accept: str) -> tuple[str, bytes]:
        with self._lock:
            if self._exposition is None:
                engine = self._server.engine
                try:
                    self._exposition = exposition(engine.app.config, lambda: figures_of(engine.house()))
                except ConfigError as error:
                    raise Refusal(HTTPStatus.NOT_IMPLEMENTED, "no metrics", str(error)) from error
            expose = self._exposition
        return expose(accept)


def figures_of(house: House) -> Figures:
    """All that this server knows. Without a history no tasks are counted. Raises ``StoreError``."""
    totals = house.history.totals() if house.history is not None else ()
    return figures_of_all(house.clock(), totals, house.reports.nodes(), _sight(house), _schedules(house))


def _sight(house: House) -> Sight | None:
    """The queues as they were within the last second; None where the broker does not answer."""
    gauged = house.gauges.read()
    if gauged.error:
        return None
    queues = [
        QueueFigures(each.name, each.ready, each.delayed, each.held, each.oldest_at, each.is_paused, each.dead)
        for each in gauged.queues
    ]
    return Sight(queues, house.store.count_dead_letters(Filter()))


def _schedules(house: House) -> list[ScheduleFigures]:
    return [
        ScheduleFigures(each.name, each.last_sent_at, each.sent, each.missed, each.skipped, each.lateness)
        for each in house.schedules.list()
    ]
