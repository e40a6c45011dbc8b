"""``taskbus completion``: the script that makes a shell complete commands and options."""

import rich_click as click
from click.shell_completion import get_completion_class

from taskbus.cli.exits import USAGE, CommandFailed

SHELLS = {
    "bash": 'eval "$(taskbus completion bash)"       # in ~/.bashrc',
    "zsh": 'eval "$(taskbus completion zsh)"        # in ~/.zshrc',
    "fish": "taskbus completion fish | source       # in ~/.config/fish/config.fish",
    "powershell": "taskbus completion powershell | Out-String | Invoke-Expression",
}
"""How each shell loads it; for PowerShell the line belongs into ``$PROFILE``."""


@click.command("completion", help="Print the completion script of SHELL.\n\n\b\n" + "\n".join(SHELLS.values()))
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    kind = get_completion_class(shell)
    if kind is None:
        raise CommandFailed(f"the installed click {click.__version__} cannot complete in {shell}; upgrade click", USAGE)
    click.echo(kind(ctx.find_root().command, {}, "taskbus", "_TASKBUS_COMPLETE").source())
