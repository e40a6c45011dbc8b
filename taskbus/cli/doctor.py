"""``taskbus doctor``: run every check there is, and say what to do about what was found."""

import rich_click as click
from rich.table import Table
from rich.text import Text

from taskbus.cli import place_checks, web_checks, work_checks
from taskbus.cli.config import effective
from taskbus.cli.exits import FAILED, OK, WARNINGS
from taskbus.cli.finding import Finding, Level
from taskbus.cli.opening import open_parts
from taskbus.cli.options import Scope, scope_of, shared_options
from taskbus.cli.output import emit_items
from taskbus.cli.phrase import safe
from taskbus.cli.tables import print_table
from taskbus.errors import TaskBusError

MARKS = {Level.OK: ("✓", "green"), Level.WARNING: ("!", "yellow"), Level.ERROR: ("✗", "red")}


@click.command("doctor")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Check broker, results, application, workers, history and page; sends nothing, creates no file.

    Exit status: 0 all well, 75 something needs a look, 1 something does not work.
    """
    scope = scope_of(ctx)
    findings = examine(scope)
    emit_items(scope.output, "findings", findings, lambda: _draw(findings))
    worst = {finding.level for finding in findings}
    ctx.exit(FAILED if Level.ERROR in worst else WARNINGS if Level.WARNING in worst else OK)


def examine(scope: Scope) -> list[Finding]:
    """Everything there is to say, in the order it is printed; never raises ``TaskBusError``."""
    findings = [*place_checks.check_python()]
    try:
        settings, origins = effective(scope)
        findings += work_checks.check_settings(settings, origins)
        app = open_parts(scope)
    except TaskBusError as error:
        return [*findings, Finding(Level.ERROR, "settings", str(error), "fix it, then run taskbus doctor again")]
    except click.ClickException as error:
        return [*findings, Finding(Level.ERROR, "settings", error.format_message())]
    with app:
        findings += place_checks.check_places(app)
        if scope.app:
            findings += work_checks.check_app(app, scope.app)
        if not any(finding.level is Level.ERROR for finding in findings) and place_checks.is_ours(app.broker_url):
            findings += work_checks.check_work(app, bool(scope.app))
        findings += web_checks.check_page()
        if not any(finding.level is Level.ERROR for finding in findings):
            findings += web_checks.check_history(app)
            findings += web_checks.check_reports(app)
    return findings


def _draw(findings: list[Finding]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(width=1)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for finding in findings:
        mark, colour = MARKS[finding.level]
        text = Text(safe(finding.text))
        if finding.hint:
            text.append(f"\n→ {safe(finding.hint)}", style="dim")
        table.add_row(Text(mark, style=colour), finding.subject, text)
    print_table(table)
