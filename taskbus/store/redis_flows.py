"""Flows in Redis: starting their nodes, and listing them. What changes them is in the Lua files beside this one.

On a Cluster all of a flow is in one slot, and the index of flows in another: it may name flows that are gone.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from taskbus.clock import Clock
from taskbus.database.redis import load
from taskbus.database.redis_link import Call
from taskbus.message import Recorded, Sealed
from taskbus.store import redis_flow_records as records
from taskbus.store.flows import Begun, FlowView, NodeView, Start, Verdict
from taskbus.store.redis_records import pack_raw, place_of, to_bytes, to_id

PAGE = 500
"""Flows, or nodes, asked for in one step."""
PLACE_SIZE = 8
_GRAPH = ("redis_flow_bytes.lua", "redis_flow_nodes.lua")
_SETS = ("redis_changes.lua", *_GRAPH, "redis_flows.lua", "redis_flow_changes.lua", "redis_flow_sets.lua")
APPLY = load(__package__, *_SETS, "redis_flow_apply.lua")
START = load(__package__, *_GRAPH, "redis_flow_starts.lua")
NODES = load(__package__, "redis_flow_page.lua")
FRAGMENT = load(__package__, *_SETS, "redis_flow_record.lua").text
_VERDICTS = (Verdict.RUN, Verdict.ENDED, Verdict.DUPLICATE, Verdict.REVOKED, Verdict.UNKNOWN)
"""Their places are the numbers that redis_flow_starts.lua answers."""


class Asking(Protocol):
    """What is needed of Redis: commands and scripts that may be repeated."""

    def call(self, *command: Any) -> Any: ...

    def pipeline(self, commands: Sequence[tuple[Any, ...]]) -> Sequence[Any]: ...

    def scripts(self, calls: Sequence[Call]) -> Sequence[Any]: ...


class Flows:
    """The flows behind ``asking``, whose keys begin with ``prefix``.

    ``now`` is the instant by a clock that was passed in, None where Redis judges what is over; ``clock`` says the
    present one in any case. ``is_apart``: scripts work on one flow each, as on a Cluster.
    """

    def __init__(self, asking: Asking, prefix: str, clock: Clock, *, is_passed: bool, is_apart: bool) -> None:
        self._asking = asking
        self._prefix = prefix
        self._clock = clock
        self._is_passed = is_passed
        self._is_apart = is_apart
        self._index = f"{prefix}flows:{{index}}"
        self._swept = b"-"

    def _now(self) -> float | None:
        return self._clock() if self._is_passed else None

    def key(self, flow_id: str | bytes) -> bytes:
        flow_id = to_bytes(flow_id) if isinstance(flow_id, str) else flow_id
        return self._prefix.encode() + b"flow:{" + flow_id + b"}"

    # --- starting ---

    def begin(self, starts: Sequence[Start]) -> Sequence[Begun]:
        """See ``FlowStore.begin``."""
        by_flow: dict[str, list[int]] = {}
        for n, start in enumerate(starts):
            by_flow.setdefault(start.flow if self._is_apart else "", []).append(n)
        calls = [(START, (self._none(flow),), (self._starts(starts, ns),)) for flow, ns in by_flow.items()]
        begun = [Begun(Verdict.UNKNOWN)] * len(starts)
        for numbers, answers in zip(by_flow.values(), self._asking.scripts(calls), strict=True):
            for n, (verdict, *inputs) in zip(numbers, answers, strict=True):
                begun[n] = Begun(_VERDICTS[verdict], records.to_inputs(inputs) if inputs else None)
        return begun

    def _starts(self, starts: Sequence[Start], numbers: Sequence[int]) -> bytes:
        asked = [
            (to_bytes(start.flow), to_bytes(start.node), to_bytes(start.copy), start.at)
            for start in (starts[n] for n in numbers)
        ]
        return pack_raw((self._prefix, self._now() or 0.0, self._clock(), asked))

    def _none(self, flow_id: str) -> bytes:
        return self._prefix.encode() + b"none:{" + to_bytes(flow_id) + b"}"

    # --- listing ---

    def flow(self, flow_id: str) -> FlowView | None:
        """See ``FlowStore.flow``."""
        static, state = self._asking.call("HMGET", self.key(flow_id), "f", "s")
        return None if state is None else records.to_flow_view(flow_id, static, state, self._now())

    def flows(self, limit: int, before: tuple[float, str] | None) -> Sequence[FlowView]:
        """See ``FlowStore.flows``. Entries of the index that lead nowhere are taken out of it."""
        found: list[FlowView] = []
        high = b"+" if before is None else b"(" + place_of(before[0]) + to_bytes(before[1])
        while len(found) < limit:
            size = min(PAGE, limit - len(found))
            entries = self._asking.call("ZRANGE", self._index, high, "-", "BYLEX", "REV", "LIMIT", 0, size)
            found += self._listed(entries)
            if len(entries) < size:
                break
            high = b"(" + entries[-1]
        return found

    def _listed(self, entries: Sequence[bytes]) -> Iterator[FlowView]:
        now = self._now()
        answers = self._asking.pipeline([("HMGET", self.key(entry[PLACE_SIZE:]), "f", "s") for entry in entries])
        gone = []
        for entry, (static, state) in zip(entries, answers, strict=True):
            view = None if state is None else records.to_flow_view(to_id(entry[PLACE_SIZE:]), static, state, now)
            if state is None or (view is not None and place_of(view.flow.sent_at) != entry[:PLACE_SIZE]):
                gone.append(entry)
            elif view is not None:
                yield view
        self._drop(gone)

    def _drop(self, entries: Sequence[bytes]) -> None:
        if entries:
            self._asking.call("ZREM", self._index, *entries)

    def nodes(self, flow_id: str, limit: int, after: str) -> Sequence[NodeView]:
        """See ``FlowStore.nodes``."""
        found: list[NodeView] = []
        if self.flow(flow_id) is None:
            return found
        key = self.key(flow_id)
        while len(found) < limit:
            size = min(PAGE, limit - len(found))
            keys = (key, key + b":nodes", key + b":order")
            (page,) = self._asking.scripts([(NODES, keys, (to_bytes(after), size))])
            for name, data, wire, failure in zip(*[iter(page)] * 4, strict=True):
                stored = records.to_node(to_id(name), data)
                found.append(records.to_node_view(stored, wire, records.to_failure(failure)))
            if len(page) < 4 * size:
                break
            after = found[-1].node.id
        return found

    # --- forgetting ---

    def sweep(self, now: float, limit: int) -> int:
        """Delete flows that are over by a clock that was passed in; how many.

        Else take some entries out of the index whose flows Redis has deleted: each call looks at a page of them.
        """
        entries = self._asking.call("ZRANGE", self._index, self._swept, "+", "BYLEX", "LIMIT", 0, PAGE)
        self._swept = b"(" + entries[-1] if len(entries) == PAGE else b"-"
        states = self._asking.pipeline([("HGET", self.key(entry[PLACE_SIZE:]), "s") for entry in entries])
        found = list(zip(entries, states, strict=True))
        over = [entry for entry, state in found if state is not None and records.over_at(state) <= now][:limit]
        for key in (self.key(entry[PLACE_SIZE:]) for entry in over):
            self._asking.call("DEL", key, key + b":nodes", key + b":order")
        self._drop([entry for entry, state in found if state is None] + over)
        return len(over)


def to_recorded(answer: Sequence[Any]) -> Recorded | None:
    """What redis_flow_apply.lua answered."""
    if not answer[0]:
        return None
    end = 2 + 4 * answer[1]
    return Recorded(
        [
            Sealed(queue.decode(), int(priority), wire, float(due_at) or None)
            for queue, priority, wire, due_at in zip(*[iter(answer[2:end])] * 4, strict=True)
        ]
    )


def to_results(answer: Sequence[Any]) -> Iterator[tuple[bytes, int, bytes]]:
    """What it answered on a Cluster beside that: changes of results, each an id, milliseconds and bytes."""
    return zip(*[iter(answer[3 + 4 * answer[1] :])] * 3, strict=True)


def rings(answer: Sequence[Any]) -> bool:
    """Whether somebody may wait for what was recorded on a Cluster."""
    return bool(answer[2 + 4 * answer[1]])
