"""Flows: chains, groups, chords and batches as a store keeps them. The graph is stored once; messages carry ids.

A flow is a set of nodes. A node is a call of a task, or a *join*: a set of members that ends when they all have. Edges
are two references, so that a graph is as large as its nodes are many, however they are nested:

    ``after``   the node this one waits for, and whose value it is given
    ``join``    the join this one is a member of, at ``place``

    chain(a, b)                a <-after- b
    group(a, b)                a, b -join-> G
    chord([a, b], c)           a, b -join-> G <-after- c
    chain(a, group(b, c), d)   a <-after- b, c -join-> G <-after- d

The rules, the same in every store (``taskbus/testing/flow_contract.py`` checks them):

*   A node is WAITING, then READY (its message was published), STARTED, and at last ended: SUCCESS, FAILURE, REVOKED
    or SKIPPED. It ends once; ``EndNode`` of a node that has ended changes nothing.
*   When a node ends, each node ``after`` it is made READY if its ``when`` fits. Else it ends too: as SKIPPED if it
    waits for a failure that did not come, else as the one before it ended (FAILURE or REVOKED), with its ``cause``.
    After SKIPPED everything is SKIPPED, whatever its ``when``.
*   When a member ends, its join has one member less to wait for. What else it does is the join's ``policy``. SKIPPED
    members fail nothing. A join of no members ends when it is made READY. A member that ends after its join has
    changes nothing in it.
*   A join is never published: it is made READY when what it is ``after`` has ended (at once, if nothing is), and ends
    when its members have.
*   A flow has ended when all its nodes have: as its ``last`` node did (SKIPPED: as SUCCESS); where it has none, as
    FAILURE if a task failed, else as REVOKED if one was, else as SUCCESS. ``ttl`` seconds later it is as good as gone.
*   What ends in one ``apply`` ends at once: which of two failures was the first is open.
*   Of a cancelled flow nothing is made READY any more, but ends as REVOKED, a join that tallies too; what runs runs on.
*   A task that ends without having run has its result recorded, if it keeps any: REVOKED, or FAILURE with
    ``Failure("taskbus.errors.FlowFailed", "task NAME (ID) failed: MESSAGE")``, which names the cause. That is the
    node's own ``failure`` too, and that of a join. (MESSAGE is REVOKED, where a join makes FAILURE of that.)
*   A change asked for again changes nothing, and publishes again what it made READY and was not STARTED since.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from taskbus.message import Sealed
from taskbus.outcome import Failure, State


class NodeState(StrEnum):
    """How a node stands."""

    WAITING = "WAITING"
    READY = "READY"
    STARTED = "STARTED"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"
    SKIPPED = "SKIPPED"

    @property
    def has_ended(self) -> bool:
        return self in ENDED


MAX_PATH = 200
"""Longest ``Node.path``: what is nested deeper stands where the shape around it does, or paths would grow as n^2."""
ENDED = frozenset((NodeState.SUCCESS, NodeState.FAILURE, NodeState.REVOKED, NodeState.SKIPPED))


class FlowState(StrEnum):
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"


class When(StrEnum):
    """Upon which end of the node before it a node is run."""

    SUCCESS = "success"
    FAILURE = "failure"
    """FAILURE or REVOKED."""
    DEATH = "death"
    """Of a ``TALLY`` join: as soon as its first member fails; SKIPPED when it ends without that."""
    ALWAYS = "always"


class Policy(StrEnum):
    """What a failed member does to its join."""

    FAIL_FAST = "fail_fast"
    """The first member that ends as FAILURE or REVOKED ends the join so, at once, while the others run on."""
    COLLECT = "collect"
    """It ends when all members have, as SUCCESS: what failed is among its values."""
    TALLY = "tally"
    """It ends when all members have, as FAILURE if one ended as FAILURE or REVOKED (``cause``: the first that did).

    Batches have it.
    """


class Node(NamedTuple):
    """A node as it is planned. ``id`` is the task's id; a join has one of its own, and no ``task``.

    ``wire`` is the message to publish when it is made READY, in its wire format; empty for those that whoever began the
    flow publishes, or adds. ``takes``: whether it is given the value of ``after``. ``keeps``: whether its value is kept
    in the flow, as somebody is given it (directly or through joins). ``result_ttl``: seconds for which a result is kept
    that the store records for it; 0: it keeps none. ``size``: of a join, how many members it waits for; -1 for the join
    of a batch, which is open until ``SealFlow``; -1 of a task: it is not among those that the flow counts. ``path``:
    where it stands in a picture: ``1.0.2`` is the third step of the chain that is the first member of the group that is
    the second step; "" for members of a batch.
    ``due_at``: an instant before which it must not start, 0: none; ``delay``: seconds after it was made READY before
    which it must not start. ``sealed`` makes of them what is published.
    """

    id: str
    task: str = ""
    after: str = ""
    when: When = When.SUCCESS
    join: str = ""
    place: int = 0
    queue: str = ""
    priority: int = 0
    wire: bytes = b""
    takes: bool = False
    keeps: bool = False
    result_ttl: float = 0.0
    size: int = 0
    policy: Policy = Policy.FAIL_FAST
    path: str = ""
    due_at: float = 0.0
    delay: float = 0.0

    @property
    def is_join(self) -> bool:
        return not self.task

    @property
    def is_counted(self) -> bool:
        """Whether it is in ``FlowView.counts``: joins are not, nor are the callbacks of a batch."""
        return bool(self.task) and self.size >= 0


class Flow(NamedTuple):
    """A flow as it is begun. ``last``: the node whose end is the flow's, "" where it has none. ``sent_at``: an instant.

    ``ttl``: seconds for which the flow is kept after it has ended.
    """

    id: str
    name: str
    last: str
    sent_at: float
    ttl: float


# --- changes: what a settlement asks the store to do to flows ------------------------------------------------------


class BeginFlow(NamedTuple):
    """Keep a flow and its nodes. A flow of that id that is there already is left alone, with its nodes.

    Nodes without ``after`` are READY (a join of no members: ended); all others WAIT.
    """

    flow: Flow
    nodes: Sequence[Node]


class AddNodes(NamedTuple):
    """Add nodes to a flow that was begun; those that are there are left alone. As in ``BeginFlow`` otherwise.

    Members of an open join (``size`` -1, sealed or not) count when they are added. Refused (``apply`` answers None)
    where there is no such flow, or a join of theirs has ended.
    """

    flow: str
    nodes: Sequence[Node]


class SealFlow(NamedTuple):
    """No more members will be added to an open join: it ends when all it has have ended."""

    flow: str
    join: str


class EndNode(NamedTuple):
    """The task of a node has ended: ``state`` is SUCCESS, FAILURE or REVOKED. ``value`` is encoded bytes.

    What becomes READY by it is published by the same step; asked again for a node that has ended, what it made READY
    and was not STARTED since is published again. Nothing happens where the flow or the node is not there.
    SKIPPED: a message came of which ``begin`` said ENDED. It ends nothing; the same is published again as above, or the
    node itself, if it is READY.
    """

    flow: str
    node: str
    state: NodeState
    at: float
    value: bytes = b""
    content_type: str = "msgpack"
    failure: Failure | None = None


class PauseNode(NamedTuple):
    """An attempt of a started node is over, and its message will come again: it rests, STARTED as it is, until then.

    In a cancelled flow it ends as REVOKED at once. Nothing happens to a node that is not there, or not STARTED.
    """

    flow: str
    node: str


class ReviveNode(NamedTuple):
    """Take back the end of a node that ended as FAILURE or REVOKED by itself: it is READY again, to be published anew.

    So is all that ended because of it and never started: it WAITS again, without a result; so does its join, if it
    failed and none of its members stands as failed any more. What ran because of the failure stays as it is.
    Where its ``wire`` is kept it is published, unless ``is_sent``: the one who revives it publishes it. Nothing happens
    to a node that has not ended so. Refused where there is no such node, where its flow was cancelled, and while a task
    that is given what is taken back, directly or among the values of a join, is READY or STARTED.
    """

    flow: str
    node: str
    is_sent: bool


class ReplaceNode(NamedTuple):
    """A started task put something in its own place: ``nodes``, of which one has its id and is their end.

    That one keeps the place (``after``, ``join``, ``keeps`` and whoever waits for it) of the node it replaces, but for
    ``after`` if it has one of its own; the ``path`` of all goes on from its. Nodes without ``after`` are published by
    the same step, by their ``wire``. With ``flow`` new, it is begun: the task was in none. Replacing what is replaced
    already, or has ended, changes nothing. (It is replaced already if it is not STARTED, or others of ``nodes`` are
    there, or it is the only one and has that ``wire``.) While the node WAITS, or is READY and the copy is one of an
    earlier ``message.generation``, ``begin`` says ENDED of its message; ``EndNode`` of a node that WAITS ends nothing,
    but publishes again what it waits for and was not STARTED.
    """

    flow: Flow
    nodes: Sequence[Node]


class CancelFlow(NamedTuple):
    """Revoke what has not started: see the rules. Nothing happens to a flow that has ended.

    Of these ``nodes`` what is READY or rests (``PauseNode``) ends as REVOKED at once, as does an open join: what is
    awaited there may never come. Who cancels names all there are, a page at a time: ``cancelling.cancel``.
    """

    flow: str
    nodes: Sequence[str] = ()


FlowChange = BeginFlow | AddNodes | SealFlow | EndNode | PauseNode | ReviveNode | ReplaceNode | CancelFlow


# --- what is asked --------------------------------------------------------------------------------------------------


class Start(NamedTuple):
    """A message of a flow that is about to be run. ``copy`` tells messages of one node apart: see ``Begun.state``."""

    flow: str
    node: str
    copy: str
    at: float


class Verdict(StrEnum):
    """What is to become of a message of a flow."""

    RUN = "run"
    """It is STARTED now, by this copy."""
    ENDED = "ended"
    """It has ended already, or was replaced: settle it by an ``EndNode`` as SKIPPED, do not run it."""
    DUPLICATE = "duplicate"
    """Another copy of the message was started: ack this one."""
    REVOKED = "revoked"
    """The flow was cancelled before it started, or before it was started again: end it as REVOKED."""
    UNKNOWN = "unknown"
    """There is no such flow or node (any more)."""


class Kept(NamedTuple):
    """The value of a node that has ended, or its failure."""

    node: str
    task: str
    state: NodeState
    value: bytes
    content_type: str
    failure: Failure | None


Inputs = Kept | Sequence["Inputs"]
"""What a node is given: the value of a task; of a join that succeeded the values of its members in their order.

