"""From shapes to nodes: what ``.delay()`` of a workflow plans, and what a task is replaced by.

One node a task and one a group, however they are nested, made from the outside in: a shape is told the id that its end
will have, what it comes after and which join it is a member of. So no step needs the answer of another one, and shapes
may be nested deeper than Python's stack is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from taskbus import codec
from taskbus.broker.broker import checked
from taskbus.errors import BadArguments, ConfigError
from taskbus.message import CELERY_FLOWS, CHUNK, COPY, FLOW, FOR_CELERY, NO_HEADERS, TAKES, Message, new_id
from taskbus.options import PLAIN, CallOptions
from taskbus.store.flows import MAX_PATH, Flow, Node, When
from taskbus.workflow.picture import label
from taskbus.workflow.plan import Plan
from taskbus.workflow.shape import NO_KWARGS, AtOnce, Callee, InTurn, Link, OneCall, Sender, Shape, own_id


def plan(
    shape: Shape,
    *,
    now: float,
    ttl: float,
    name: str = "",
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] = NO_KWARGS,
) -> Plan:
    """The nodes of a workflow and the messages of those that wait for nothing; linear in its tasks.

    ``args`` and ``kwargs`` are what its first tasks are called with, besides their own. ``ttl``: as ``Flow.ttl``.

    Raises:
        BadArguments: a task could not be called with its arguments and what the one before it gives it.
        ConfigError: it cannot be run as it is.
        EncodeError, PayloadTooLarge: an argument cannot be sent.
    """
    return woven(shape, now=now, ttl=ttl, name=name, args=args, kwargs=kwargs)[0]


def woven(
    shape: Shape,
    *,
    now: float,
    ttl: float,
    name: str = "",
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] = NO_KWARGS,
) -> "tuple[Plan, Weaver]":
    """As ``plan``; the weaver knows whose call each node is."""
    weaver = Weaver(new_id(), now)
    last = weaver.weave(shape, args=args, kwargs=kwargs)
    flow = Flow(weaver.flow_id, name or label(shape), last, now, ttl)
    return Plan(flow, kept(weaver.nodes), weaver.roots), weaver


class _Place(NamedTuple):
    """Where a shape stands. ``is_fed``: what it is ``after`` has a value for it. ``path`` None: it has no place."""

    shape: Shape
    id: str
    path: str | None
    options: CallOptions = PLAIN
    after: str = ""
    when: When = When.SUCCESS
    join: str = ""
    place: int = 0
    is_fed: bool = False
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = NO_KWARGS


class Weaver:
    """Makes nodes of shapes, all of one flow.

    ``nodes`` are without ``keeps``: see ``kept``. ``calls``: whose call each node is. ``session``: the one that their
    tasks are to be sent in. ``seals_all``: the store publishes the roots too, so they carry their wire and make no
    messages. ``is_counted``: see ``Node.is_counted``. ``ids`` makes ids; ``has_given_ids``: some are a user's own.
    ``copies``: how the copies of messages begin (``message.COPY``), by their ids.
    """

    def __init__(
        self,
        flow_id: str,
        now: float,
        *,
        seals_all: bool = False,
        is_counted: bool = True,
        ids: Callable[[], str] = new_id,
        copies: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        self.flow_id = flow_id
        self.nodes: list[Node] = []
        self.roots: list[Message] = []
        self.calls: dict[str, OneCall] = {}
        self.has_given_ids = False
        self._now = now
        self._seals_all = seals_all
        self._task_size = 0 if is_counted else -1
        self.ids = ids
        self._copies = copies
        self._headers = {FLOW: flow_id}
        self._taking = {FLOW: flow_id, TAKES: "1"}
        self.session: Any = None
        self._known: set[str] = set()
        self._sender: Sender | None = None
        self._max_bytes = 0

    def weave(
        self,
        shape: Shape,
        *,
        id: str = "",
        after: str = "",
        when: When = When.SUCCESS,
        join: str = "",
        place: int = 0,
        path: str | None = "",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] = NO_KWARGS,
    ) -> str:
        """Add the nodes of a shape, which is given no value by what it is after. Returns the id of its end."""
        if path == "" and not isinstance(shape, InTurn):
            path = "0"  # a picture has a line for it, as for the only step of a chain
        end = id or self._given_id(shape) or self.ids()
        stack = [_Place(shape, end, path, PLAIN, after, when, join, place, False, args, kwargs)]
        while stack:
            at = stack.pop()
            if isinstance(at.shape, OneCall):
                inner: Iterable[_Place] = ()
                self._call(at, at.shape)
            elif isinstance(at.shape, InTurn):
                inner = self._steps(at, at.shape)
            elif isinstance(at.shape, AtOnce):
                inner = self._members(at, at.shape)
            else:
                raise ConfigError(f"{at.shape!r} is no part of a workflow; write task.s(...), chain, group or chord")
            stack += reversed([*inner, *self._links(at)] if at.shape.links else [*inner])
        return end

    def _steps(self, at: _Place, line: InTurn) -> list[_Place]:
        first, rest = _handed_down(line.chosen.over(at.options))
        after, ends, steps = at.after, len(line.steps) - 1, []
        for number, step in enumerate(line.steps):
            is_first, is_last = number == 0, number == ends
            id = at.id if is_last else self._given_id(step) or self.ids()
            steps.append(
                _Place(
                    step, id, _inside(at.path, number), first if is_first else rest,
                    after, at.when if is_first else When.SUCCESS,
                    at.join if is_last else "", at.place if is_last else 0,
                    at.is_fed if is_first else True,
                    at.args if is_first else (), at.kwargs if is_first else NO_KWARGS,
                )
            )  # fmt: skip
            after = id
        return steps

    def _members(self, at: _Place, group: AtOnce) -> list[_Place]:
        """The join waits for what the members wait for: without members, and where they are not run at all."""
        options, _ = _handed_down(group.chosen.over(at.options))
        self._add(
            Node(
                at.id, after=at.after, when=at.when, join=at.join, place=at.place, size=len(group.members),
                policy=group.policy, path=at.path or "",
            )
        )  # fmt: skip
        return [
            _Place(
                member, self._given_id(member) or self.ids(), _inside(at.path, place), options, at.after, at.when,
                at.id, place, at.is_fed, at.args, at.kwargs,
            )
            for place, member in enumerate(group.members)
        ]  # fmt: skip

    def _links(self, at: _Place) -> list[_Place]:
        """What is linked is drawn after what is in the shape."""
        inner = len(at.shape.steps) if isinstance(at.shape, InTurn) else 0
        inner = len(at.shape.members) if isinstance(at.shape, AtOnce) else inner
        links: Sequence[Link] = at.shape.links
        return [
            _Place(
                link.shape, self._given_id(link.shape) or self.ids(), _inside(at.path, inner + number), after=at.id,
                when=link.when, is_fed=True,
            )
            for number, link in enumerate(links)
        ]  # fmt: skip

    def _call(self, at: _Place, call: OneCall) -> None:
        callee, takes = call.task, at.is_fed and not call.is_immutable
        self._must_be_one_of(callee)
        args, kwargs = call.args, call.kwargs
        if (at.args or at.kwargs) and not call.is_immutable:
            args, kwargs = (*at.args, *args), {**kwargs, **at.kwargs}
        if not call.is_chunk:
            _check(callee, args, kwargs, takes)
        is_sealed = self._seals_all or bool(at.after)
        options = call.chosen.over(at.options)
        queue, others = _handed_on(callee, options.queue or callee.queue, is_chunk=call.is_chunk)
        resolved = options.at(self._now)
        due_at, delay = (options.due_at or 0.0, options.delay or 0.0) if is_sealed else (0.0, 0.0)
        message = Message(
            at.id, callee.name, codec.encode_call(args, kwargs, callee.serializer), callee.serializer,
            queue, callee.priority if options.priority is None else options.priority,
            1, self._now, None if is_sealed else resolved.due_at, resolved.expires_at,
            {**self._headers_of(call, options, takes), **others, **self._copy_of(at.id)},
        )  # fmt: skip
        wire = checked(message, self._max_bytes)
        if not is_sealed:
            self.roots.append(message)
        self.calls[at.id] = call
        self._add(
            Node(
                at.id, callee.name, at.after, at.when, at.join, at.place, message.queue, message.priority,
                wire if is_sealed else b"", takes,
                result_ttl=callee.result_ttl if callee.store_results else 0.0, size=self._task_size, path=at.path or "",
                due_at=due_at, delay=delay,
            )
        )  # fmt: skip

    def _headers_of(self, call: OneCall, options: CallOptions, takes: bool) -> Mapping[str, str]:
        own = self._taking if takes else self._headers
        if not options.headers and not call.is_chunk:
            return own
        return {**(options.headers or {}), **({CHUNK: "1"} if call.is_chunk else {}), **own}

    def _copy_of(self, id: str) -> Mapping[str, str]:
        return {COPY: self._copies[id]} if id in self._copies else NO_HEADERS

    def _must_be_one_of(self, callee: Callee) -> None:
        sender: Sender = callee.application()
        if self._sender is None:
            self._sender, self._max_bytes = sender, sender.config.max_message_bytes
        elif sender is not self._sender:
            raise ConfigError(
                f"task {callee.name!r} belongs to another application than the rest of its workflow; send it from there"
            )
        if callee.session is not None and callee.session is not self.session:
            if self.session is not None:
                raise ConfigError("the tasks of this workflow are using() several sessions; give all the same one")
            self.session = callee.session

    def _given_id(self, shape: Shape) -> str | None:
        """The id that a user gave its end."""
        id = own_id(shape)
        self.has_given_ids = self.has_given_ids or id is not None
        return id

    def _add(self, node: Node) -> None:
        if node.id in self._known:
            raise ConfigError(f"two tasks of this workflow have the task_id {node.id!r}; give each its own")
        self._known.add(node.id)
        self.nodes.append(node)


def kept(nodes: Sequence[Node]) -> list[Node]:
    """The same with ``keeps``: a value is kept if somebody takes it, from the task itself or from a join above it.

    A node whose task is run because of a failure is told of that: it takes no value.
    """
    given = {node.after for node in nodes if node.takes and node.when is not When.FAILURE}
    found = []
    for node in nodes:  # a join stands before its members
        if node.id in given or node.join in given:
            node = node._replace(keeps=True)
            if node.is_join:
                given.add(node.id)
        found.append(node)
    return found


def _check(callee: Callee, args: Sequence[Any], kwargs: Mapping[str, Any], takes: bool) -> None:
    if not takes:
        callee.arguments.check(args, kwargs)
        return
    try:
        callee.arguments.check((None, *args), kwargs)
    except BadArguments as error:
        raise BadArguments(
            f"{error}; its first argument is the value of what runs before it: write .si(...) if it takes none"
        ) from None


def _handed_on(callee: Callee, queue: str, *, is_chunk: bool) -> tuple[str, Mapping[str, str]]:
    """Where a task goes, and what it says more: Celery's workers know no flows, so one of ours hands it on to them."""
    if queue not in callee.application().config.celery_queues:
        return queue, NO_HEADERS
    if is_chunk:
        raise ConfigError(
            f"task {callee.name!r}: queue {queue!r} is shared with Celery, which knows no chunks; use map() there"
        )
    return CELERY_FLOWS, {FOR_CELERY: queue}


def _handed_down(options: CallOptions) -> tuple[CallOptions, CallOptions]:
    """What holds for the first of several calls, and for the others: only the first is told when to start."""
    if options is PLAIN:
        return PLAIN, PLAIN
    return replace(options, task_id=None), replace(options, task_id=None, delay=None, due_at=None)


def _inside(path: str | None, number: int) -> str | None:
    if not path:
        return path if path is None else str(number)
    inner = f"{path}.{number}"
    return inner if len(inner) <= MAX_PATH else path
