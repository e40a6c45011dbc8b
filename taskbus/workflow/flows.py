"""What an application does with flows: begin them, add to them, change them. Knows in which order things are written.

Where broker and store are one database, all that one step writes and publishes is one transaction. Elsewhere, and for a
graph that is too large for one, the graph is recorded first, all of it, and its messages are published then. Dying in
between leaves a flow that nobody was told of, and of which no join can end, as members of it never run: nothing is
completed by half. The other order could run a task whose node is not there, which would then be dropped.

What is published outside a transaction is stamped with ``COPY``: should a repeated step publish it again, only one of
the copies is run.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Protocol

from taskbus.broker.broker import Broker
from taskbus.broker.delivery import Record, Settlement
from taskbus.clock import Clock
from taskbus.config import Config
from taskbus.errors import BrokerError, ConfigError, PublishFailed, PublishUnknown, StoreError
from taskbus.message import FLOW, Message, Sealed, another_copy
from taskbus.middleware import Middleware, sending
from taskbus.store.base import AnyChange, Store
from taskbus.store.cancelling import cancel
from taskbus.store.dead_letters import DeadLetters
from taskbus.store.flows import AddNodes, BeginFlow, EndNode, FlowChange, Node, NodeState
from taskbus.wire import compact
from taskbus.workflow.plan import Plan
from taskbus.workflow.wrapping import same, wrapped

AT_ONCE = 5000
"""Nodes that are begun in one step: about 50 ms of a database during which nobody else writes."""


class Refused(PublishFailed):
    """There is no such flow, or what was to be added to has ended."""


class Outlet(Protocol):
    """Where an application publishes: its broker, or a spool before it."""

    def publish_all(self, messages: Sequence[Message]) -> None: ...


class Home(Protocol):
    """What is needed of an application."""

    config: Config
    clock: Clock
    middleware: list[Middleware]

    def now(self) -> float:
        """The broker's time."""

    def announce(self, messages: Sequence[Message]) -> None:
        """Tell monitors that these were sent, if they are to hear of it."""

    @property
    def broker(self) -> Broker: ...
    @property
    def outlet(self) -> Outlet: ...
    @property
    def store(self) -> Store: ...
    @property
    def record(self) -> Record: ...
    @property
    def shares_database(self) -> bool: ...


