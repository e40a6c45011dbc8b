"""A workflow on real input: fan out over the standard library, reduce, report.

    python examples/workflow.py

Each file of a package is a task; a group of them is followed by one that adds up the package; all packages by one that
writes the report. Files that do not parse are told of, not fatal: their groups collect what failed.
"""

import ast
import subprocess
import sys
import sysconfig
import warnings
from dataclasses import dataclass
from pathlib import Path

from tenacity import stop_after_attempt

from taskbus import FailedTask, RetryPolicy, TaskBus, chord, group

HERE = Path(__file__).parent
DATABASE = HERE / "workflow.db"
LOG = HERE / "workflow.log"
PACKAGES = 12

app = TaskBus("library", broker=f"sqlite:///{DATABASE}")
warnings.filterwarnings("ignore", category=SyntaxWarning)


@dataclass(frozen=True)
class Size:
    """How much there is of something: a file, or a package."""

    name: str
    files: int
    lines: int
    functions: int
    unreadable: int = 0


@app.task(retry=RetryPolicy(stop=stop_after_attempt(1)))
def measure(path: Path) -> Size:
    """Read one file. Raises what `ast.parse` raises for a file that is no Python."""
    source = path.read_bytes()
    functions = sum(isinstance(node, ast.FunctionDef) for node in ast.walk(ast.parse(source, str(path))))
    return Size(path.name, files=1, lines=source.count(b"\n"), functions=functions)


@app.task
def add_up(sizes: list[Size | FailedTask], package: str) -> Size:
    """One package, of its files."""
    known = [size for size in sizes if isinstance(size, Size)]
    return Size(
        package,
        files=len(sizes),
        lines=sum(size.lines for size in known),
        functions=sum(size.functions for size in known),
        unreadable=len(sizes) - len(known),
    )


@app.task
def report(packages: list[Size]) -> str:
    """A line a package, the largest first."""
    lines = [f"{'package':<14} {'files':>6} {'lines':>8} {'functions':>10} {'unreadable':>11}"]
    for size in sorted(packages, key=lambda size: -size.lines):
        lines.append(f"{size.name:<14} {size.files:>6,} {size.lines:>8,} {size.functions:>10,} {size.unreadable:>11}")
    return "\n".join(lines)


def library() -> dict[str, list[Path]]:
    """The largest packages of this Python's standard library, each with its files."""
    folder = Path(sysconfig.get_path("stdlib"))
    packages = [path for path in folder.iterdir() if path.is_dir() and path.name.isidentifier()]
    found = {package.name: sorted(package.rglob("*.py")) for package in packages}
    largest = sorted(found, key=lambda name: -len(found[name]))[:PACKAGES]
    return {name: found[name] for name in largest}


def main() -> int:
    for file in HERE.glob("workflow.db*"):
        file.unlink()
    packages = library()
    flow = chord(
        [group((measure.s(path) for path in files), collect=True) | add_up.s(name) for name, files in packages.items()],
        report.s(),
    )
    result = flow.delay()
    print(f"Sent workflow {result.flow_id}: {sum(map(len, packages.values())):,} files of {len(packages)} packages.")

    taskbus = [sys.executable, "-m", "taskbus"]
    with LOG.open("wb") as log:
        worker = subprocess.Popen(
            [*taskbus, "worker", "-A", "workflow:app", "-c", "2"], cwd=HERE, stdout=log, stderr=log
        )
    try:
        print(result.get(timeout=120))
    finally:
        worker.terminate()
        worker.wait()
    print(f"\nThe worker's log is {LOG.name}. `taskbus flow show {result.flow_id}` draws the workflow:")
    return subprocess.call([*taskbus, "flow", "show", result.flow_id, "-b", f"sqlite:///{DATABASE}"], cwd=HERE)


if __name__ == "__main__":
    sys.exit(main())
