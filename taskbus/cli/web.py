"""``taskbus web``: the page and its API; and what is needed to let people in."""

import dataclasses
import os
import sys
from importlib import import_module
from typing import Any

import rich_click as click

from taskbus import __version__
from taskbus.cli.exits import FAILED, OK, USAGE, CommandFailed
from taskbus.cli.opening import check_shared, open_parts
from taskbus.cli.options import scope_of, shared_options
from taskbus.cli.output import emit_one
from taskbus.cli.readiness import tell_ready
from taskbus.cli.tables import say
from taskbus.config import convert
from taskbus.logs import configure

PORT = 5555
KINDS = ("none", "token", "basic", "oidc", "proxy")
ROLES = ("viewer", "operator", "admin")


def part(module: str) -> Any:
    """A module of ``taskbus.web``, which needs what is not always installed."""
    try:
        return import_module(f"taskbus.web.{module}")
    except ModuleNotFoundError as error:
        if str(error.name).startswith("taskbus"):
            raise
        raise CommandFailed(f"taskbus web needs {error.name}: pip install 'taskbus[web]'", USAGE) from None


@click.group("web", invoke_without_command=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0: any that is free.")
@click.option("--prefix", default="", metavar="PATH", help="Path below which it is, where a proxy leads to it.")
@click.option(
    "--auth",
    multiple=True,
    type=click.Choice(KINDS),
    metavar="KIND",
    help="How to find out who asks: token, basic, oidc, proxy or none; may be repeated. "
    "Without it (and web_auth) only this machine is served.",
)
@click.option("--read-only", is_flag=True, help="Show, and change nothing.")
@click.option("--insecure", is_flag=True, help="Serve other machines too without asking who they are.")
@click.option(
    "--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    help="INFO if not given.",
)  # fmt: skip
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@shared_options("app", "broker", "results", "config", "quiet", "verbose")
@click.pass_context
def command(ctx: click.Context, /, log_level: str | None, log_format: str, **given: Any) -> None:
    """Serve the page on which you see what runs, and the JSON API behind it, until told to stop.

    Without -A it shows all that brokers, stores and workers tell, but knows none of your code.
    """
    if ctx.invoked_subcommand is not None:
        return
    scope = scope_of(ctx)
    running = part("running")
    level = log_level or ("DEBUG" if scope.verbosity > 0 else "WARNING" if scope.verbosity < 0 else "INFO")
    configure(level, log_format)
    with open_parts(scope) as app:
        check_shared(app.broker_url)
        check_shared(app.results_url)
        if given["auth"]:
            app.config = dataclasses.replace(app.config, web_auth=convert("web_auth", given["auth"], "--auth"))
            app.origins["web_auth"] = "command line"

        def ready(url: str) -> None:
            if scope.verbosity >= 0 and log_format == "text":
                say(f"TaskBus {__version__}  web {url}  pid {os.getpid()}", "bold")
                say(f"{scope.app or 'no application: give -A to send tasks by their names'}; {app.broker.safe_url}")
            tell_ready({"url": url})

        is_done = running.serve(
            app,
            host=given["host"],
            port=given["port"],
            prefix=given["prefix"],
            is_read_only=given["read_only"],
            is_insecure=given["insecure"],
            knows_code=bool(scope.app),
            on_ready=ready,
        )
    ctx.exit(OK if is_done else FAILED)


_ROLE = click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="What it may do.")


@command.command("token")
@click.argument("name")
@_ROLE
@shared_options("output", "verbose")
@click.pass_context
def token(ctx: click.Context, name: str, role: str) -> None:
    """Make a token for NAME, a person or a program: printed once, kept by nobody.

    The entry goes to the setting web_tokens, with --auth token; the token to its owner.
    """
    hashing = part("auth.hashing")
    made = hashing.new_token()
    entry = f"{_checked(name)}:{role}:{hashing.hash_token(made)}"

    def table() -> None:
        say(f"Give this to {name}; it cannot be shown again:")
        click.echo(made)
        say("Put this into taskbus.toml, or the entry alone into TASKBUS_WEB_TOKENS:")
        click.echo(f'web_tokens = ["{entry}"]', err=True)

    emit_one(scope_of(ctx).output, "web_token", {"name": name, "role": role, "token": made, "entry": entry}, table)


@command.command("password")
@click.argument("name")
@_ROLE
@shared_options("output", "verbose")
@click.pass_context
def password(ctx: click.Context, name: str, role: str) -> None:
    """Make an entry of the setting web_users, with --auth basic; asks for the password, or reads a line of stdin."""
    hashing = part("auth.hashing")
    if sys.stdin.isatty():
        given = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        given = sys.stdin.readline().rstrip("\n")
    if len(given) < LEAST_PASSWORD:
        raise CommandFailed(f"the password has {len(given)} characters; give it {LEAST_PASSWORD} or more", USAGE)
    entry = f"{_checked(name)}:{role}:{hashing.hash_password(given)}"

    def table() -> None:
        say("Put this into taskbus.toml, or the entry alone into TASKBUS_WEB_USERS:")
        click.echo(f'web_users = ["{entry}"]')

    emit_one(scope_of(ctx).output, "web_user", {"name": name, "role": role, "entry": entry}, table)


LEAST_PASSWORD = 8


def _checked(name: str) -> str:
    if not name.isprintable() or set(name) & set(':,"\\'):
        raise CommandFailed(f"{name!r} cannot be a name here: leave out colons, commas, quotes and backslashes", USAGE)
    return name
