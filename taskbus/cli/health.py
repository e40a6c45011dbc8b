"""``taskbus health``: ask a worker or beat on this host how it is, by its file or its port.

Made to be run every few seconds: it imports neither the application nor what draws tables, which is why it is written
with plain click.
"""

import json
import os
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from taskbus.monitor.probes import PROBES, WITHIN, unpack

OK, FAILED = 0, 1
ANYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}  # noqa: S104 - what is listened on, as it is called
"""Addresses to listen on, and how this host calls itself there."""


@click.command("health")
@click.argument("probe", type=click.Choice(list(PROBES)))
@click.argument("name", default="")
@click.option("--http", "url", metavar="URL", help="Ask this address, such as 9464 or http://127.0.0.1:9464.")
@click.option("--file", "path", type=click.Path(path_type=Path), help="Read this file, a worker's health_file.")
@click.option(
    "--within", type=click.FloatRange(min=0.1), default=WITHIN, show_default=True, metavar="SECONDS",
    help="How long the loop of what lives may stand still.",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=5.0, show_default=True, metavar="SECONDS",
    help="How long to wait for an answer over HTTP.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print nothing.")
@click.pass_context
def command(
    ctx: click.Context, probe: str, name: str, url: str | None, path: Path | None, within: float, timeout: float,
    quiet: bool,
) -> None:  # fmt: skip
    """Exit with 0 if a worker or beat is live, ready, or has started (startup); else with 1, and say why.

    Asked is --http or --file; or the file of the worker NAME, where it runs with health_file=auto. If none is given,
    TASKBUS_HEALTH_FILE and TASKBUS_HTTP say, by which the worker was told; else the only worker with such a file.

    It imports nothing of the application, and asks no broker.
    """
    if sum(map(bool, (name, url, path))) > 1:
        raise click.UsageError("give one of NAME, --http and --file")
    if url is None and path is None:
        path, url = _place(name)
    reasons = _asked(url, probe, within, timeout) if url is not None else _read(path or Path(), probe, within)
    if not quiet:
        click.echo(f"{probe}: {'; '.join(reasons) or 'ok'}")
    ctx.exit(FAILED if reasons else OK)


def _place(name: str) -> tuple[Path | None, str | None]:
    """The file, or else the address, of whatever is to be asked where the command line says neither."""
    setting, address = os.environ.get("TASKBUS_HEALTH_FILE", ""), os.environ.get("TASKBUS_HTTP", "")
    if setting not in ("", "auto") and not name:
        return Path(setting), None
    if not setting and address and not name:
        return None, address
    files = import_module("taskbus.monitor.health_file")
    if name:
        return files.path_of("auto", name), None
    found = sorted(files.folder().glob("*.json"))
    if len(found) == 1:
        return found[0], None
    if found:
        names = ", ".join(each.stem for each in found[:10])
        raise click.UsageError(f"there are {len(found)} of them; name one: {names}")
    raise click.UsageError("nobody to ask: start the worker with --http 9464, or with health_file=auto")


def _read(path: Path, probe: str, within: float) -> list[str]:
    """The reasons against it, of a file; that there is none is one."""
    try:
        vitals = unpack(path.read_text())
    except FileNotFoundError:
        return [f"there is no {path}: it does not run, or has not begun"]
    except (OSError, ValueError) as error:
        return [f"{path} cannot be read: {error}"]
    return list(PROBES[probe](vitals, time.monotonic(), within).reasons)


def _asked(url: str, probe: str, within: float, timeout: float) -> list[str]:
    """The reasons against it, of an address; that nobody answers is one."""
    host = url.partition("://")[2].partition("/")[0] if "://" in url else url
    name, _, port = host.rpartition(":")
    if "://" in url and not name:
        name, port = host, "80"
    if not port.isdecimal():
        raise click.UsageError(f"--http {url!r} is no address; write HOST:PORT, or http://HOST:PORT")
    http: Any = import_module("http.client")
    connection = http.HTTPConnection(f"{ANYWHERE.get(name, name)}:{port}", timeout=timeout)
    try:
        connection.request("GET", f"/healthz/{probe}?within={within:g}")
        answer = connection.getresponse()
        said = json.loads(answer.read())
        return list(map(str, said["reasons"]))
    except (OSError, http.HTTPException) as error:
        return [f"{url} does not answer: {error or type(error).__name__}"]
    except (ValueError, KeyError, TypeError):
        return [f"{url} answers, but not as a worker or beat does"]
    finally:
        connection.close()
