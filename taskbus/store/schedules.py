"""The port of schedules and their ticks: rows in, rows out. What they mean is written once, in ``taskbus.beat``.

A row is a schedule and how it stands. Whoever changes one says which ``version`` of it he has seen, and changes nothing
if it is another one by now: that, and nothing else, keeps any number of beats from sending a tick twice. A *tick* is
one run of a schedule, named by its schedule and its nominal time; it is recorded once, by the step that publishes it
where the broker is in the same database. Elsewhere it is recorded with what is to be published, as ``is_pending``, and
relayed until that is confirmed.

The lease only says which beat does the work.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from taskbus.message import Recorded, Sealed


class CatchUp(StrEnum):
    """What becomes of runs that were missed, while no beat was running."""

    LATEST = "latest"
    """The last one is made up for, once."""
    NONE = "none"
    ALL = "all"
    """Each is, up to a bound."""


class Overlap(StrEnum):
    """What becomes of a run that is due while the last one is still under way."""

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE_ONE = "queue_one"
    """It waits until that has ended; further ones are left out meanwhile."""


class Origin(StrEnum):
    """Who says what a schedule is: the application's code, or whoever added it while it was running."""

    CODE = "code"
    STORE = "store"


class Schedule(NamedTuple):
    """What is to run, and when. ``wire`` is the message to send, with an id and a time of sending that are replaced.

    ``timetable``: see ``taskbus.schedule.spec``. ``max_catch_up``: of ``CatchUp.ALL``, how many at most. ``owner``: the
    name of the application whose code it is in. ``expires_in``: seconds after sending, at which a run that has not
    started is given up; 0: never. ``result_ttl``: seconds for which the task's result is kept, 0: it keeps none.
    ``keep_for``: seconds for which the record of a tick is kept.
    """

    name: str
    task: str
    wire: bytes
    queue: str
    priority: int
    timetable: str
    catch_up: CatchUp = CatchUp.LATEST
    max_catch_up: int = 100
    overlap: Overlap = Overlap.ALLOW
    origin: Origin = Origin.STORE
    owner: str = ""
    expires_in: float = 0.0
    result_ttl: float = 0.0
    keep_for: float = 3600.0


class Standing(NamedTuple):
    """How a schedule stands.

    ``cursor_at``: the nominal time up to which everything was decided; ``base_at``: from when intervals count;
    ``next_at``: the nominal time that comes next, None if there is none. ``waiting_at``: that of a run which waits for
    the last one to end (``Overlap.QUEUE_ONE``). ``since``: when the schedule was first made. Then the last run: its
    nominal time, when it was sent, its task. ``missed`` runs came too late, ``skipped`` ones met a run still under way;
    ``lateness`` is that of the last run, ``worst`` the largest since it was made, in seconds.
    """

    base_at: float = 0.0
    since: float = 0.0
    cursor_at: float = 0.0
    next_at: float | None = None
    waiting_at: float | None = None
    is_paused: bool = False
    last_at: float | None = None
    last_sent_at: float | None = None
    last_task_id: str = ""
    sent: int = 0
    missed: int = 0
    skipped: int = 0
    lateness: float = 0.0
    worst: float = 0.0


class Row(NamedTuple):
    """A schedule, how it stands, and which version of both this is; 0: there is none yet.

    ``due_at``: when somebody must look at it next, None: never. ``revision`` grows with every ``save``, over all
    schedules of a store, and not with ``record``. ``is_removed``: only its name is left, for those who follow changes.
    """

    schedule: Schedule
    standing: Standing
    version: int = 0
    due_at: float | None = None
    revision: int = 0
    is_removed: bool = False


class Tick(NamedTuple):
    """One run. ``is_manual``: somebody asked for it; it is no time of the timetable, but when that was.

    ``sealed``: the message, None in what is read back. ``keep_until``: when its record may be forgotten.
    """

    schedule: str
    nominal: float
    task_id: str
    sent_at: float
    keep_until: float
    is_manual: bool = False
    is_pending: bool = False
    sealed: Sealed | None = None


class Advance(NamedTuple):
    """A row as it is to be from now on (``version`` is the one that was seen), and the ticks that are sent by it.

    ``is_move`` False: only ticks are recorded, and the row stays as it is, whatever its version.
    """

    row: Row
    ticks: Sequence[Tick] = ()
    is_move: bool = True


class Lease(NamedTuple):
    """Whether the beat that asked leads, and for how many seconds whoever does will still do so."""

    is_held: bool
    lasts: float


class ScheduleStore(Protocol):
    """Schedules in one database. Every method is one atomic step, and may be called from any thread.

    Each may raise ``StoreError`` when the database cannot be used.
    """

    database: str
    """As ``Store.database``."""
    rings: bool
    """Whether ``subscribe`` is told at once, and not just on a timer."""

    def now(self) -> float:
        """The present by the database's clock: that of a server, or of this host; or the clock that was passed in."""

    def read(self, names: Sequence[str]) -> Mapping[str, Row]:
        """The rows of these names, without removed ones."""

    def page(self, *, after: str, limit: int) -> Sequence[Row]:
        """Rows by name, after that one, without removed ones."""

    def changed(self, *, after: int, limit: int) -> Sequence[Row]:
        """Rows of a later ``revision``, the smallest first, removed ones too."""

    def revision(self) -> int:
        """The largest revision there is."""

    def save(self, row: Row) -> bool:
        """Write a row, if its version is still the one that is stored (0: if there is none, or a removed one).

        The version is then one more, that of a removed one included, and so is the revision. Tells those who
        subscribed. False: it was another version.
        """

    def record(self, advances: Sequence[Advance], transaction: Any = None) -> Recorded | None:
        """For each whose row's version is the stored one: write the row, and record the ticks that were not yet.

        The others change nothing. What is recorded now, and is not pending, is to be published by the same step: it is
        the answer (in a transaction on Redis, the script's). Never None. ``transaction``: as ``Store.apply``.
        """

    def ticks(self, name: str, *, since: float, until: float, limit: int) -> Sequence[Tick]:
        """Ticks of a schedule with ``since <= nominal < until``, the latest first."""

    def pending(self, limit: int) -> Sequence[Tick]:
        """Ticks that may not have been published, with their messages, the oldest first."""

    def confirm(self, ticks: Sequence[Tick]) -> None:
        """They were published."""

    def lead(self, beat: str, term: float) -> Lease:
        """Hold the lease for ``term`` seconds from now, unless another beat holds it.

        A lease that lasts for more than twice the ``term`` was written by a clock that has gone back: it is over.
        """

    def leader(self) -> str:
        """The beat that holds the lease; "" if none does."""

    def resign(self, beat: str) -> None:
        """Give the lease up, if it is this beat's, and tell those who subscribed."""

    def sweep(self) -> int:
        """Forget some ticks whose time is over, and what was removed long ago; how many."""

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        """Call ``notify`` (from any thread, possibly without cause) after any process may have saved a row or resigned.

        It must neither block nor raise. Returns a function that ends it.
        """

    def close(self) -> None:
        """Release connections. Using the store again opens new ones."""


REMOVED_FOR = 3600.0
"""Seconds for which what was removed is known as such: no beat is that far behind."""
