"""Who somebody is, once that is known: a name, a role, and how it was found out."""

from typing import NamedTuple

from taskbus.web.shapes.basis import AuthName, Role, RoleName

_NAMES: dict[Role, RoleName] = {Role.VIEWER: "viewer", Role.OPERATOR: "operator", Role.ADMIN: "admin"}


class User(NamedTuple):
    """Somebody who may look at least. ``auth`` is how he showed who he is."""

    name: str
    role: Role
    auth: AuthName

    @property
    def role_name(self) -> RoleName:
        """The role as it is written."""
        return _NAMES[self.role]


def role_named(text: str) -> Role | None:
    """The role that ``text`` names, None if none."""
    return next((role for role, name in _NAMES.items() if name == text.strip().lower()), None)
