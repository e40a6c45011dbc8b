"""Doctor's checks of what the page needs: the page itself, the history, and workers that report."""

import os
from collections.abc import Iterator
from importlib.resources import files

from taskbus.app import TaskBus
from taskbus.cli.finding import Finding, Level
from taskbus.cli.opening import opened_history, opened_reports
from taskbus.cli.phrase import ago, count, size
from taskbus.database import look
from taskbus.database.sqlite import locate
from taskbus.database.urls import redacted
from taskbus.errors import TaskBusError
from taskbus.history.opening import history_url
from taskbus.steering.nodes import seen_nodes

BUILD = 'where TaskBus\'s sources are: TASKBUS_UI=require pip install --editable ".[web]"; wheels hold the page'


def is_there(url: str) -> bool:
    """Whether opening it makes nothing new: another process's memory cannot be asked, and no file is to be made."""
    if url.startswith("sqlite:"):
        path = locate(url).path
        return os.path.exists(path) and any(name.startswith(look.PREFIX) for name in look.tables(path) or ())
    return not url.startswith("memory:")


def check_page() -> Iterator[Finding]:
    """Whether this installation holds the built page; without one, only the JSON API is served."""
    if files("taskbus").joinpath("web", "page", "index.html").is_file():
        yield Finding(Level.OK, "page", "it is built; taskbus web serves it")
    else:
        yield Finding(Level.OK, "page", "it is not built: taskbus web serves its JSON API alone", BUILD)


def check_history(app: TaskBus) -> Iterator[Finding]:
    """Where the history is and how much it holds. Makes none."""
    url = app.config.history or history_url(app.results_url)
    place = redacted(url)
    try:
        with opened_history(app) as history:
            if history is None:
                yield Finding(Level.OK, "history", f"none is kept yet; taskbus web will keep it in {place}")
                return
            kept = history.kept()
        of = f"{size(kept.size)} in " if kept.size is not None else ""
        since = f", the oldest from {ago(kept.oldest_at, app.clock())}" if kept.rows else ""
        yield Finding(Level.OK, "history", f"{count(kept.rows, 'record')}{since}; {of}{place}")
    except TaskBusError as error:
        yield Finding(Level.ERROR, "history", f"{place}: {error}", "name another database (setting history)")


def check_reports(app: TaskBus) -> Iterator[Finding]:
    """Whether workers tell what they do, which is all that the page knows of them."""
    if not app.config.reports:
        hint = "leave the setting reports on, and start workers again; then page, history and metrics know of them"
        yield Finding(Level.WARNING, "reports", "switched off (setting reports): nothing is told of tasks", hint)
        return
    try:
        if not is_there(app.results_url):
            return
        with opened_reports(app) as reports:
            workers = [each for each in seen_nodes(reports, app.clock(), kind="worker") if each.is_alive]
    except TaskBusError as error:
        yield Finding(Level.ERROR, "reports", str(error))
        return
    if workers:
        yield Finding(Level.OK, "reports", f"{count(len(workers), 'worker')} reporting")
    else:
        hint = "start one, with the same results as here; one that runs may have reports switched off"
        yield Finding(Level.OK, "reports", "no worker reports", hint)
