"""Who asks, and what of: the first thing that the page wants to know."""

from taskbus import __version__
from taskbus.web.house import Visit
from taskbus.web.routes import Routes
from taskbus.web.shapes.picture import Me

me = Routes("me")


@me.get("/me")
def show(visit: Visit) -> Me:
    """Who asks, what he may do, and what he looks at."""
    house, user = visit.house, visit.user
    return Me(
        user=user.name,
        role=user.role_name,
        auth=user.auth,
        environment=house.environment,
        read_only=house.read_only,
        version=__version__,
        app=house.app.name,
    )
