"""Who changed what, or was refused to: a line in the log before, an entry in the history after.

An entry that cannot be kept stops nothing, as what it is about has happened: it is in the log, then.
"""

import logging
from typing import Any

import msgspec

from taskbus.errors import TaskBusError
from taskbus.history.shapes import AuditEntry
from taskbus.monitor.redaction import Redactor
from taskbus.web.answers import encoded
from taskbus.web.house import House, Visit
from taskbus.web.routes import Endpoint
from taskbus.web.shapes.basis import Changed

log = logging.getLogger(__name__)
LONGEST = 1000


def perform(endpoint: Endpoint, visit: Visit, given: dict[str, Any]) -> Any:
    """What the endpoint's function returns or raises; what it changes is told of. In a thread."""
    if endpoint.method == "GET":
        return endpoint.call(visit, **given)
    target, detail = _target(endpoint, given), _detail(visit.house, given.get("body"))
    log.info(
        "%s (%s) asks for %s of %r %s", visit.user.name, visit.user.role_name, endpoint.name, target or "all", detail
    )
    outcome = "failed: this is a fault of TaskBus; "
    try:
        result = endpoint.call(visit, **given)
        outcome = ""
        visit.noted.setdefault("count", _changed(result))
        return result
    except Exception as error:
        outcome = f"failed: {error}; " if isinstance(error, TaskBusError) else outcome
        raise
    finally:
        if outcome or not getattr(given.get("body"), "dry_run", False):
            _keep(endpoint, visit, visit.noted.get("target", target), outcome + visit.noted.get("detail", detail))


def refuse(endpoint: Endpoint, visit: Visit, path: dict[str, Any], why: str) -> None:
    """Tell of a change that somebody was not allowed to make. In a thread."""
    target = _target(endpoint, path)
    log.warning("%r (%s) is refused %s of %r: %s", visit.user.name, visit.user.role_name, endpoint.name, target, why)
    _keep(endpoint, visit, target, f"refused: {why}")


def _keep(endpoint: Endpoint, visit: Visit, target: str, detail: str) -> None:
    house, user = visit.house, visit.user
    where = f"from {visit.address}" if visit.address else ""
    text = f"{detail[:LONGEST]} {where}".strip()
    entry = AuditEntry(
        house.clock(), user.name, user.role_name, endpoint.name, target[:LONGEST], text, visit.noted.get("count", 0)
    )
    try:
        if house.history is not None:
            house.history.note(entry)
    except TaskBusError as error:
        log.error("the audit log cannot be written (%s); the entry was %s", error, entry)


def _changed(result: Any) -> int:
    """How much was changed, by what the endpoint answers: as much as it counts, else one, if it was done."""
    if getattr(result, "error", None) or not getattr(result, "changed", True):
        return 0
    if isinstance(result, Changed):
        return result.count or 1
    count: int = getattr(result, "count", getattr(result, "total", 1))
    return count


def _target(endpoint: Endpoint, given: dict[str, Any]) -> str:
    """The name in the path; else the filter, or the task, in the body."""
    parts = [str(given[part]) for part in endpoint.parts if part in given]
    body = given.get("body")
    return "/".join(parts) or str(getattr(body, "where", "") or getattr(body, "task", ""))


def _detail(house: House, body: Any) -> str:
    """What the body says, without secrets and without what is as it always is."""
    if body is None:
        return ""
    fields = msgspec.structs.fields(body)
    said = {field.name: getattr(body, field.name) for field in fields}
    usual = {field.name: field.default for field in fields}
    told = {name: value for name, value in said.items() if value is not msgspec.UNSET and value != usual[name]}
    redactor = Redactor(house.app.config.redact)
    return redactor.text(encoded(redactor.value(told)).decode()) if told else ""
