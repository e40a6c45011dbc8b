"""``taskbus dev``: a worker, a beat and the web page in one command, started again when the code changes."""

import socket
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import rich_click as click

from taskbus.cli.exits import USAGE, CommandFailed
from taskbus.cli.options import Scope, scope_of, shared_options

PORT = 8555
TRIED = 100
"""Ports that are tried, one after the other."""
PARTS = {"web": ("starlette", "uvicorn", "msgspec", "itsdangerous"), "reload": ("watchfiles",)}
"""What the extras bring."""


@click.command("dev")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the page.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=PORT, show_default=True, help="Or the next that is free."
)
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
@click.option("-c", "--processes", type=click.IntRange(min=1), metavar="N", help="Runner processes of the worker.")
@click.option("-Q", "--queues", multiple=True, metavar="NAMES", help="Queues, with commas between.")
@click.option("--no-beat", is_flag=True, help="Send nothing that is scheduled.")
@click.option("--no-web", is_flag=True, help="Serve no page.")
@click.option("--no-reload", is_flag=True, help="Do not start again when a .py file changes.")
@shared_options("app", "broker", "results", "config", "quiet", "verbose")
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> None:
    """Run a worker, a beat and the web page, all of your application, and start again when a .py file changes.

    For development: worker and page are processes of their own, which end when this one does; the beat is a thread of
    the worker. Without -b all is kept in the file taskbus.db in the working folder.
    Ctrl-C stops; running tasks have five seconds, and run again next time.
    """
    scope = scope_of(ctx)
    if not scope.app:
        raise CommandFailed("this needs your application: give -A module:app, or set TASKBUS_APP", USAGE)
    _check_extras(has_web=not given["no_web"], reloads=not given["no_reload"])
    developing = import_module("taskbus.cli.developing")
    port, notes = given["port"], []
    if not given["no_web"]:
        port = free_port(given["host"], given["port"])
        if port != given["port"]:
            notes.append(f"Port {given['port']} is taken, so the page is on port {port}.")
    plan = developing.Plan(
        app=scope.app,
        worker=_worker(scope, given["processes"], given["queues"], has_beat=not given["no_beat"]),
        web=None if given["no_web"] else _web(scope, given["host"], port),
        watch=None if given["no_reload"] else import_module("taskbus.cli.reloading").changes,
        opens=given["opens"],
        is_quiet=scope.verbosity < 0,
        notes=notes,
    )
    ctx.exit(developing.Developing(plan).run())


def _check_extras(*, has_web: bool, reloads: bool) -> None:
    wanted = [extra for extra, is_wanted in (("web", has_web), ("reload", reloads)) if is_wanted]
    missing = {extra: [name for name in PARTS[extra] if find_spec(name) is None] for extra in wanted}
    extras = [extra for extra in wanted if missing[extra]]
    if extras:
        names = ", ".join(name for extra in extras for name in missing[extra])
        without = " ".join(f"--no-{extra}" for extra in extras)
        raise CommandFailed(
            f'taskbus dev needs {names}: pip install "taskbus[{",".join(extras)}]" (or go without: {without})', USAGE
        )


def free_port(host: str, port: int) -> int:
    """The first port from ``port`` on that nobody listens on. Raises ``CommandFailed``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + TRIED, 65536)):
        try:
            with socket.create_server((host, candidate), family=family):
                return candidate
        except OSError as error:
            last = error
            if isinstance(error, socket.gaierror):
                break
    raise CommandFailed(f"cannot listen on {host} port {port}, nor on those above it: {last.strerror or last}", USAGE)


def _shared(scope: Scope) -> list[str]:
    """What both are told."""
    level = "DEBUG" if scope.verbosity > 0 else "WARNING" if scope.verbosity < 0 else "INFO"
    words = ["-A", scope.app, "-q", "--log-level", level]
    for flag, value in (("-b", scope.broker), ("--results", scope.results), ("--config", scope.config)):
        words += [flag, str(value)] if value else []
    return words


def _worker(scope: Scope, processes: int | None, queues: tuple[str, ...], *, has_beat: bool) -> list[str]:
    grace = str(import_module("taskbus.cli.developing").GRACE)
    words = ["worker", *_shared(scope), "--grace", grace, *(["-B"] if has_beat else [])]
    words += ["--processes", str(processes)] if processes is not None else []
    return [*words, *(word for names in queues for word in ("-Q", names))]


def _web(scope: Scope, host: str, port: int) -> list[str]:
    return ["web", *_shared(scope), "--host", host, "--port", str(port)]
