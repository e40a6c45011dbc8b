"""``taskbus dlq``: look at dead letters, send them again, delete them."""

from collections.abc import Sequence
from itertools import starmap

import rich_click as click

from taskbus.cli.dead_letter_view import draw_letter, letter_item, letter_summary
from taskbus.cli.dlq_acts import purge, replay
from taskbus.cli.dlq_options import filter_options, place_of, read_filter
from taskbus.cli.exits import NOT_FOUND, CommandFailed
from taskbus.cli.opening import open_existing
from taskbus.cli.options import scope_of, shared_options
from taskbus.cli.output import emit_items, emit_one
from taskbus.cli.phrase import ago, count, shortened
from taskbus.cli.tables import draw, say
from taskbus.steering.letters import dead_letters_of
from taskbus.steering.showing import Showing
from taskbus.store.base import DeadLetter, Group

LIST_LIMIT = 100


@click.group("dlq")
def command() -> None:
    """List, show, replay or purge dead letters: messages that no attempt is left for, with their original bytes.

    \b
    --where takes terms that must all match:
        task:mail.*  queue:images  reason:poison  error:ValueError
        text:"no such file"  age>1d  age<2h  id:...
        time>=2026-11-28T10:00  time<2026-11-29
    """


@command.command("list")
@filter_options
@click.option("--limit", type=click.IntRange(min=1), default=LIST_LIMIT, show_default=True, help="How many at most.")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def list_letters(ctx: click.Context, where: str, ids: tuple[str, ...], limit: int) -> None:
    """List dead letters, the newest first. What are secrets in their errors is left out."""
    scope = scope_of(ctx)
    with open_existing(scope, "results") as app:
        wanted = read_filter(where, ids, app.clock())
        dead = dead_letters_of(app)
        letters, showing = list(dead.list(wanted, limit, is_newest_first=True)), Showing(app)
        said = [(letter, showing.error(letter)) for letter in letters]
        place = place_of(app)

        def table() -> None:
            _draw_list(said, app.clock(), place, f"No dead letter{' matches' if where or ids else 's'} in {place}.")
            if len(letters) == limit and (total := dead.count(wanted)) > limit:
                say(f"{count(total - limit, 'more dead letter')}; --limit shows more, dlq groups counts them")

        emit_items(scope.output, "dead_letters", starmap(letter_summary, said), table, database=place)


@command.command("groups")
@filter_options
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def groups(ctx: click.Context, where: str, ids: tuple[str, ...]) -> None:
    """Count dead letters by task, reason and kind of error, each with its latest error and the id of an example."""
    scope = scope_of(ctx)
    with open_existing(scope, "results") as app:
        found = Showing(app).groups(dead_letters_of(app).groups(read_filter(where, ids, app.clock())))
        place = place_of(app)
        emit_items(
            scope.output,
            "dead_letter_groups",
            found,
            lambda: _draw_groups(found, app.clock(), place),
            database=place,
        )


@command.command("show")
@click.argument("task_id", metavar="ID")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def show(ctx: click.Context, task_id: str) -> None:
    """Show one dead letter: why it died, every attempt with its traceback, its arguments, its bytes.

    This is all there is of it, secrets too; taskbus tasks show leaves them out.
    """
    scope = scope_of(ctx)
    with open_existing(scope, "results") as app:
        letter = dead_letters_of(app).show(task_id)
        if letter is None:
            raise CommandFailed(
                f"there is no dead letter {task_id!r}; taskbus dlq list shows those there are", NOT_FOUND
            )
        emit_one(scope.output, "dead_letter", letter_item(letter), lambda: draw_letter(letter, app.clock()))


command.add_command(replay)
command.add_command(purge)


def _draw_list(said: Sequence[tuple[DeadLetter, str]], now: float, place: str, empty: str) -> None:
    draw(
        ("id", "task", "queue", "reason", "error", "attempts", "died"),
        [
            (
                letter.task_id,
                letter.task,
                letter.queue,
                str(letter.reason),
                shortened(f"{letter.failure.type.rpartition('.')[2]}: {message}", 60),
                str(letter.attempt),
                ago(letter.dead_at, now),
            )
            for letter, message in said
        ],
        right=("attempts",),
        whole=("id",),
        caption=place,
        empty=empty,
    )


def _draw_groups(found: Sequence[Group], now: float, place: str) -> None:
    draw(
        ("count", "task", "reason", "latest error", "last", "for example"),
        [
            (
                f"{group.count:,}",
                group.task,
                str(group.reason),
                shortened(f"{group.error.rpartition('.')[2]}: {group.message}", 60),
                ago(group.last_at, now),
                group.example,
            )
            for group in found
        ],
        right=("count",),
        whole=("for example",),
        caption=place,
        empty=f"No dead letters in {place}.",
    )
