"""The tasks of the census: one Python file in, its numbers out."""

import ast
import warnings
from dataclasses import dataclass
from pathlib import Path

from tenacity import wait_random_exponential

from taskbus import RetryPolicy, TaskBus

DATABASE = Path(__file__).with_name("census.db")

app = TaskBus("census", broker=f"sqlite:///{DATABASE}")

# The library's own fixtures hold strings that make the parser grumble.
warnings.filterwarnings("ignore", category=SyntaxWarning)
warnings.filterwarnings("ignore", category=DeprecationWarning)

BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.BoolOp, ast.IfExp, ast.match_case)


@dataclass(frozen=True)
class Count:
    """What one file holds. `longest` is the name of its longest function, which has `longest_lines`."""

    path: Path
    lines: int
    functions: int
    classes: int
    branches: int
    longest: str
    longest_lines: int


# Three retries as by default, but a demo cannot wait as long for them as a mail server can.
@app.task(retry=RetryPolicy(wait=wait_random_exponential(multiplier=0.1, max=1)), time_limit=60)
def census(path: Path) -> Count:
    """Count what is in a Python file. Raises what `ast.parse` raises for a file that is none."""
    source = path.read_bytes()
    nodes = list(ast.walk(ast.parse(source, filename=str(path))))
    functions = [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    longest = max(functions, key=lines_of, default=None)
    return Count(
        path=path,
        lines=source.count(b"\n"),
        functions=len(functions),
        classes=sum(isinstance(node, ast.ClassDef) for node in nodes),
        branches=sum(isinstance(node, BRANCHES) for node in nodes),
        longest=longest.name if longest is not None else "",
        longest_lines=lines_of(longest) if longest is not None else 0,
    )


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many lines a function takes, its decorators left out."""
    return (function.end_lineno or function.lineno) - function.lineno + 1
