"""What ``taskbus dev`` does: keeps a worker and the web page running, over changes and deaths, until told to stop.

The worker is first: the page follows once the worker is ready, so that while an application cannot be loaded its error
is shown once, and the page of before stays.
"""

import signal
import threading
import time
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from rich.text import Text

from taskbus import __version__
from taskbus.cli.children import Child, Ended, Ready
from taskbus.cli.exits import FAILED, OK, USAGE
from taskbus.cli.phrase import safe, span
from taskbus.cli.tables import console, draw_fields, say

GRACE = 5.0
"""Seconds that running tasks may go on when the code changes, or at Ctrl-C; a worker alone gives them longer."""
PATIENCE = 10.0
"""Seconds after that, at which what has not ended is killed."""
STYLES = {"worker": "cyan", "web": "magenta", "dev": "green"}
SHOWN = ("broker", "slots", "queues", "tasks")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: the arguments of ``taskbus`` for the worker and for the page, None for no page.

    ``watch`` makes words of each change, until the event is set; None: nothing is watched. ``notes`` are told at first.
    """

    app: str
    worker: Sequence[str]
    web: Sequence[str] | None
    watch: Callable[[threading.Event], Any] | None
    opens: bool = False
    is_quiet: bool = False
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Changed:
    """Files have changed; ``what`` says which."""

    what: str


@dataclass(frozen=True, slots=True)
class Told:
    """A signal has come."""

    number: int


class Developing:
    """``run`` it once, in the main thread."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._events: SimpleQueue[Any] = SimpleQueue()  # its put may be called by a signal handler
        self._lock = threading.Lock()
        self._worker = Child("worker", plan.worker, self._events, self._write)
        self._web = Child("web", plan.web, self._events, self._write) if plan.web is not None else None
        self._children = [self._worker, *([self._web] if self._web is not None else [])]
        self._is_web_stale = False
        self._info: Mapping[str, Any] = {}
        self._was_shown = False
        self._told = 0
        self._status = OK

    def run(self) -> int:
        """Until Ctrl-C, SIGTERM or SIGHUP, a second one of which ends it at once; the exit status.

        Without watching, a worker that cannot start at first ends it too.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: self._events.put(Told(number)))
        watching = threading.Event()
        if self._plan.watch is not None:
            threading.Thread(target=self._watch, args=(self._plan.watch, watching), daemon=True).start()
        if not self._plan.is_quiet:
            say(f"TaskBus {__version__}  dev  {self._plan.app}", "bold")
        self._worker.start()
        while not (self._told and not any(child.is_running for child in self._children)):
            try:
                self._handle(self._events.get(timeout=self._idle_for()))
            except Empty:
                pass
            for child in self._children:
                child.act(time.monotonic())
        watching.set()
        return self._status

    def _idle_for(self) -> float | None:
        due = [at for child in self._children for at in (child.start_at, child.kill_at) if at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _watch(self, watch: Callable[[threading.Event], Any], stopping: threading.Event) -> None:
        for what in watch(stopping):
            self._events.put(Changed(what))

    # --- what happens --------------------------------------------------------------------------------------------

    def _handle(self, event: Any) -> None:
        match event:
            case Told():
                self._stop()
            case Changed() if not self._told:
                self._reload(event.what)
            case Ready() if event.process is event.child.process and not self._told:
                self._ready(event.child, event.item)
            case Ended() if event.process is event.child.process:
                event.child.ended()
                if not self._told:
                    self._ended(event.child, event.status)

    def _stop(self, status: int = OK) -> None:
        """In good order; the second time at once."""
        self._told += 1
        self._status = self._status or status
        for child in self._children:
            is_killed = self._told > 2 or (self._told == 2 and child is self._web)
            child.stop(GRACE + PATIENCE, signal.SIGKILL if is_killed else signal.SIGTERM)
        if self._told == 1 and any(child.is_running for child in self._children):
            self._say(f"stopping; running tasks have {span(GRACE)} (Ctrl-C again: at once)")

    def _reload(self, what: str) -> None:
        self._say(f"{what}: starting again")
        self._is_web_stale = True
        if self._worker.is_running:
            self._worker.replace(GRACE + PATIENCE)
        else:
            self._worker.start()

    def _ready(self, child: Child, item: Mapping[str, Any]) -> None:
        child.is_ready = True
        if child is self._worker:
            self._info = item
            if self._was_shown:
                tasks = dict(item["fields"]).get("tasks", "")
                self._say(f"the worker is ready, tasks {tasks}")
                self._warn(item)
            if self._web is None:
                self._show("")
            elif not self._web.is_running:
                self._web.start()
            elif self._is_web_stale:
                self._web.replace(PATIENCE)
            self._is_web_stale = False
        else:
            self._show(item["url"])

    def _ended(self, child: Child, status: int) -> None:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        if child.is_replaced:
            child.start()
        elif not child.is_ready and not self._was_shown and (status == USAGE or self._plan.watch is None):
            self._stop(status if status > 0 else FAILED)
        elif not child.is_ready and child is self._worker and self._plan.watch is not None:
            self._say("the worker could not start; it will when a .py file changes", "yellow")
        else:
            pause = child.start_later()
            self._say(f"the {_full(child)} {how}: starting it again in {span(pause)}", "yellow")

    # --- what is said --------------------------------------------------------------------------------------------

    def _show(self, url: str) -> None:
        """The banner, once."""
        if self._was_shown:
            return
        self._was_shown = True
        if self._plan.opens and url:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        if self._plan.is_quiet:
            return
        with self._lock:
            told = dict(self._info["fields"])
            page = [("page", Text(url, style="bold cyan"))] if url else []
            draw_fields([*page, *((name, told[name]) for name in SHOWN if told.get(name))], err=True)
            for note in self._plan.notes:
                say(note, "yellow")
            watched = f"Watching *.py below {Path.cwd()}. " if self._plan.watch is not None else ""
            say(f"{watched}Stop: Ctrl-C", "green")
        self._warn(self._info)

    def _warn(self, info: Mapping[str, Any]) -> None:
        for warning in info["warnings"]:
            self._say(f"! {warning}", "yellow")

    def _say(self, text: str, style: str = "") -> None:
        if not self._plan.is_quiet or style:
            self._write("dev", safe(text), style)

    def _write(self, name: str, line: str, style: str = "") -> None:
        """A line with the name of whose it is; whole, and as it is."""
        text = Text(f"{name:<6} | ", style=STYLES[name], end="").append(Text(line, style=style or "default"))
        with self._lock:
            console(err=True).print(text, soft_wrap=True)


def _full(child: Child) -> str:
    return "page" if child.name == "web" else child.name
