"""``taskbus spool``: what a producer keeps on its disk while the broker is out of reach, and bringing it there."""

import time
from contextlib import closing
from typing import Any

import rich_click as click

from taskbus.app import ANY_SIZE, TaskBus
from taskbus.cli.exits import USAGE, CommandFailed
from taskbus.cli.opening import open_parts
from taskbus.cli.options import scope_of, shared_options
from taskbus.cli.output import emit_one
from taskbus.cli.phrase import ago, count, shortened, size
from taskbus.cli.tables import draw, draw_fields, say
from taskbus.database.urls import redacted
from taskbus.spool.relay import relay_all
from taskbus.spool.spool import Refused, Spool, Spooled

SHOWN = 10


@click.group("spool", invoke_without_command=True)
@shared_options("app", "broker", "config", "output", "verbose")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show what waits in the spool (also without a subcommand), or relay it to the broker.

    Which file it is, the application's settings say: spool in TaskBus(...), TASKBUS_SPOOL or taskbus.toml.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(status)


@command.command("status")
@shared_options("app", "broker", "config", "output", "verbose")
@click.pass_context
def status(ctx: click.Context) -> None:
    """Show how much waits, since when, and what the broker refused, with the reasons."""
    scope = scope_of(ctx)
    with open_parts(scope) as app:
        spool = _spool_of(app)
        waiting, _, octets = spool.size()
        item: dict[str, Any] = {"file": spool.path, "broker": redacted(app.broker_url)}
        item |= {"waiting": waiting, "bytes": octets, "max_bytes": app.config.max_spool_bytes}
        item["oldest_at"] = spool.oldest_at()
        item["next"] = [_about(each) for each in (spool.first(SHOWN) if waiting else ())]
        put_aside = spool.refused()
        item["refused"] = [{**_about(each), "refused_at": each.refused_at, "reason": each.reason} for each in put_aside]
        emit_one(scope.output, "spool", item, lambda: _draw(item, put_aside))


@command.command("relay")
@click.option("--wait", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS", help="Go on trying for so long.")
@click.option("--refused", is_flag=True, help="Try what the broker refused again, too.")
@shared_options("app", "broker", "config", "output", "verbose")
@click.pass_context
def relay(ctx: click.Context, wait: float, refused: bool) -> None:
    """Bring everything that waits to the broker, in order; a message leaves the spool when the broker has it."""
    scope = scope_of(ctx)
    with open_parts(scope) as app:
        spool = _spool_of(app)
        before = spool.size()
        if refused and before.refused:
            spool.restore()
        relayed = 0
        if spool.size().waiting:
            with closing(app.open_broker(ANY_SIZE)) as broker:
                relayed = relay_all(spool, broker, wait)
        put_aside = spool.size().refused - (0 if refused else before.refused)
        item = {"file": spool.path, "relayed": relayed, "refused": max(0, put_aside)}
        emit_one(scope.output, "relayed", item, lambda: _say(item))


def _spool_of(app: TaskBus) -> Spool:
    if app.spool is None:
        raise CommandFailed(
            "no spool is set: give -A module:app whose TaskBus has spool=..., or set TASKBUS_SPOOL", USAGE
        )
    return app.spool


def _about(each: Spooled | Refused) -> dict[str, Any]:
    return {
        "id": each.id,
        "task": each.task,
        "queue": each.queue,
        "priority": each.priority,
        "bytes": len(each.wire),
        "spooled_at": each.spooled_at,
    }


def _draw(item: dict[str, Any], refused: list[Refused]) -> None:
    now = time.time()
    draw_fields(
        [
            ("file", item["file"]),
            ("broker", item["broker"]),
            ("waiting", count(item["waiting"], "message")),
            ("since", ago(item["oldest_at"] or 0.0, now)),
            ("size", f"{size(item['bytes'])} of {size(item['max_bytes'])}"),
            ("refused", count(len(refused), "message") if refused else ""),
        ]
    )
    if refused:
        rows = [(each.id, each.task, ago(each.refused_at, now), shortened(each.reason, 200)) for each in refused]
        draw(("id", "task", "refused", "reason"), rows, whole=("id",))


def _say(item: dict[str, Any]) -> None:
    say(f"Relayed {count(item['relayed'], 'message')} from {item['file']}.")
    if item["refused"]:
        say(f"The broker refused {count(item['refused'], 'message')}: see `taskbus spool status`.", "yellow")
