"""A flow as a tree: what runs one after the other stands below each other, the members of a group below its line.

``Node.path`` says where a node stands, in numbers: ``1.0.2`` is the third of the chain that is the first of the second.
What took the place of a task stands below the line where that was.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.text import Text
from rich.tree import Tree

from taskbus.cli.phrase import count, safe, shortened, span
from taskbus.store.flows import NodeState, NodeView

MANY = 12
"""Of more branches than this side by side, only so many are drawn: those that failed first, then those that run."""
COLOURS = {
    NodeState.WAITING: "dim",
    NodeState.READY: "cyan",
    NodeState.STARTED: "yellow",
    NodeState.SUCCESS: "green",
    NodeState.FAILURE: "bold red",
    NodeState.REVOKED: "magenta",
    NodeState.SKIPPED: "dim",
}
_TELLING = (NodeState.FAILURE, NodeState.REVOKED, NodeState.STARTED)


@dataclass(slots=True)
class Branch:
    """A place in the tree; a chain inside a group is a place without a node of its own.

    ``others``: how many tasks are in it that stand nowhere, by their states.
    """

    view: NodeView | None = None
    below: dict[int, "Branch"] = field(default_factory=dict)
    others: dict[NodeState, int] = field(default_factory=dict)

    def ordered(self) -> list["Branch"]:
        return [self.below[number] for number in sorted(self.below)]

    @property
    def state(self) -> NodeState:
        """Its own; of a chain, that of its last step."""
        while self.view is None and self.below:
            self = self.ordered()[-1]
        return self.view.state if self.view is not None else NodeState.WAITING

    def tells(self) -> NodeState | None:
        """The state in it that most wants to be looked at; None where all is well, or has not begun."""
        states = {branch.state for branch in self.below.values() if self.view is None} | {self.state}
        return next((state for state in _TELLING if state in states), None)


def arranged(views: Iterable[NodeView]) -> Branch:
    """Nodes by their places. Those without a path are of a batch, which is the first: see ``_add_to_batch``."""
    top, batch = Branch(), Branch()
    for view in views:
        if view.node.path:
            place = top
            for number in map(int, view.node.path.split(".")):
                place = place.below.setdefault(number, Branch())
            place.view = view
        elif view.node.task:
            _add_to_batch(batch, view)
    if batch.below or batch.others:
        first = top.below.setdefault(0, Branch())
        first.below, first.others = batch.below, batch.others
    return top


def _add_to_batch(batch: Branch, view: NodeView) -> None:
    """Tasks of a batch may be a million: some that failed are drawn, and the others counted."""
    has_failed = view.state in (NodeState.FAILURE, NodeState.REVOKED) and not view.cause
    if has_failed and len(batch.below) < MANY:
        batch.below[len(batch.below)] = Branch(view)
    else:
        batch.others[view.state] = batch.others.get(view.state, 0) + 1


def drawn(title: Text, top: Branch) -> Tree:
    """What is printed."""
    tree = Tree(title, guide_style="dim")
    _grow(tree, top)
    return tree


def _grow(tree: Tree, of: Branch) -> None:
    branches = of.ordered()
    shown = branches if len(branches) <= MANY else _chosen(branches)
    for branch in shown:
        _grow(tree.add(_line(branch)), branch)
    states = dict(of.others)
    known = {id(branch) for branch in shown}
    for branch in branches:
        if id(branch) not in known:
            states[branch.state] = states.get(branch.state, 0) + 1
    if states:
        told = ", ".join(f"{number:,} {state}" for state, number in sorted(states.items()))
        more = f"and {sum(states.values()):,} more" if shown else count(sum(states.values()), "task")
        tree.add(Text(f"{more}: {told}", style="dim"))


def _chosen(branches: Sequence[Branch]) -> list[Branch]:
    """At most ``MANY``, in their order: one at least."""
    telling = {state: [branch for branch in branches if branch.tells() is state] for state in _TELLING}
    chosen = {id(branch) for branch in [each for state in _TELLING for each in telling[state]][:MANY]}
    return [branch for branch in branches if id(branch) in chosen] or list(branches[:1])


def _line(branch: Branch) -> Text:
    view = branch.view
    if view is None:
        return Text("chain", style="dim")
    node = view.node
    group = "batch" if node.size < 0 else f"group of {count(len(branch.below), 'part')}"
    line = Text(safe(node.task) if node.task else group)
    line.append(f"  {view.state}", style=COLOURS[view.state])
    if node.task and view.started_at and view.ended_at:
        line.append(f"  {span(max(0.0, view.ended_at - view.started_at))}", style="dim")
    if node.is_join and view.left > 0:
        line.append(f"  {view.left:,} to go", style="dim")
    if view.cause:
        line.append(f"  because of {safe(view.cause)}", style="dim")
    elif view.failure is not None:
        text = f"{view.failure.type.rpartition('.')[2]}: {view.failure.message}"
        line.append(f"  {safe(shortened(text, 80))}", style="red")
    if node.task:
        line.append(f"  {safe(node.id)}", style="dim")
    return line
