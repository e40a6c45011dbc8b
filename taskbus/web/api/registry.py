"""Every route of the API. Whoever adds a module of routes adds its line here."""

from taskbus.web.api.flows import flows
from taskbus.web.api.letters import jobs, letters
from taskbus.web.api.me import me
from taskbus.web.api.nodes import nodes
from taskbus.web.api.queues import queues
from taskbus.web.api.schedules import schedules
from taskbus.web.api.tasks import tasks, types
from taskbus.web.routes import Endpoint, gathered

ENDPOINTS: list[Endpoint] = gathered([me, queues, tasks, types, nodes, flows, letters, jobs, schedules])
