"""The wheel that users install holds the page: built, put into an environment of its own, and asked."""

import os
import re
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.servers.server import find, until

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_installed_wheel_serves_the_page_and_its_files(tmp_path: Path) -> None:
    if not (find("node") and find("npm")):
        reason = "node and npm are not installed: the page cannot be built"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)],
        env={**clean, "TASKBUS_UI": "require"}, check=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("taskbus-*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    subprocess.run([python, *pip[1:], "install", f"{wheel}[web]"], env=clean, check=True)
    web, log = _start(python, tmp_path, clean)
    try:
        until(lambda: "pid" in log.read_text() or web.poll() is not None, "the web server", 60)
        found = re.search(r"web (http://\S+)/  pid", log.read_text())
        assert found, log.read_text()
        with urlopen(f"{found[1]}/", timeout=20) as answer:
            html = answer.read().decode()
        files = re.findall(r'(?:src|href)="(?:\./|/)?(assets/[^"]+)"', html)
        assert {file.rpartition(".")[2] for file in files} >= {"js", "css"}
        for file in files:
            assert re.search(r"[-.][A-Za-z0-9_-]{8,}\.\w+$", file), f"{file} has no hash in its name"
            with urlopen(f"{found[1]}/{file}", timeout=20) as answer:
                assert "immutable" in answer.headers["Cache-Control"]
                assert len(answer.read()) > 100
    finally:
        web.send_signal(signal.SIGTERM)
        web.wait(20)


def _start(python: str, folder: Path, environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], Path]:
    log = folder / f"web-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        command = [python, "-m", "taskbus", "web", "-b", f"sqlite:///{folder}/queue.db", "--port", "0"]
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output), log
