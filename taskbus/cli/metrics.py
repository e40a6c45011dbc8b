"""``taskbus metrics``: what comes with TaskBus for Grafana and Prometheus."""

from importlib.resources import files

import rich_click as click

SHIPPED = {"dashboard": "dashboard.json", "alerts": "alerts.yml"}


@click.command("metrics")
@click.argument("what", type=click.Choice(list(SHIPPED)))
def command(what: str) -> None:
    """Print the dashboard for Grafana (JSON, to be imported), or the alert rules for Prometheus (YAML).

    They are about what a worker tells with --http HOST:PORT at /metrics, and `taskbus web` for all workers.
    """
    click.echo(shipped(what), nl=False)


def shipped(what: str) -> str:
    """The text of one of ``SHIPPED``."""
    return files("taskbus.monitor").joinpath("grafana", SHIPPED[what]).read_text(encoding="utf-8")
