"""Schedules: which of them a filter means."""

from taskbus.beat.book import ScheduleInfo
from taskbus.store.filters import ScheduleFilter


def is_meant(info: ScheduleInfo, where: ScheduleFilter) -> bool:
    """Whether a schedule is one that the filter means."""
    return where.matches(name=info.name, task=info.task, is_paused=info.is_paused)
