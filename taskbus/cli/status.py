"""``taskbus status``: who works, what waits, what died."""

from collections.abc import Sequence

import rich_click as click

from taskbus.app import TaskBus
from taskbus.broker.queues import WorkerEntry
from taskbus.cli.exits import NO_REPLY, OK
from taskbus.cli.nodes import draw_nodes, node_item
from taskbus.cli.opening import open_existing, opened_reports
from taskbus.cli.options import scope_of, shared_options
from taskbus.cli.output import emit_one
from taskbus.cli.phrase import ago, count, span
from taskbus.cli.queues import draw_sizes
from taskbus.cli.tables import draw, say
from taskbus.errors import ConfigError, StoreError
from taskbus.steering.nodes import SeenNode, seen_nodes
from taskbus.store.base import Filter


@click.command("status")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show workers, queue sizes and the number of dead letters.

    RabbitMQ lists no workers: there they are those that report to the database of the results.

    Exit status: 0 if a worker is alive, 69 if none is; on RabbitMQ 0 too where workers do not report.
    """
    scope = scope_of(ctx)
    with open_existing(scope, "broker", "results") as app:
        now = app.now()
        workers = app.broker.workers()
        sizes = sorted(app.broker.queues(), key=lambda size: size.name)
        dead = app.store.count_dead_letters(Filter())
        can_tell, nodes = app.broker.features.lists, _nodes(app)
        reporting = [seen for seen in nodes if seen.is_alive and seen.state.kind == "worker"]
        is_alive = any(worker.lease_until > now for worker in workers) or bool(reporting)
        is_unknown = not can_tell and not app.config.reports

        place = app.broker.safe_url

        def table() -> None:
            say(place, "dim")
            if not can_tell:
                draw_nodes(nodes, app.clock())
                say("This broker lists no queues; ask its own tools: rabbitmqctl list_queues")
            else:
                draw_workers(workers, now)
                click.echo()
                draw_sizes(sizes, empty="No queues yet: nothing was ever sent.")
            if dead:
                say(f"\n{count(dead, 'dead letter')}; taskbus dlq groups tells why")

        item = {"broker": place, "database": place, "workers": workers, "queues": sizes, "dead_letters": dead}
        item["nodes"] = [node_item(seen) for seen in nodes]
        emit_one(scope.output, "status", item, table)
    ctx.exit(OK if is_alive or is_unknown else NO_REPLY)


def _nodes(app: TaskBus) -> Sequence[SeenNode]:
    """What reports; nothing where that cannot be asked: the rest is worth telling all the same."""
    try:
        with opened_reports(app) as reports:
            return seen_nodes(reports, app.clock())
    except (StoreError, ConfigError):
        return ()


def draw_workers(workers: Sequence[WorkerEntry], now: float) -> None:
    """Print workers as a table; one whose lease is over is dead until another one reaps it."""
    draw(
        ("worker", "pid", "queues", "in flight", "up for", "lease"),
        [
            (
                worker.name,
                str(worker.pid),
                ", ".join(worker.queues),
                f"{worker.in_flight:,}",
                span(max(0.0, now - worker.started_at)),
                f"{span(worker.lease_until - now)} left"
                if worker.lease_until > now
                else f"dead, {ago(worker.lease_until, now)}",
            )
            for worker in workers
        ],
        right=("pid", "in flight"),
        empty="No worker is alive; start one: taskbus worker -A module:app",
    )
