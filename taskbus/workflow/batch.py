"""Batches: groups whose members are added one by one, without ever being in memory together."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from taskbus import context
from taskbus.errors import ConfigError, PublishFailed
from taskbus.message import new_id
from taskbus.store.flows import Flow, Node, Policy, SealFlow, When
from taskbus.workflow.canvas import Canvas, canvas
from taskbus.workflow.counts import Counts, counts_of
from taskbus.workflow.flows import Flows, Refused
from taskbus.workflow.graph import Weaver, kept
from taskbus.workflow.picture import picture
from taskbus.workflow.plan import Plan
from taskbus.workflow.repeating import Repeatable

FLUSH_AT = 1000
"""Nodes that are sent together: members are kept for one step, not for the end of the block."""
BETWEEN = "/"
"""Between the ids of the flow and of the join, in the id of a batch inside another one."""

Callbacks = Sequence[tuple[When, Canvas[Any, Any, Any]]]


class Batch:
    """Many tasks, and what to do when they have ended: see ``app.batch_of``. To be used as a context manager.

    Members are sent as they are added, a thousand at a time, and may run before the block has ended. ``id`` names it to
    ``app.open_batch``, ``flow_id`` its workflow.
    """

    def __init__(
        self,
        flows: Flows,
        batch_id: str = "",
        *,
        name: str = "",
        callbacks: Callbacks = (),
        parent: "Batch | None" = None,
    ) -> None:
        """``batch_id``: that of a batch that is there already, which is not sealed at the end of the block."""
        self._flows = flows
        self._name = name
        self._callbacks = callbacks
        self._parent = parent
        self._is_new = not batch_id
        self._is_open = False
        self.flow_id, _, inner = batch_id.partition(BETWEEN)
        if self._is_new:
            self.flow_id = parent.flow_id if parent is not None else new_id()
        self._repeatable = _repeatable(self.flow_id)
        self._join = inner or self.flow_id
        if self._is_new and parent is not None:
            self._join = new_id() if self._repeatable is None else self._repeatable.id(f"{parent.id} {name}")
        self._weaver: Weaver

    @property
    def id(self) -> str:
        return self.flow_id if self._join == self.flow_id else f"{self.flow_id}{BETWEEN}{self._join}"

    def add(self, members: Canvas[Any, Any, Any] | Iterable[Canvas[Any, Any, Any]]) -> None:
        """Add a signature, a workflow that is one member, or any number of them from an iterable.

        Within a task of this batch adding may be repeated: what an attempt that was cut short or failed had added
        already, with the same arguments, is not added again. Nor is a task of the same ``task_id``: it runs once.

        Raises as ``Canvas.delay``; ``PublishFailed`` also where the batch has ended. What was added before stays.
        """
        if not self._is_open:
            raise ConfigError("add to a batch inside its block: with app.batch_of(...) as batch: batch.add(...)")
        for member in (members,) if isinstance(members, Canvas) else members:
            self._add(canvas(member))
            if len(self._weaver.nodes) >= FLUSH_AT:
                self._flush()

    def counts(self) -> Counts:
        """How many of its members' tasks wait, run and have ended; of nested batches those of them all."""
        view = self._flows.home.store.flow(self.flow_id)
        return Counts() if view is None else counts_of(view)

    def __enter__(self) -> "Batch":
        if self._is_new:
            self._begin()
        else:
            view = self._flows.home.store.flow(self.flow_id)
            if view is None or view.flow.last != self.flow_id:
                raise ConfigError(f"there is no batch {self.id!r} (any more); app.open_batch takes the id of one")
        self._weaver = self._new_weaver()
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Send what is left and let it end when its members have.

        An error in the block calls off a batch: what of it has not started is revoked, and no callback runs. One inside
        another one, which shares its workflow, keeps what was sent and goes on with that, as the other one does.
        """
        self._is_open = False
        if kind is None:
            try:
                self._flush()
                if self._is_new:
                    self._flows.change(SealFlow(self.flow_id, self._join))
            except BaseException:
                self._give_up()
                raise
        else:
            self._give_up()

    def _give_up(self) -> None:
        self._weaver = self._new_weaver()
        if not self._is_new:
            return
        with suppress(PublishFailed):  # the error of the block is what counts
            if self._parent is None:
                self._flows.cancel(self.flow_id)
            else:
                self._flows.change(SealFlow(self.flow_id, self._join))

    def _begin(self) -> None:
        home, is_inner = self._flows.home, self._parent is not None
        now = home.now()
        weaver = Weaver(self.flow_id, now, is_counted=False)
        path = None if is_inner else "0"
        of = self._parent._join if self._parent is not None else ""
        join = Node(self._join, join=of, size=-1, policy=Policy.TALLY, path=path or "")
        if self._repeatable is not None:
            weaver.ids = self._repeatable.ids_in(self._join)
        for number, (when, callback) in enumerate(self._callbacks, 1):
            weaver.weave(callback, after=self._join, when=when, path=None if is_inner else str(number))
        nodes = [join, *kept(weaver.nodes)]
        if is_inner:
            self._flows.add(self.flow_id, nodes, (), again=self._repeatable is not None)
        else:
            flow = Flow(self.flow_id, self._name, self._join, now, home.config.flow_ttl)
            self._flows.begin(Plan(flow, nodes, ()))

    def _add(self, member: Canvas[Any, Any, Any]) -> None:
        if self._repeatable is not None:
            self._weaver.ids = self._repeatable.ids(member, self._join)
        self._weaver.weave(member, join=self._join, path=None)
        if self._weaver.session is not None:
            raise ConfigError(f"{picture(member)} is using() a session, and a batch is not part of a transaction")

    def _flush(self) -> None:
        weaver, self._weaver = self._weaver, self._new_weaver()
        if not weaver.nodes:
            return
        nodes, again, known = kept(weaver.nodes), self._repeatable is not None, weaver.has_given_ids
        try:
            self._flows.add(self.flow_id, nodes, weaver.roots, again=again, may_be_known=known)
        except Refused:
            if not (self._is_new and again):
                raise
            # Sealed by an attempt that failed, it has ended: what this one adds is a batch of its own.
            ended, self._join = self._join, new_id()
            self._begin()
            nodes = [node._replace(join=self._join) if node.join == ended else node for node in nodes]
            self._flows.add(self.flow_id, nodes, weaver.roots, again=again, may_be_known=known)

    def _new_weaver(self) -> Weaver:
        return Weaver(self.flow_id, self._flows.home.now())

    def __repr__(self) -> str:
        return f"<Batch {self.id}>"


def _repeatable(flow_id: str) -> Repeatable | None:
    """Whether this runs in a task of the flow, which may be run again after a crash."""
    attempt = context.current.get()
    return Repeatable(attempt) if attempt is not None and attempt.flow_id == flow_id else None
