"""``taskbus queues``: how full they are, what waits in them, and emptying one."""

import time
from collections.abc import Sequence
from typing import Any

import rich_click as click

from taskbus.broker.delivery import Delivery
from taskbus.broker.queues import QueueSize
from taskbus.cli.confirming import confirm
from taskbus.cli.exits import NOT_FOUND, CommandFailed
from taskbus.cli.opening import open_existing
from taskbus.cli.options import scope_of, shared_options
from taskbus.cli.output import emit_items
from taskbus.cli.phrase import ago, count
from taskbus.cli.preview import preview
from taskbus.cli.tables import draw, say


@click.group("queues", invoke_without_command=True)
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def command(ctx: click.Context) -> None:
    """List queues (also without a subcommand), peek into one, or purge one."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_queues)


@command.command("list")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def list_queues(ctx: click.Context) -> None:
    """List every queue with what is ready, delayed and running."""
    scope = scope_of(ctx)
    with open_existing(scope, "broker") as app:
        sizes = sorted(app.broker.queues(), key=lambda size: size.name)
        place = app.broker.safe_url
        emit_items(
            scope.output,
            "queues",
            sizes,
            lambda: draw_sizes(sizes, caption=place, empty=f"No queues in {place}."),
            database=place,
        )


@command.command("peek")
@click.argument("queue")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=10, show_default=True, help="How many messages.")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def peek(ctx: click.Context, queue: str, limit: int) -> None:
    """Show the messages of QUEUE that come next, without taking them."""
    scope = scope_of(ctx)
    with open_existing(scope, "broker") as app:
        deliveries = app.broker.peek(queue, limit)
        if not deliveries:
            _find(app.broker.queues(), queue)
        emit_items(
            scope.output,
            "messages",
            [_message_item(delivery) for delivery in deliveries],
            lambda: _draw_messages(deliveries, queue),
        )


@command.command("purge")
@click.argument("queue")
@click.option("--dry-run", is_flag=True, help="Only say how many messages it would delete.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def purge(ctx: click.Context, queue: str, dry_run: bool, yes: bool) -> None:
    """Delete every waiting message of QUEUE, ready or delayed. What is running goes on."""
    scope = scope_of(ctx)
    with open_existing(scope, "broker") as app:
        size = _find(app.broker.queues(), queue)
        waiting = size.ready + size.delayed
        deleted = 0
        if not dry_run and waiting:
            confirm(f"Delete {count(waiting, 'message')} from queue {queue!r} of {app.broker.safe_url}", yes=yes)
            deleted = app.broker.purge(queue)
        word = f"Would delete {count(waiting, 'message')}" if dry_run else f"Deleted {count(deleted, 'message')}"
        item = {"queue": queue, "waiting": waiting, "deleted": deleted}
        emit_items(scope.output, "purged", [item], lambda: say(f"{word} from queue {queue!r}."))


def draw_sizes(sizes: Sequence[QueueSize], *, caption: str = "", empty: str) -> None:
    """Print queue sizes as a table."""
    now = time.time()
    draw(
        ("queue", "ready", "delayed", "running", "oldest"),
        [
            (size.name, f"{size.ready:,}", f"{size.delayed:,}", f"{size.running:,}", ago(size.oldest_at or 0.0, now))
            for size in sizes
        ],
        right=("ready", "delayed", "running"),
        caption=caption,
        empty=empty,
    )


def _find(sizes: Sequence[QueueSize], queue: str) -> QueueSize:
    for size in sizes:
        if size.name == queue:
            return size
    known = ", ".join(size.name for size in sizes) or "none"
    raise CommandFailed(f"no queue {queue!r} here; there are: {known}", NOT_FOUND)


def _message_item(delivery: Delivery) -> dict[str, Any]:
    seen = preview(delivery.wire, delivery.queue, delivery.priority)
    item: dict[str, Any] = {"queue": delivery.queue, "priority": delivery.priority, "bytes": len(delivery.wire)}
    item |= {"crashes": delivery.crashes, "losses": delivery.losses, "args": seen.args, "kwargs": seen.kwargs}
    if seen.message is not None:
        item |= {
            name: getattr(seen.message, name) for name in ("id", "task", "attempt", "sent_at", "due_at", "expires_at")
        }
    else:
        item["error"] = seen.call
    return item


def _draw_messages(deliveries: Sequence[Delivery], queue: str) -> None:
    now = time.time()
    rows = []
    for delivery in deliveries:
        seen = preview(delivery.wire, delivery.queue, delivery.priority)
        message = seen.message
        rows.append(
            (
                message.id if message else "?",
                message.task if message else "?",
                seen.call,
                str(delivery.priority),
                str(message.attempt) if message else "",
                ago(message.sent_at, now) if message else "",
                ago(message.due_at or 0.0, now) if message else "",
            )
        )
    draw(
        ("id", "task", "arguments", "priority", "attempt", "sent", "due"),
        rows,
        right=("priority", "attempt"),
        whole=("id",),
        empty=f"Queue {queue!r} is empty.",
    )
