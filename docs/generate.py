"""Writes the reference pages from the code; with `--check` it only says which of them are out of date."""

import ast
import difflib
import inspect
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import celery_tables
import filter_tables
import rich_click as click

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- Written by docs/generate.py from {source}; do not edit. -->\n\n"


def config_page() -> str:
    """Every setting with its default and meaning, from the fields of `Config` and the texts below them."""
    rows = [
        f"| `{name}` | `{default}` | `TASKBUS_{name.upper()}` | {text} |"
        for name, default, text in fields("taskbus/config.py", "Config")
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "*Kind: reference.*",
            "",
            NOTE.format(source="taskbus/config.py").strip(),
            "",
            "A setting has one name everywhere: the keyword of `TaskBus(...)`, the key in `taskbus.toml` (or in",
            "`[tool.taskbus]` of `pyproject.toml`) and, in capitals after `TASKBUS_`, the environment variable.",
            "The code wins over a variable, a variable over a file, a file over the default; what `taskbus worker`",
            "is given as an option (`--set NAME=VALUE` for those without one of their own) wins over all of them.",
            "`taskbus config show --origin` prints every value and its origin.",
            "",
            "Durations are seconds, sizes are bytes. An unknown name is an error that names the nearest known one.",
            "",
            "| name | default | variable | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def fields(file: str, class_name: str) -> Iterator[tuple[str, str, str]]:
    """Name, default and the text below each field of a dataclass."""
    tree = ast.parse((ROOT / file).read_text())
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name)
    for node, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            text = str(after.value.value) if is_text else ""  # type: ignore[attr-defined]
            yield node.target.id, default_text(node.value), one_line(text)


def default_text(value: ast.expr) -> str:
    """A default as a reader would write it, that of a ``field(default=...)`` included."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "field":
        value = next(each.value for each in value.keywords if each.arg == "default")
    try:
        return repr(ast.literal_eval(value)).replace("'", '"')
    except ValueError:
        return ast.unparse(value)


def errors_page() -> str:
    """Every error class, from the tree in the docstring of `errors.py` and the classes below it."""
    source = (ROOT / "taskbus/errors.py").read_text()
    tree = ast.parse(source)
    drawing = (ast.get_docstring(tree) or "").split("\n\n", 1)[1].rsplit("\n\n", 1)[0]
    sections = [
        f"### {node.name}\n\n{(ast.get_docstring(node) or '').replace('``', '`')}\n"
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    ]
    exits = [
        f"| {value} | {text or name.lower().replace('_', ' ')} |"
        for name, value, text in constants("taskbus/cli/exits.py")
    ]
    return "\n".join(
        [
            "# Errors",
            "",
            "*Kind: reference.*",
            "",
            NOTE.format(source="taskbus/errors.py and taskbus/cli/exits.py").strip(),
            "",
            "Everything TaskBus raises is one tree; all of it lives in `taskbus.errors`.",
            "",
            "```text",
            drawing,
            "```",
            "",
            "## Exit codes of the command line",
            "",
            "| code | meaning |",
            "|---:|---|",
            *exits,
            "",
            "## The classes",
            "",
            *sections,
        ]
    )


def constants(file: str) -> Iterator[tuple[str, int, str]]:
    """Name, value and the text below each whole number assigned in a module."""
    body = ast.parse((ROOT / file).read_text()).body
    for node, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, int):
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            text = str(after.value.value) if is_text else ""  # type: ignore[attr-defined]
            yield ast.unparse(node.targets[0]), node.value.value, one_line(text)


def cli_page() -> str:
    """Every command with its arguments and options, from the commands themselves."""
    main = import_module("taskbus.cli.main")
    context = click.Context(main.cli, info_name="taskbus")
    parts = [
        "# The command line",
        "",
        "*Kind: reference.*",
        "",
        NOTE.format(source="taskbus/cli").strip(),
        "",
        "Data goes to stdout, everything else to stderr. `-o json` prints one document, `-o jsonl` one object a line;",
        "keys are added over time, none is renamed. Exit codes are listed in [errors](errors.md). The options of the",
        "first table may stand before or after a command's name; each command says which of them it heeds.",
        "",
        *command_lines(main.cli, context),
    ]
    for name in main.COMMANDS:
        parts += described(import_module(f"taskbus.cli.{name}").command, context, name)
    return "\n".join(parts)


def described(command: click.Command, parent: click.Context, name: str) -> list[str]:
    """A command's section, and those of the commands below it."""
    context = click.Context(command, info_name=name, parent=parent)
    lines = [f"## {context.command_path}", "", *command_lines(command, context)]
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None:
                lines += described(found, context, below)
    return lines


def command_lines(command: click.Command, context: click.Context) -> list[str]:
    """What `--help` says, as Markdown."""
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines = ["```text", usage, "```", "", *paragraphs(command.help), ""]
    own = [each for each in command.get_params(context) if context.parent is None or each.name not in SHARED]
    shared = [f"`{each.opts[0]}`" for each in command.get_params(context) if each not in own and each.name != "help"]
    records = [parameter.get_help_record(context) for parameter in own]
    rows = [f"| `{cell(flags)}` | {cell(text)} |" for flags, text in filter(None, records) if text]
    if rows:
        lines += ["| option | meaning |", "|---|---|", *rows, ""]
    if shared:
        lines += [f"Shared options: {', '.join(shared)}.", ""]
    if command.epilog:
        lines += ["```text", command.epilog.replace("\b\n", "").strip(), "```", ""]
    return lines


def paragraphs(text: str | None) -> list[str]:
    """Help text without click's marks; blocks marked as kept as they are become code."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(text or "").split("\n\n"):
        kept = paragraph.startswith("\b")
        body = paragraph.removeprefix("\b\n").strip("\n")
        lines += [*(["```text", body, "```"] if kept else [" ".join(body.split())]), ""]
    return lines[:-1]


def one_line(text: str) -> str:
    return cell(" ".join(text.replace("``", "`").split()))


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def filters_page() -> str:
    """The language of filters, by the parser's own tables."""
    return filter_tables.filters_page(NOTE.format(source="taskbus/store/nouns.py").strip())


SHARED = {"app", "broker", "results", "config", "output", "quiet", "verbose", "help"}
"""Options described once, at the top of the page."""

PAGES = {"config.md": config_page, "errors.md": errors_page, "cli.md": cli_page, "filters.md": filters_page}


def main() -> int:
    check = "--check" in sys.argv[1:]
    outdated = 0
    coming = ROOT / "docs/howto/coming_from_celery.md"
    pages = {REFERENCE / name: page() for name, page in PAGES.items()}
    for path, text in {**pages, coming: celery_tables.filled(coming.read_text())}.items():
        name, old = path.name, path.read_text() if path.exists() else ""
        if old == text:
            continue
        outdated += 1
        if check:
            print(
                *difflib.unified_diff(old.splitlines(), text.splitlines(), name, "as it should be", lineterm=""),
                sep="\n",
            )
        else:
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if check and outdated else 0


if __name__ == "__main__":
    sys.exit(main())
