"""Which role somebody has whom another party names: by name, by address, by group."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from taskbus.errors import ConfigError
from taskbus.web.identity import role_named
from taskbus.web.shapes.basis import Role


class RoleTable:
    """Rules ``who=role``: a name, a pattern of names (``*@shop.example``), or a group (``@ops``).

    A pattern must match the whole name. The highest role of all rules that fit counts.
    """

    def __init__(self, rules: Iterable[str]) -> None:
        self._rules: list[tuple[str, Role]] = []
        for rule in rules:
            who, equals, role_text = rule.rpartition("=")
            role = role_named(role_text)
            if not equals or not who.strip() or role is None:
                raise ConfigError(
                    f"setting web_roles cannot hold {rule!r}; write who=role, such as ann@shop.example=admin, "
                    "@ops=operator or *=viewer"
                )
            self._rules.append((who.strip(), role))

    def __bool__(self) -> bool:
        return bool(self._rules)

    def role_of(self, names: Sequence[str], groups: Sequence[str]) -> Role | None:
        """The role of somebody who goes by any of ``names`` and belongs to ``groups``; None: nobody gave him one."""
        fitting = [role for who, role in self._rules if _fits(who, names, groups)]
        return max(fitting, default=None)


def _fits(who: str, names: Sequence[str], groups: Sequence[str]) -> bool:
    if who.startswith("@"):
        return who[1:] in groups
    return any(fnmatchcase(name, who) for name in names)
