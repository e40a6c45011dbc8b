"""What is handed to an application to begin."""

from collections.abc import Sequence
from typing import NamedTuple

from taskbus.message import Message
from taskbus.store.flows import Flow, Node


class Plan(NamedTuple):
    """A flow with all its nodes, and the messages of those that wait for nothing.

    In ``nodes`` a join stands before its members.
    """

    flow: Flow
    nodes: Sequence[Node]
    roots: Sequence[Message]
