"""``taskbus worker``: the command line of a worker; what it does is in ``taskbus.worker``."""

import re
import sys
from functools import partial
from importlib import import_module
from typing import Any

import rich_click as click

from taskbus.cli.config_file import apply_config_file
from taskbus.cli.exits import USAGE, CommandFailed
from taskbus.cli.options import scope_of, shared_options
from taskbus.config import convert, load
from taskbus.logs import configure
from taskbus.worker.launch import launch
from taskbus.worker.options import POOLS, WorkerOptions

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class Size(click.ParamType[int]):
    """A number of bytes, written 500000, 300M or 2G."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d+)\s*([kmg]?)i?b?", str(value).strip().lower())
        if match is None:
            self.fail(f"{value!r} is no size; write it like 500000, 300M or 2G", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


def _split(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for value in values for name in value.split(",") if name.strip()))


def _settings(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """``--set`` as settings. Raises ``ConfigError`` for a name there is not, or a value of the wrong kind."""
    found = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} sets nothing; write it as NAME=VALUE", ctx, parameter)
        found[name.strip()] = convert(name.strip(), value.strip(), "--set")
    return found


# How small a number may be is known to Config alone, which says so.
count_option = partial(click.option, type=int, metavar="N")
seconds_option = partial(click.option, type=float, metavar="SECONDS")


@click.command("worker")
@click.option_panel(
    "Work",
    options=[
        "--app",
        "--queues",
        "--beat",
        "--name",
        "--events",
        "--http",
        "--broker",
        "--results",
        "--config",
        "--set",
    ],
)
@click.option_panel(
    "Slots", options=["--pool", "--concurrency", "--processes", "--threads", "--coroutines", "--lease", "--grace"]
)
@click.option_panel("Replacing runners", options=["--max-tasks-per-runner", "--max-memory-per-runner"])
@click.option_panel("Development and logs", options=["--reload", "--log-level", "--log-format", "--quiet", "--verbose"])
@click.option("-Q", "--queues", multiple=True, callback=_split, metavar="NAMES", help="Queues, with commas between.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    callback=_settings,
    metavar="NAME=VALUE",
    help="Any setting that `taskbus config show` lists, such as sweep=2; may be given several times.",
)
@click.option(
    "-P",
    "--pool",
    type=click.Choice(POOLS),
    default="prefork",
    show_default=True,
    metavar="KIND",
    help="Kind of slots: prefork, threads, asyncio or solo.",
)
@click.option(
    "-c", "--concurrency", type=click.IntRange(min=1), metavar="N", help="How many tasks at once, in that pool."
)
@count_option("--processes", help="Runner processes; 0: one per CPU.")
@count_option("--threads", help="Thread slots per runner for `def` tasks; 0: its main thread, one at a time.")
@count_option("--coroutines", help="Slots per runner for `async def` tasks.")
@count_option("--max-tasks-per-runner", help="Replace a runner after this many tasks.")
@click.option("--max-memory-per-runner", type=Size(), metavar="SIZE", help="Replace a runner above it, such as 300M.")
@seconds_option("--grace", help="How long running tasks may go on after SIGTERM.")
@seconds_option("--lease", help="How long a silent worker keeps its tasks.")
@click.option("-B", "--beat", is_flag=True, help="Send what is scheduled, too; any number of workers may.")
@click.option("-E", "--events", "telemetry", is_flag=True, help="Tell of each task to Flower and the like.")
@click.option("--http", metavar="HOST:PORT", help="Serve metrics and probes there, such as 9464 (on loopback).")
@click.option("--name", default="", help="Name of this worker; made of host and pid if not given.")
@click.option("--reload", "reloads", is_flag=True, help="Start again when a .py file changes. For development.")
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    help="INFO if not given.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json", "app"]),
    default="text",
    show_default=True,
    help="app: text, and what tasks log is left to what the application sets up.",
)
@shared_options("app", "broker", "results", "config", "quiet", "verbose")
@click.pass_context
def command(
    ctx: click.Context, /, reloads: bool, log_level: str | None, overrides: dict[str, Any], **given: Any
) -> None:
    """Run tasks until told to stop: Ctrl-C or SIGTERM finishes what runs, a second one gives it back at once.

    Nothing is lost either way, nor when it is killed: its tasks run elsewhere when its lease is over.
    """
    scope = scope_of(ctx)
    if not scope.app:
        raise CommandFailed("a worker needs your application: give -A module:app, or set TASKBUS_APP", USAGE)
    if reloads:
        ctx.exit(run_reloading([argument for argument in sys.argv[1:] if argument != "--reload"]))
    apply_config_file(scope)
    level = log_level or ("DEBUG" if scope.verbosity > 0 else "WARNING" if scope.verbosity < 0 else "INFO")
    configure(level, given["log_format"])
    options = WorkerOptions(app=scope.app, log_level=level, overrides={**overrides, **scope.urls()}, **given)
    config, _ = load(options.settings())  # a mistake is one line here; in the runners' server it would be a traceback
    launched = None if options.pool == "solo" else launch(options)
    try:  # what follows takes as long to import as the app: both at once
        work = import_module("taskbus.cli.working").work
        status: int = work(options, config.broker, launched, is_quiet=scope.verbosity < 0)
    except BaseException:
        if launched is not None:
            launched.abandon()
        raise
    ctx.exit(status)


def run_reloading(arguments: list[str]) -> int:
    """Run ``taskbus`` with these arguments again and again; needs the extra ``reload``."""
    try:
        reloading = import_module("taskbus.cli.reloading")
    except ModuleNotFoundError as error:
        if error.name != "watchfiles":
            raise
        raise CommandFailed('--reload needs watchfiles: pip install "taskbus[reload]"', USAGE) from error
    status: int = reloading.run(arguments)
    return status
