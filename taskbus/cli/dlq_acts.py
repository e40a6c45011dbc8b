"""``taskbus dlq replay`` and ``purge``: what changes dead letters."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import rich_click as click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from taskbus.cli.confirming import confirm
from taskbus.cli.dlq_options import filter_options, read_filter
from taskbus.cli.editing import edit_options, read_edit
from taskbus.cli.exits import FAILED, NOT_FOUND, OK, USAGE, CommandFailed
from taskbus.cli.opening import open_existing
from taskbus.cli.options import Format, scope_of, shared_options
from taskbus.cli.output import emit_items, emit_one
from taskbus.cli.phrase import count
from taskbus.cli.tables import console, say
from taskbus.steering.letters import dead_letters_of, edited
from taskbus.store.base import Filter
from taskbus.store.dead_letters import DeadLetters, Replayed

PAGE = 500


@click.command("replay")
@filter_options
@click.option("--limit", type=click.IntRange(min=1), help="How many at most.")
@edit_options
@click.option("--dry-run", is_flag=True, help="Only say which ones it would send again.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared_options("app", "broker", "results", "config", "output", "quiet", "verbose")
@click.pass_context
def replay(
    ctx: click.Context,
    where: str,
    ids: tuple[str, ...],
    limit: int | None,
    args: str | None,
    kwargs: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Send the tasks of dead letters again, with their ids and arguments; prints each id.

    --args and --kwargs give one task other arguments, in its own encoding; with -A they are checked against its
    signature.

    Safe to interrupt: each letter is either replayed and gone, or still here. On a terminal it asks before it replays
    more than one; where nobody can be asked it needs --yes, --where or --id.
    """
    scope = scope_of(ctx)
    with open_existing(scope, "results") as app:
        dead, change = dead_letters_of(app), edited(app, read_edit(args, kwargs))
        wanted = read_filter(where, ids, app.clock())
        total = _count(dead, wanted, limit, ids)
        if change is not None and total > 1:
            raise CommandFailed(f"{total} dead letters match; other arguments are for one at a time: --id ID", USAGE)
        if not dry_run and (total > 1 if sys.stdin.isatty() else total and not (where or ids)):
            what = f"Send {count(total, 'task')} again, to {app.broker.safe_url}"
            confirm(what, yes=yes, instead="--yes, --where or --id")
        letters = dead.replay(wanted, limit=limit, dry_run=dry_run, edit=change)
        done = _report(letters, total, scope.output, dry_run=dry_run)
    refused = [letter for letter in done if letter.refused]
    for letter in refused:
        say(f"{letter.task_id} stays: {letter.refused}", "red")
    if scope.verbosity >= 0 and scope.output is Format.TABLE:
        word = "Would replay" if dry_run else "Replayed"
        say(f"{word} {count(len(done) - len(refused), 'dead letter')}.")
    ctx.exit(FAILED if refused else OK)


@click.command("purge")
@filter_options
@click.option("--limit", type=click.IntRange(min=1), help="How many at most, the oldest first.")
@click.option("--dry-run", is_flag=True, help="Only say how many it would delete.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def purge(ctx: click.Context, where: str, ids: tuple[str, ...], limit: int | None, dry_run: bool, yes: bool) -> None:
    """Delete dead letters for good, with their bytes and tracebacks."""
    scope = scope_of(ctx)
    with open_existing(scope, "results") as app:
        dead = dead_letters_of(app)
        wanted = read_filter(where, ids, app.clock())
        total = _count(dead, wanted, limit, ids)
        deleted = 0
        if total and not dry_run:
            confirm(f"Delete {count(total, 'dead letter')} for good", yes=yes)
            deleted = _purge(dead, wanted, limit)
        word = f"Would delete {count(total, 'dead letter')}" if dry_run else f"Deleted {count(deleted, 'dead letter')}"
        emit_one(scope.output, "purged", {"matching": total, "deleted": deleted}, lambda: say(f"{word}."))


def _count(dead: DeadLetters, wanted: Filter, limit: int | None, ids: tuple[str, ...]) -> int:
    """How many letters are meant. Ids that were named and are not there are an error, not an empty answer."""
    total = dead.count(wanted)
    if ids and not total:
        raise CommandFailed(f"there is no such dead letter: {', '.join(ids)}", NOT_FOUND)
    return total if limit is None else min(total, limit)


def _report(letters: Iterator[Replayed], total: int, output: Format, *, dry_run: bool) -> list[Replayed]:
    """Go through the replay, telling about each as it happens; JSON as one document comes at the end."""
    done: list[Replayed] = []
    shows_bar = output is not Format.JSONL and sys.stdout.isatty() and not dry_run
    with _interruptible(done), _progress(total, shows_bar) as progress:
        for letter in letters:
            done.append(letter)
            progress.advance(progress.task_ids[0])
            if output is Format.JSONL:
                emit_items(output, "replayed", [letter], lambda: None)
            elif output is Format.TABLE and not shows_bar and not letter.refused:
                click.echo(letter.task_id)
    if output in (Format.JSON, Format.CSV):
        emit_items(output, "replayed", done, lambda: None)
    return done


@contextmanager
def _interruptible(done: list[Replayed]) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        say(f"\nStopped after {count(len(done), 'dead letter')}; the others stay as they were. Run it again to go on.")
        raise


@contextmanager
def _progress(total: int, is_shown: bool) -> Iterator[Progress]:
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(err=True), disable=not is_shown) as progress:
        progress.add_task("", total=total)
        yield progress


def _purge(dead: DeadLetters, wanted: Filter, limit: int | None) -> int:
    if limit is None:
        return dead.purge(wanted)
    ids = [letter.task_id for letter in dead.list(wanted, limit)]
    return sum(dead.purge(Filter(task_ids=ids[start : start + PAGE])) for start in range(0, len(ids), PAGE))