A task that did not succeed is given as itself, also among the values of a join that collects; in the place of a join
that did not, its ``cause`` is given.
"""


class Begun(NamedTuple):
    """``inputs``: what it is given, None where it takes nothing."""

    verdict: Verdict
    inputs: Inputs | None = None


class NodeView(NamedTuple):
    """A node as it stands. ``cause``: the id of the node whose failure ended it, if that is another. 0: not yet.

    ``left``: of a join, how many members it still waits for.
    """

    node: Node
    state: NodeState
    started_at: float = 0.0
    ended_at: float = 0.0
    failure: Failure | None = None
    cause: str = ""
    left: int = 0


class FlowView(NamedTuple):
    """A flow as it stands. ``counts``: its tasks by state (``Node.is_counted``); states without any may be missing.

    ``dead``: how many of those that are FAILURE failed by themselves; the others could not run because of them.
    """

    flow: Flow
    state: FlowState
    counts: Mapping[NodeState, int]
    is_cancelled: bool = False
    ended_at: float = 0.0
    dead: int = 0


class FlowStore(Protocol):
    """What every store does for flows, beside ``apply``, which takes ``FlowChange`` too."""

    def begin(self, starts: Sequence[Start]) -> Sequence[Begun]:
        """Start nodes, and read what they are given; an answer each, in their order. Atomic for each of them.

        A node that was started is started again by the same copy: its message was delivered again, or is a retry.
        """

    def flow(self, flow_id: str) -> FlowView | None: ...

    def flows(self, *, limit: int, before: tuple[float, str] | None = None) -> Sequence[FlowView]:
        """Flows, the newest first by ``(sent_at, id)``, before that position."""

    def nodes(self, flow_id: str, *, limit: int, after: str = "") -> Sequence[NodeView]:
        """The nodes of a flow by their ids, after that one."""


def sealed(node: Node, at: float) -> Sealed:
    """The message of a node that was made READY at that instant, to be published."""
    due_at = max(node.due_at, at + node.delay if node.delay else 0.0)
    return Sealed(node.queue, node.priority, node.wire, due_at or None)


def task_state(state: NodeState) -> State:
    """What a result says of the task of a node that ended without having run."""
    return State.FAILURE if state is NodeState.FAILURE else State.REVOKED
