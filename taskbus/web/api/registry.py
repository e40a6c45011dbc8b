"""Every route of the API. Whoever adds a module of routes adds its line here."""

from taskbus.web.api.me import me
from taskbus.web.routes import Endpoint, gathered

ENDPOINTS: list[Endpoint] = gathered([me])
