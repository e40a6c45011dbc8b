"""Sending a shape: plan it, have its application begin it, hand back what to wait for."""

from collections.abc import Mapping, Sequence
from typing import Any

from taskbus.message import FLOW, Message
from taskbus.store.flows import Node, Policy
from taskbus.store.results import AsyncResult
from taskbus.workflow.graph import Weaver, woven
from taskbus.workflow.plan import Plan
from taskbus.workflow.results import GroupResult
from taskbus.workflow.shape import OneCall, Sender, Shape, calls

Result = AsyncResult[Any] | GroupResult[Any]


def send(shape: Shape, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Result:
    """See ``Canvas.delay``."""
    sender = _sender_of(shape)
    plan, weaver = _planned(shape, sender, args, kwargs)
    if sender is None:
        return _result(plan, weaver, sender, "")
    if _is_lone(shape):
        sender.submit(_alone(plan.roots[0]), weaver.session)
        return _result(plan, weaver, sender, "")
    sender.begin(plan, weaver.session)
    return _result(plan, weaver, sender, plan.flow.id)


async def asend(shape: Shape, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Result:
    """See ``Canvas.adelay``."""
    sender = _sender_of(shape)
    plan, weaver = _planned(shape, sender, args, kwargs)
    if sender is None:
        return _result(plan, weaver, sender, "")
    if _is_lone(shape):
        await sender.asubmit(_alone(plan.roots[0]), weaver.session)
        return _result(plan, weaver, sender, "")
    await sender.abegin(plan, weaver.session)
    return _result(plan, weaver, sender, plan.flow.id)


def _sender_of(shape: Shape) -> Sender | None:
    """None where there is no task at all, and so nothing to send."""
    call = next(calls(shape), None)
    sender: Sender | None = None if call is None else call.task.application()
    return sender


def _planned(
    shape: Shape, sender: Sender | None, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Plan, Weaver]:
    now, ttl = (0.0, 0.0) if sender is None else (sender.now(), sender.config.flow_ttl)
    return woven(shape, now=now, ttl=ttl, args=args, kwargs=kwargs)


def _is_lone(shape: Shape) -> bool:
    """Whether it is a task that nothing waits for, and which needs no flow."""
    return isinstance(shape, OneCall) and not shape.links


def _alone(message: Message) -> Message:
    return message._replace(headers={name: text for name, text in message.headers.items() if name != FLOW})


def _result(plan: Plan, weaver: Weaver, sender: Sender | None, flow_id: str) -> Result:
    """What to wait for: the end of the flow, and where that is a join, those of its members."""
    nodes, members = {node.id: node for node in plan.nodes}, _members(plan.nodes)
    made: dict[str, Result] = {}
    for node in reversed(_told_of(plan, nodes, members)):
        if node.is_join:
            made[node.id] = GroupResult(
                node.id,
                [made[member] for member in members[node.id]],
                flow_id=flow_id,
                is_collecting=node.policy is Policy.COLLECT,
                sender=sender,
            )
        elif sender is not None:
            made[node.id] = result = _expected(sender, weaver.calls[node.id], node.id)
            result.flow_id = flow_id
    for id, each in made.items():
        if isinstance(each, GroupResult):
            each.before = made.get(nodes[id].after)
    return made[plan.flow.last]


def _members(nodes: Sequence[Node]) -> dict[str, list[str]]:
    """The ids of the members of each join, in their order."""
    members = {node.id: [""] * node.size for node in nodes if node.is_join}
    for node in nodes:
        if node.join:
            members[node.join][node.place] = node.id
    return members


def _told_of(plan: Plan, nodes: Mapping[str, Node], members: Mapping[str, Sequence[str]]) -> list[Node]:
    """The nodes whose results say what becomes of the flow's last one; a join stands before its members.

    A join of no members, or one that collects, does not run where what it is after fails; only that can tell.
    """
    found: set[str] = set()
    kept: dict[str, bool] = {"": False}
    stack = [plan.flow.last]
    while stack:
        id = stack.pop()
        if id in found:
            continue
        found.add(id)
        node = nodes[id]
        if node.is_join:
            stack += members[id]
            if not node.size or node.policy is Policy.COLLECT:
                if node.after not in kept:
                    kept[node.after] = _keeps_results(nodes, members, node.after)
                stack += [node.after] * kept[node.after]
    return [node for node in plan.nodes if node.id in found]


def _keeps_results(nodes: Mapping[str, Node], members: Mapping[str, Sequence[str]], id: str) -> bool:
    """Whether all results that say what becomes of a node are kept."""
    stack = [id]
    while stack:
        node = nodes[stack.pop()]
        if node.is_join:
            stack += members[node.id]
        elif not node.result_ttl:
            return False
    return True


def _expected(sender: Sender, call: OneCall, task_id: str) -> AsyncResult[Any]:
    if call.is_chunk:
        return sender.expect(call.task, task_id, decode=call.task.arguments.results)
    return sender.expect(call.task, task_id)
