"""What ``ctx.replace`` puts in the place of a task."""

from taskbus.errors import ConfigError
from taskbus.message import COPY, FLOW, Message, generation, of_generation
from taskbus.store.flows import Flow, Node
from taskbus.workflow.graph import Weaver, kept
from taskbus.workflow.repeating import ids_of
from taskbus.workflow.shape import AtOnce, InTurn, Shape


def replacement(shape: Shape, message: Message, *, now: float, ttl: float) -> tuple[Flow, list[Node]]:
    """What takes the place of the task that ``message`` called; all nodes carry their wire.

    The node that ends it has the message's id. The flow is the message's own, or a new one where it is in none. All ids
    are made of the message: where its task is run again, as it was not known that it had been replaced, they are those
    that are there already.
    """
    end = shape
    while isinstance(end, InTurn):
        end = end.steps[-1]
    if isinstance(end, AtOnce):
        raise ConfigError(
            f"task {message.task!r} cannot be replaced by a group: end it with a task that takes the list of its values"
        )
    ids = ids_of(message)
    flow_id = ids()
    copies = {message.id: of_generation(generation(message.headers.get(COPY, "")) + 1)}
    weaver = Weaver(message.headers.get(FLOW, flow_id), now, seals_all=True, ids=ids, copies=copies)
    weaver.weave(shape, id=message.id)
    if FLOW not in message.headers and len(weaver.nodes) == 1:
        weaver.nodes.append(Node(ids()))  # a join of nothing, by which the store knows that this was done before
    return Flow(weaver.flow_id, message.task, message.id, now, ttl), kept(weaver.nodes)
