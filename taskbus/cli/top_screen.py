"""``taskbus top`` as a screen with keys, by textual."""

import threading
from collections.abc import Callable
from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Label, Static
from textual.worker import get_current_worker

from taskbus.app import TaskBus
from taskbus.cli.phrase import safe
from taskbus.cli.top_figures import Figures, Picture
from taskbus.cli.top_tables import COLUMNS, LEFT, Row, rows, summary
from taskbus.errors import TaskBusError
from taskbus.steering import commanding, queues
from taskbus.steering.revoking import revoke
from taskbus.store.reports import ReportStore

HELP = """\
t  tasks     u  queues     w  workers     Tab  to what runs, and back

/  show only what has this text in its name (or fits it: mail.*); Esc ends it
p  pause the selected queue, or resume it       (among the queues)
k  revoke the selected task, and end it         (among what runs)
s  stop the selected worker in good order       (among the workers)

Rates are of tasks that ended, a second: of the last ten seconds, one and five
minutes. Durations are of the last minute or so; retried and failed count five.

q, Esc  leave"""


class Question(ModalScreen[bool]):
    """Asks before something is done: y does it, anything else does not."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,q,enter", "answer(False)", "no"),
    ]

    def __init__(self, text: str, keys: str = "y  yes      n  no") -> None:
        super().__init__()
        self._text, self._keys = text, keys

    def compose(self) -> ComposeResult:
        """The question, and the keys that answer."""
        with Vertical(id="box"):
            yield Label(Text(self._text))
            yield Label(Text(f"\n{self._keys}", "dim"))

    def action_answer(self, is_yes: bool) -> None:
        """Close it with that answer."""
        self.dismiss(is_yes)


class TopScreen(App[None]):
    """The whole of it. ``figures`` is looked at in one thread, orders are given in others: the keys always answer."""

    TITLE = "TaskBus top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #summary { height: auto; padding: 0 1; background: $panel; }
    DataTable { height: 1fr; }
    #running { border-top: solid $primary; height: 40%; border-title-color: $text; }
    #filter { display: none; height: 3; }
    #filter.shown { display: block; }
    ModalScreen { align: center middle; }
    #box { width: auto; max-width: 90%; height: auto; border: round $primary; padding: 1 2; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "view('task')", "tasks"),
        Binding("u", "view('queue')", "queues"),
        Binding("w", "view('worker')", "workers"),
        Binding("tab", "app.focus_next", "to running", show=False),
        Binding("slash", "filter", "filter"),
        Binding("p", "pause", "pause"),
        Binding("k", "revoke", "revoke"),
        Binding("s", "stop", "stop"),
        Binding("question_mark", "help", "help"),
        Binding("q", "quit", "quit"),
        Binding("escape", "leave", "quit", show=False),
    ]

    def __init__(self, app: TaskBus, reports: ReportStore, figures: Figures, by: str, every: float) -> None:
        super().__init__()
        self._bus, self._reports, self._figures = app, reports, figures
        self._every = every
        self._view = by
        self._pattern = ""
        self._picture: Picture | None = None
        self._keys: dict[str, list[str]] = {}
        self._left = threading.Event()

    def compose(self) -> ComposeResult:
        """The figures of all, what the view shows, what runs, and the keys."""
        yield Static("Looking ...", id="summary")
        yield Input(placeholder="text, or a pattern such as mail.*", id="filter")
        yield DataTable(id="main", cursor_type="row", zebra_stripes=True)
        yield DataTable(id="running", cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self._table("running").border_title = "running"
        self._set_columns("running", "running")
        self.action_view(self._view)
        self._look()

    def on_unmount(self) -> None:
        """End the looking."""
        self._left.set()

    # --- looking -------------------------------------------------------------------------------------------------

    @work(thread=True, group="look")
    def _look(self) -> None:
        """Look again and again, in a thread: a broker that is slow must not keep the keys from answering."""
        worker = get_current_worker()
        while not worker.is_cancelled and not self._left.is_set():
            try:
                self.call_from_thread(self._show, self._figures.look())
            except TaskBusError as error:
                self.call_from_thread(self._failed, str(error))
            self._left.wait(self._every)

    def _show(self, picture: Picture) -> None:
        self._picture = picture
        self.query_one("#summary", Static).update(summary(picture))
        self._fill("main", rows(picture, self._view, self._pattern))
        below = rows(picture, "running", self._pattern if self._view != "queue" else "")
        self._table("running").border_title = f"running: {len(below):,}"
        self._fill("running", below)

    def _failed(self, error: str) -> None:
        self.query_one("#summary", Static).update(Text(f"{safe(error)}\ntrying again", "bold red"))

    def _table(self, place: str) -> "DataTable[Any]":
        return self.query_one(f"#{place}", DataTable)

    def _set_columns(self, place: str, view: str) -> None:
        table = self._table(place)
        table.clear(columns=True)
        for name in COLUMNS[view]:
            table.add_column(Text(name, justify="left" if name in LEFT else "right"), key=name)

    def _fill(self, place: str, lines: list[Row]) -> None:
        """Show these lines; the cursor stays on what it is on, wherever that has moved."""
        table, columns = self._table(place), COLUMNS[self._view if place == "main" else "running"]
        selected = self._selected(place)
        keys = [line.key for line in lines]
        cells = [[_cell(cell, name) for cell, name in zip(line.cells, columns, strict=True)] for line in lines]
        if keys == self._keys.get(place):
            for at, line in enumerate(cells):
                for column, cell in enumerate(line):
                    table.update_cell_at((at, column), cell, update_width=True)  # type: ignore[arg-type]
            return
        table.clear()
        for line in cells:
            table.add_row(*line)
        self._keys[place] = keys
        if selected in keys:
            table.move_cursor(row=keys.index(selected), animate=False)

    def _selected(self, place: str) -> str:
        """The name or id that the cursor is on, "" if there is none."""
        keys, at = self._keys.get(place, []), self._table(place).cursor_row
        return keys[at] if 0 <= at < len(keys) else ""

    # --- keys ----------------------------------------------------------------------------------------------------

    def action_view(self, view: str) -> None:
        """Show tasks, queues or workers."""
        self._view = view
        self._keys.pop("main", None)
        self._set_columns("main", view)
        self._table("main").focus()
        self.sub_title = f"by {view}"
        if self._picture is not None:
            self._show(self._picture)

    def action_filter(self) -> None:
        """Ask for what is to be shown."""
        field = self.query_one("#filter", Input)
        field.add_class("shown")
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what fits at once."""
        self._pattern = event.value
        if self._picture is not None:
            self._show(self._picture)

    def on_input_submitted(self) -> None:
        """Go back to the lines; the filter stays."""
        self._table("main").focus()

    def action_leave(self) -> None:
        """End the filter if there is one, else all of it."""
        field = self.query_one("#filter", Input)
        if not field.has_class("shown"):
            self.exit()
            return
        field.value = ""
        field.remove_class("shown")
        self._table("main").focus()

    def action_help(self) -> None:
        """Say what the keys do."""
        self.push_screen(Question(HELP, "any of n, Esc, Enter closes this"))

    def action_pause(self) -> None:
        """Pause the selected queue, or resume it."""
        queue = self._selected("main") if self._view == "queue" else ""
        if not queue:
            self.notify("Select a queue first (u shows them).", severity="warning")
            return
        assert self._picture is not None
        is_paused = any(each.queue == queue and each.is_paused for each in self._picture.queues)
        act = queues.resume if is_paused else queues.pause
        self._do(lambda: act(self._reports, queue), f"{queue} is {'resumed' if is_paused else 'paused'}")

    def action_revoke(self) -> None:
        """Revoke the selected running task, and end it."""
        task_id = self._selected("running")
        if not task_id:
            self.notify("Nothing runs that could be revoked.", severity="warning")
            return
        self._ask(
            f"Revoke {task_id}, and end it although it runs?",
            lambda: revoke(self._bus, self._reports, [task_id], terminate=True),
            f"{task_id} is revoked",
        )

    def action_stop(self) -> None:
        """Stop the selected worker in good order."""
        name = self._selected("main") if self._view == "worker" else ""
        if not name:
            self.notify("Select a worker first (w shows them).", severity="warning")
            return
        self._ask(
            f"Stop the worker {name}? What it runs is finished, or given back.",
            lambda: commanding.stop(self._reports, name, clock=self._bus.clock),
            f"{name} was told to stop",
        )

    def _ask(self, question: str, act: Callable[[], Any], done: str) -> None:
        def answered(is_yes: bool | None) -> None:
            if is_yes:
                self._do(act, done)

        self.push_screen(Question(question), answered)

    @work(thread=True, group="acts")
    def _do(self, act: Callable[[], Any], done: str) -> None:
        """Do it in a thread, and say what came of it."""
        try:
            reply = act()
        except TaskBusError as error:
            self.call_from_thread(self.notify, safe(str(error)), severity="error", markup=False)
            return
        refused = reply.get("error") if isinstance(reply, dict) else None
        severity = "error" if refused else "information"
        self.call_from_thread(self.notify, safe(str(refused or done)), severity=severity, markup=False)


def _cell(cell: str | Text, column: str) -> Text:
    text = cell.copy() if isinstance(cell, Text) else Text(cell)
    text.justify = "left" if column in LEFT else "right"
    return text
