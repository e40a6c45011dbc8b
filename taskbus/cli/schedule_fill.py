"""``taskbus schedule backfill``: runs of a span of the past that never ran."""

import rich_click as click

from taskbus.beat.book import MOST_FILLED, NoSchedule
from taskbus.cli.confirming import confirm
from taskbus.cli.exits import NOT_FOUND, CommandFailed
from taskbus.cli.opening import open_existing
from taskbus.cli.options import scope_of, shared_options
from taskbus.cli.output import emit_items
from taskbus.cli.phrase import count
from taskbus.cli.schedule_add import time_of
from taskbus.cli.schedule_view import shown, zone_in
from taskbus.cli.tables import say


@click.command("backfill")
@click.argument("name")
@click.argument("start")
@click.argument("end")
@click.option("--limit", type=click.IntRange(min=1), default=MOST_FILLED, show_default=True, help="Refuse more runs.")
@click.option("--dry-run", is_flag=True, help="Only say which ones it would send.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def backfill(ctx: click.Context, name: str, start: str, end: str, limit: int, dry_run: bool, yes: bool) -> None:
    """Send the runs of NAME from START to before END (ISO 8601) that never ran; prints their times.

    What ran is left out, so that it may be done again. START and END without a zone are in the schedule's own.
    """
    scope = scope_of(ctx)
    with open_existing(scope, "broker", "results") as app:
        try:
            zone = zone_in(app.schedules.get(name).timetable)
            first, last = time_of("START", start, zone), time_of("END", end, zone)
            what = f"Send what {name} has missed from {start} to {end}, to {app.broker.safe_url}"
            confirm(what, yes=yes or dry_run)
            filled = app.schedules.backfill(name, first, last, limit=limit, dry_run=dry_run)
        except NoSchedule as error:
            raise CommandFailed(str(error), NOT_FOUND) from error

        def table() -> None:
            for each in filled:
                click.echo(shown(each, zone))
            say(f"{'Would send' if dry_run else 'Sent'} {count(len(filled), 'run')}.")

        emit_items(scope.output, "filled", filled, table, schedule=name)
