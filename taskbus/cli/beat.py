"""``taskbus beat``: send what is scheduled."""

import dataclasses
import os
import select
import signal
from collections.abc import Callable

import rich_click as click

from taskbus import __version__
from taskbus.beat.beat import Beat
from taskbus.beat.exposing import figures_of, vitals_of
from taskbus.beat.reporting import reported
from taskbus.beat.running import beating
from taskbus.cli.exits import FAILED, OK
from taskbus.cli.opening import check_shared, open_app
from taskbus.cli.options import scope_of, shared_options
from taskbus.cli.phrase import count, span
from taskbus.cli.tables import say
from taskbus.logs import configure
from taskbus.monitor.exposing import exposed


@click.command("beat")
@click.option("--name", default="", help="Name of this beat, of no other one; made up if not given.")
@click.option("--http", metavar="HOST:PORT", help="Serve metrics and probes there, such as 9464 (on loopback).")
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    help="INFO if not given.",
)
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@shared_options("app", "broker", "results", "config", "quiet", "verbose")
@click.pass_context
def command(ctx: click.Context, /, name: str, http: str | None, log_level: str | None, log_format: str) -> None:
    """Send what is scheduled, in the code or in the store, until told to stop by Ctrl-C or SIGTERM.

    Run as many as you like: each run is sent once, and when a beat dies another one goes on. `taskbus worker -B` runs
    one beside a worker's tasks.
    """
    scope = scope_of(ctx)
    level = log_level or ("DEBUG" if scope.verbosity > 0 else "WARNING" if scope.verbosity < 0 else "INFO")
    configure(level, log_format)
    with open_app(scope) as app:
        check_shared(app.broker_url)
        check_shared(app.results_url)
        declared = list(app.schedules.declared.values())
        beat = Beat(app.schedules.places(), declared, app.name, name)
        if scope.verbosity >= 0 and log_format == "text":
            lease = span(app.config.beat_lease)
            say(f"TaskBus {__version__}  beat {beat.name}  pid {os.getpid()}", "bold")
            say(f"{count(len(declared), 'schedule')} in the code of {scope.app}; lease {lease}; {app.broker.safe_url}")
        config = dataclasses.replace(app.config, http=app.config.http if http is None else http)
        with (
            exposed(config, beat.name, lambda: vitals_of(beat), lambda: figures_of(beat)) as url,
            reported(beat, app.results_url, config, app.name, lambda: url),
        ):
            status = OK if _until_told(beat) else FAILED
    ctx.exit(status)


def _until_told(beat: Beat) -> bool:
    """Run until SIGTERM or SIGINT; False if the beat's thread ended before."""
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    heard: list[int] = []
    undo: list[Callable[[], object]] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.signal(number, lambda number, _: heard.append(number))
        undo.append(lambda number=number, before=before: signal.signal(number, before))  # type: ignore[misc]
    old = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    try:
        with beating(beat, on_end=lambda: os.write(write, b".")):
            select.select([read], [], [])
        return bool(heard)
    finally:
        signal.set_wakeup_fd(old)
        for each in undo:
            each()
        os.close(read)
        os.close(write)
