"""Series, counts and quantiles out of the history, as they are sent; empty ones where there is no history."""

from typing import Any, TypeVar

import msgspec

from taskbus.history import shapes as remembered
from taskbus.web.house import House
from taskbus.web.shapes.basis import Counts, Quantiles, Series

S = TypeVar("S", bound=msgspec.Struct)
NO_SERIES = Series(
    step=60.0, t=[], succeeded=[], failed=[], retried=[], wait_p50=[], wait_p95=[], wait_p99=[], run_p50=[],
    run_p95=[], run_p99=[],
)  # fmt: skip


def series_of(house: House, range: str, *, task: str | None = None, queue: str | None = None) -> Series:
    """A chart of all, of a task, or of a queue; from the collector's memory where that reaches."""
    place = house.collector if house.collector is not None else house.history
    if place is None:
        return NO_SERIES
    return as_shape(place.series(range, task=task, queue=queue), Series)


def quantiles_of(quantiles: remembered.Quantiles) -> Quantiles:
    """As they are sent."""
    return Quantiles(p50=quantiles.p50, p95=quantiles.p95, p99=quantiles.p99, count=quantiles.count)


def counts_of(counts: remembered.Counts) -> Counts:
    """As they are sent."""
    return as_shape(counts, Counts)


def as_shape(value: Any, shape: type[S]) -> S:
    """A value that has the fields of ``shape`` as one, by their names; sequences become lists."""
    fields = {field.name: getattr(value, field.name) for field in msgspec.structs.fields(shape)}
    return shape(**{name: list(each) if isinstance(each, tuple) else each for name, each in fields.items()})
