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
    last = plan.flow.last
    seen: list[Node] = []
    members: dict[str, list[str]] = {}
    for node in plan.nodes:  # a join stands before its members
        if node.id == last or node.join in members:
            seen.append(node)
            if node.is_join:
                members[node.id] = [""] * node.size
            if node.id != last:
                members[node.join][node.place] = node.id
    made: dict[str, Result] = {}
    for node in reversed(seen):
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
    return made[last]


def _expected(sender: Sender, call: OneCall, task_id: str) -> AsyncResult[Any]:
    if call.is_chunk:
        return sender.expect(call.task, task_id, decode=call.task.arguments.results)
    return sender.expect(call.task, task_id)