class Flows:
    """The flows of one application."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def begin(self, plan: Plan, session: Any = None) -> None:
        """Begin a flow; with a ``session`` by its commit, or never. Raises as ``Canvas.delay``."""
        flow, what = plan.flow, f"workflow {plan.flow.name!r} ({plan.flow.id})"
        with self._sending(plan.roots, plan.nodes) as (roots, nodes), _outcome(what):
            if session is not None:
                self._begin_in(session, BeginFlow(flow, nodes), roots)
            elif self.home.shares_database and len(nodes) <= AT_ONCE:
                try:
                    self._enact([BeginFlow(flow, nodes)], roots)
                except PublishUnknown:
                    if not self._is_there(flow.id):  # what is there was accepted, with its messages
                        raise
            else:
                first, *more = _pieces(nodes)
                changes: list[FlowChange] = [BeginFlow(flow, first), *(AddNodes(flow.id, each) for each in more)]
                self._apart(changes, roots, lambda unsent: self.cancel(flow.id))
            self.home.announce(roots)

    def add(
        self,
        flow_id: str,
        nodes: Sequence[Node],
        roots: Sequence[Message],
        *,
        again: bool = False,
        may_be_known: bool = False,
    ) -> None:
        """Add nodes to a flow that was begun, and publish the ``roots`` among them.

        ``again``: the same may have been added before, by an attempt that was cut short. ``may_be_known``: some of it
        may have been, under a user's own ids. Each runs once all the same.
        Raises ``PublishFailed`` where a join that they are members of has ended.
        """
        what = f"{len(nodes)} more tasks for workflow {flow_id}"
        with self._sending(roots, nodes) as (messages, nodes), _outcome(what):
            if self.home.shares_database and len(nodes) <= AT_ONCE:
                self._enact([AddNodes(flow_id, nodes)], map(stamped, messages) if again or may_be_known else messages)
            else:
                changes = [AddNodes(flow_id, each) for each in _pieces(nodes)]
                self._apart(changes, messages, None if again else self._revoke)
            self.home.announce(messages)

    def change(self, *changes: FlowChange) -> None:
        """Record changes, and publish what becomes READY by them. Raises as ``begin``."""
        with _outcome("the change of a workflow"):
            if self.home.shares_database:
                self._enact(changes, ())
                return
            self.home.broker.publish_all([stamped(message) for message in self._recorded(changes)])

    def cancel(self, flow_id: str) -> None:
        """Revoke what has not started. Raises as ``begin``."""
        with _outcome(f"the cancellation of workflow {flow_id}"):
            cancel(self.home.store, flow_id)

    def letters(self) -> DeadLetters:
        """The dead letters; a replay goes on with the flow of its task."""
        home = self.home

        def transact(message: Message, changes: Sequence[AnyChange]) -> bool:
            settlement = Settlement(None, follow_ups=[message], changes=changes)
            return home.broker.transact(settlement, home.record, shared=home.shares_database)

        apart = not home.shares_database
        return DeadLetters(home.store, transact, home.clock, home.config.max_message_bytes, apart=apart)

    def _enact(self, changes: Sequence[FlowChange], messages: Any) -> None:
        if not self.home.broker.enact(changes, list(messages), self.home.record):
            raise Refused("there is no such workflow (any more), or the batch has ended")

    def _begin_in(self, session: Any, change: BeginFlow, roots: Sequence[Message]) -> None:
        if not self.home.shares_database:
            raise ConfigError(
                "a workflow is sent using(session) where broker and results are both in the session's database;"
                " make them one, or send it after the commit"
            )
        self.home.broker.enact_in(session, [change], roots, self.home.record)

    def _apart(
        self,
        changes: Sequence[FlowChange],
        roots: Sequence[Message],
        undo: Callable[[Sequence[Message]], None] | None,
    ) -> None:
        """Record, then publish. Where that fails, ``undo`` is told what was surely not published: no worker will."""
        messages = list(roots)
        try:
            messages += [message for change in changes for message in self._recorded([change])]
            self.home.outlet.publish_all([stamped(message) for message in messages])
        except (PublishFailed, StoreError) as error:
            if undo is not None:
                with suppress(StoreError, PublishFailed):
                    undo(_unsent(messages, error))
            raise

    def _revoke(self, unsent: Sequence[Message]) -> None:
        now = self.home.now()
        ends = [EndNode(each.headers[FLOW], each.id, NodeState.REVOKED, now) for each in unsent]
        ready = [message for some in _pieces(ends) for message in self._recorded(some)]
        self.home.broker.publish_all([stamped(message) for message in ready])

    def _recorded(self, changes: Sequence[FlowChange]) -> list[Message]:
        """What is to be published after these changes are recorded."""
        recorded = self.home.store.apply(changes)
        if recorded is None:
            raise Refused("there is no such workflow (any more), or the batch has ended")
        return [_unsealed(each) for each in recorded.ready]

    def _is_there(self, flow_id: str) -> bool:
        try:
            return self.home.store.flow(flow_id) is not None
        except StoreError:
            return False

    @contextmanager
    def _sending(
        self, roots: Sequence[Message], nodes: Sequence[Node]
    ) -> Iterator[tuple[Sequence[Message], Sequence[Node]]]:
        """The messages as the middleware wants them, and the nodes, with those of tasks that wait."""
        middleware = self.home.middleware
        if not middleware:
            yield roots, nodes
            return
        with ExitStack() as stack:
            first = [same(root, stack.enter_context(sending(middleware, root))) for root in roots]
            yield first, wrapped(middleware, nodes, stack, self.home.config.max_message_bytes)


def stamped(message: Message) -> Message:
    """A copy to be told apart from any other one of the same message."""
    return message._replace(headers=another_copy(message.headers))


def _unsent(messages: Sequence[Message], error: Exception) -> Sequence[Message]:
    """Those that were surely not published. ``task_ids`` are those that were to be, in order, when it failed."""
    failed = set(error.task_ids) if isinstance(error, PublishFailed) else set()
    places = [place for place, message in enumerate(messages) if message.id in failed]
    if not places:
        return messages
    return messages[places[-1] + 1 if isinstance(error, PublishUnknown) else places[0] :]


def _unsealed(sealed: Sealed) -> Message:
    message = compact.decode(sealed.wire, sealed.queue, sealed.priority, len(sealed.wire))
    return message._replace(due_at=sealed.due_at)


def _pieces(of: Sequence[Any]) -> list[Sequence[Any]]:
    """``AT_ONCE`` at a time. Groups of nothing, which end at once, come last: after all that waits for them."""
    late = [each for each in of if isinstance(each, Node) and each.is_join and not each.size and not each.after]
    if late:
        ids = {node.id for node in late}
        of = [*(each for each in of if each.id not in ids), *late]
    return [of[start : start + AT_ONCE] for start in range(0, len(of), AT_ONCE)] or [of]


@contextmanager
def _outcome(what: str) -> Iterator[None]:
    """What keeps it from being sent is an outcome of the send."""
    try:
        yield
    except PublishFailed as error:
        kind = "may have been sent, or not" if isinstance(error, PublishUnknown) else "was not sent"
        raise type(error)(f"{what} {kind}: {error}") from error
    except (BrokerError, StoreError) as error:
        raise PublishFailed(f"{what} was not sent: {error}") from error
