"""``taskbus flow``: look at workflows, cancel them, run again what failed in them."""

from collections.abc import Sequence
from typing import Any

import rich_click as click
from rich.text import Text

from taskbus.app import TaskBus
from taskbus.cli.confirming import confirm
from taskbus.cli.exits import FAILED, OK
from taskbus.cli.flow_tree import arranged, drawn
from taskbus.cli.opening import open_existing
from taskbus.cli.options import scope_of, shared_options
from taskbus.cli.output import emit_items, emit_one
from taskbus.cli.phrase import ago, count, safe, shortened, span
from taskbus.cli.tables import console, draw, say
from taskbus.steering import flows as acts
from taskbus.steering.showing import Showing
from taskbus.store.flows import FlowState, FlowView, NodeState, NodeView
from taskbus.store.where import parse_flows

LIST_LIMIT = 50
STYLES = {
    FlowState.RUNNING: "yellow",
    FlowState.SUCCESS: "green",
    FlowState.FAILURE: "bold red",
    FlowState.REVOKED: "magenta",
}


@click.group("flow")
def command() -> None:
    """List, show, cancel or retry workflows: chains, groups, chords and batches."""


@command.command("list")
@click.option("--where", default="", metavar="TERMS", help="Only those that match, such as 'state:failure age<1d'.")
@click.option("--limit", type=click.IntRange(min=1), default=LIST_LIMIT, show_default=True, help="How many at most.")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def list_flows(ctx: click.Context, where: str, limit: int) -> None:
    """List workflows, the newest first.

    \b
    --where takes terms that must all match:
        name:import-*  state:failure,running  age<1d  id:...
    """
    scope = scope_of(ctx)
    with open_existing(scope, "results") as app:
        wanted, found, rest = parse_flows(where, app.clock()), list[FlowView](), None
        while len(found) < limit:
            more, rest = acts.find_flows(app, wanted, limit=limit - len(found), before=rest)
            found += more
            if rest is None:
                break
        place = app.store.database or app.results_url
        emit_items(
            scope.output, "flows", map(_item, found), lambda: _draw_list(found, app.clock(), place), database=place
        )


@command.command("show")
@click.argument("flow_id", metavar="ID")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def show(ctx: click.Context, flow_id: str) -> None:
    """Show a workflow as a tree, with states and timings; what failed says why, without secrets."""
    scope = scope_of(ctx)
    with open_existing(scope, "results") as app:
        flow = acts.find_flow(app, flow_id)
        nodes = _without_secrets(app, list(acts.nodes_of(app, flow_id)))
        item = {**_item(flow), "nodes": [_node_item(view) for view in nodes]}
        emit_one(scope.output, "flow", item, lambda: _draw(flow, nodes, app.clock()))


@command.command("cancel")
@click.argument("flow_id", metavar="ID")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def cancel(ctx: click.Context, flow_id: str) -> None:
    """Revoke what has not started of a workflow. What runs goes on to its end."""
    scope = scope_of(ctx)
    with open_existing(scope, "results") as app:
        has_ended = acts.find_flow(app, flow_id).state is not FlowState.RUNNING
        left = acts.cancel(app, flow_id).count
        said = "It had ended already." if has_ended else f"{count(left, 'task')} will not run."
        emit_one(scope.output, "cancelled", {"id": flow_id, "revoked": left}, lambda: say(said))


@command.command("retry")
@click.argument("flow_id", metavar="ID")
@click.option("--from", "node", metavar="TASK_ID", default=None, help="Only this task, and what waits for it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def retry(ctx: click.Context, flow_id: str, node: str | None, yes: bool) -> None:
    """Run again what failed in a workflow, and go on from there. What succeeded is not run again."""
    scope = scope_of(ctx)
    with open_existing(scope, "broker", "results") as app:
        failed = acts.failed_of(app, flow_id, node)
        if len(failed) > 1:
            confirm(f"Send {count(len(failed), 'task')} again, to {app.broker.safe_url}", yes=yes, has_dry_run=False)
        tried = acts.retry(app, flow_id, node) if failed else []
        sent = [each.task_id for each in tried if not each.refused]
        refused = [each for each in tried if each.refused]

        def table() -> None:
            for task_id in sent:
                click.echo(task_id)
            say(f"Sent {count(len(sent), 'task')} again." if failed else "Nothing has failed in it.")

        emit_items(scope.output, "retried", sent, table)
    for each in refused:
        say(f"{each.task_id} was not sent again: {each.refused}", "red")
    ctx.exit(FAILED if refused else OK)


def _without_secrets(app: TaskBus, nodes: Sequence[NodeView]) -> list[NodeView]:
    """The same, their failures as they are to be shown."""
    showing = Showing(app)
    secrets = showing.secrets(acts.letters_of(app, nodes))
    return [
        view._replace(failure=showing.failure(view.failure, secrets)) if view.failure is not None else view
        for view in nodes
    ]


def _done(flow: FlowView) -> int:
    return sum(number for state, number in flow.counts.items() if state.has_ended)


def _item(view: FlowView) -> dict[str, Any]:
    return {
        "id": view.flow.id,
        "name": view.flow.name,
        "state": str(view.state),
        "is_cancelled": view.is_cancelled,
        "counts": {str(state): number for state, number in view.counts.items() if number},
        "sent_at": view.flow.sent_at,
        "ended_at": view.ended_at or None,
    }


def _node_item(view: NodeView) -> dict[str, Any]:
    node = view.node
    return {
        "id": node.id,
        "task": node.task,
        "state": str(view.state),
        "path": node.path,
        "after": node.after,
        "group": node.join,
        "started_at": view.started_at or None,
        "ended_at": view.ended_at or None,
        "failure": view.failure,
        "cause": view.cause,
    }


def _draw_list(found: Sequence[FlowView], now: float, place: str) -> None:
    draw(
        ("id", "name", "state", "done", "failed", "sent", "took"),
        [
            (
                view.flow.id,
                shortened(view.flow.name, 40),
                Text(_state(view), style=STYLES[view.state]),
                f"{_done(view):,}/{sum(view.counts.values()):,}",
                f"{view.counts.get(NodeState.FAILURE, 0):,}",
                ago(view.flow.sent_at, now),
                span(max(0.0, view.ended_at - view.flow.sent_at)) if view.ended_at else "",
            )
            for view in found
        ],
        right=("done", "failed"),
        whole=("id",),
        caption=place,
        empty=f"No workflows in {place}.",
    )


def _state(view: FlowView) -> str:
    return f"{view.state}, cancelled" if view.is_cancelled and view.state is FlowState.RUNNING else str(view.state)


def _draw(view: FlowView, nodes: Sequence[NodeView], now: float) -> None:
    title = Text(f"{safe(shortened(view.flow.name, 60))} " if view.flow.name else "", style="bold")
    title.append(view.flow.id, style="dim")
    title.append(f"  {_state(view)}", style=STYLES[view.state])
    total = sum(view.counts.values())
    title.append(f"  {_done(view):,} of {count(total, 'task')} done, sent {ago(view.flow.sent_at, now)}", style="")
    if view.ended_at:
        title.append(f", took {span(max(0.0, view.ended_at - view.flow.sent_at))}")
    console().print(drawn(title, arranged(nodes)))
    told = ", ".join(f"{number:,} {state}" for state, number in sorted(view.counts.items()) if number)
    say(told, "dim")
