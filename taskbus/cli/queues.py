"""``taskbus queues``: how full they are, what waits in them, and emptying one."""

import dataclasses
import time
from collections.abc import Collection, Sequence
from itertools import starmap
from typing import Any

import rich_click as click

from taskbus.app import TaskBus
from taskbus.broker.delivery import Delivery
from taskbus.broker.queues import QueueSize
from taskbus.cli.confirming import confirm
from taskbus.cli.opening import open_existing, opened_reports
from taskbus.cli.options import scope_of, shared_options
from taskbus.cli.output import emit_items, emit_one
from taskbus.cli.phrase import ago, count
from taskbus.cli.preview import Preview, preview
from taskbus.cli.tables import draw, say
from taskbus.errors import ConfigError, StoreError
from taskbus.steering import queues as acts
from taskbus.steering.refusal import near
from taskbus.steering.showing import Showing
from taskbus.store.where import parse_queues


@click.group("queues", invoke_without_command=True)
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def command(ctx: click.Context) -> None:
    """List queues (also without a subcommand), peek into one, pause, resume or purge one."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_queues, where="")


@command.command("list")
@click.option("--where", default="", metavar="TERMS", help="Only those that match, such as 'name:mail* is:paused'.")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def list_queues(ctx: click.Context, where: str) -> None:
    """List queues with what is ready, delayed and running.

    \b
    --where takes terms that must all match:
        name:mail*  is:paused  is:empty
    """
    scope = scope_of(ctx)
    with open_existing(scope, "broker") as app:
        wanted, place, paused = parse_queues(where), app.broker.safe_url, paused_queues(app)
        found = [size for size in app.broker.queues() if acts.is_meant(size, wanted, is_paused=size.name in paused)]
        sizes = sorted(found, key=lambda size: size.name)
        empty = "No queue matches." if where else f"No queues in {place}."
        emit_items(
            scope.output,
            "queues",
            [{**dataclasses.asdict(size), "is_paused": size.name in paused} for size in sizes],
            lambda: draw_sizes(sizes, paused, caption=place, empty=empty),
            database=place,
        )


def paused_queues(app: TaskBus) -> frozenset[str]:
    """Those that are paused; none where that cannot be asked: what a queue holds is worth telling all the same."""
    try:
        with opened_reports(app) as reports:
            return reports.paused()
    except (StoreError, ConfigError):
        return frozenset()


@command.command("peek")
@click.argument("queue")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=10, show_default=True, help="How many messages.")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def peek(ctx: click.Context, queue: str, limit: int) -> None:
    """Show the messages of QUEUE that come next, without taking them; what are secrets in them is left out."""
    scope = scope_of(ctx)
    with open_existing(scope, "broker") as app:
        deliveries, showing = app.broker.peek(queue, limit), Showing(app)
        if not deliveries:
            acts.size_of(app, queue)
        seen = [(each, preview(each.wire, each.queue, each.priority, showing)) for each in deliveries]
        emit_items(scope.output, "messages", starmap(_message_item, seen), lambda: _draw_messages(seen, queue))


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
        waiting = acts.purge(app, queue, dry_run=True).count
        deleted = 0
        if not dry_run and waiting:
            confirm(f"Delete {count(waiting, 'message')} from queue {queue!r} of {app.broker.safe_url}", yes=yes)
            deleted = acts.purge(app, queue).count
        word = f"Would delete {count(waiting, 'message')}" if dry_run else f"Deleted {count(deleted, 'message')}"
        item = {"queue": queue, "waiting": waiting, "deleted": deleted}
        emit_items(scope.output, "purged", [item], lambda: say(f"{word} from queue {queue!r}."))


@command.command("pause")
@click.argument("queue")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def pause(ctx: click.Context, queue: str) -> None:
    """Let no worker fetch from QUEUE until it is resumed. What they hold of it is done; sending to it goes on."""
    _set_paused(ctx, queue, is_paused=True)


@command.command("resume")
@click.argument("queue")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def resume(ctx: click.Context, queue: str) -> None:
    """Let workers fetch from QUEUE again."""
    _set_paused(ctx, queue, is_paused=False)


def _set_paused(ctx: click.Context, queue: str, *, is_paused: bool) -> None:
    scope = scope_of(ctx)
    with open_existing(scope, "broker", "results") as app, opened_reports(app) as reports:
        done = acts.pause(reports, queue) if is_paused else acts.resume(reports, queue)
        known = (
            {view.name for view in acts.queue_views(app, None, app.clock())} if app.broker.features.lists else {queue}
        )
        already = "" if done.changed else " already" if is_paused else " anyway: it was not paused"
        item = {"queue": queue, "is_paused": is_paused, "changed": done.changed}

        def tell() -> None:
            say(f"Queue {queue!r} is paused{already}." if is_paused else f"Queue {queue!r} goes on{already}.")
            if queue not in known:
                say(f"There is no such queue yet; {near(queue, known)}", "yellow")

        emit_one(scope.output, "paused" if is_paused else "resumed", item, tell)


def draw_sizes(sizes: Sequence[QueueSize], paused: Collection[str] = (), *, caption: str = "", empty: str) -> None:
    """Print queue sizes as a table; which of them are paused is said where some are."""
    now = time.time()
    draw(
        ("queue", "ready", "delayed", "running", "oldest", *(["state"] if paused else [])),
        [
            (
                size.name,
                f"{size.ready:,}",
                f"{size.delayed:,}",
                f"{size.running:,}",
                ago(size.oldest_at or 0.0, now),
                *([("paused" if size.name in paused else "")] if paused else []),
            )
            for size in sizes
        ],
        right=("ready", "delayed", "running"),
        caption=caption,
        empty=empty,
    )


def _message_item(delivery: Delivery, seen: Preview) -> dict[str, Any]:
    item: dict[str, Any] = {"queue": delivery.queue, "priority": delivery.priority, "bytes": len(delivery.wire)}
    item |= {"crashes": delivery.crashes, "losses": delivery.losses, "args": seen.args, "kwargs": seen.kwargs}
    if seen.message is not None:
        item |= {
            name: getattr(seen.message, name) for name in ("id", "task", "attempt", "sent_at", "due_at", "expires_at")
        }
    else:
        item["error"] = seen.call
    return item


def _draw_messages(found: Sequence[tuple[Delivery, Preview]], queue: str) -> None:
    now = time.time()
    rows = []
    for delivery, seen in found:
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
