"""Every route of the API. Whoever adds a module of routes adds its line here."""

from functools import cache
from typing import Any

from taskbus.web.api.flows import flows
from taskbus.web.api.letters import jobs, letters
from taskbus.web.api.me import me
from taskbus.web.api.nodes import nodes
from taskbus.web.api.overview import overview
from taskbus.web.api.queues import queues
from taskbus.web.api.schedules import schedules
from taskbus.web.api.system import system
from taskbus.web.api.tasks import tasks, types
from taskbus.web.house import Visit
from taskbus.web.openapi import document
from taskbus.web.routes import Endpoint, Routes, gathered

about = Routes("about")


@about.get("/openapi.json")
def openapi(visit: Visit) -> dict[str, Any]:
    """This API, told to programs."""
    return description()


ENDPOINTS: list[Endpoint] = gathered(
    [me, overview, queues, tasks, types, nodes, flows, letters, jobs, schedules, system, about]
)


@cache
def description() -> dict[str, Any]:
    """The document of all of them."""
    return document(ENDPOINTS)
