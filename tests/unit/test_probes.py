"""What a probe answers, by how a process gets on; the file it is told in; and the small server that tells it."""

import http.client
import json
import os
import select
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskbus.errors import BrokerError, ConfigError
from taskbus.monitor import health_file
from taskbus.monitor.health_file import HealthFile, path_of
from taskbus.monitor.http import MOST_AT_ONCE, Answer, HttpServer, Request, address_of
from taskbus.monitor.probes import Vitals, live, pack, ready, startup, unpack
from taskbus.monitor.pulse import Contact, Pulse
from tests.system.worker_process import wait_until

NOW = 1000.0
WELL = Vitals(
    "worker", "ann", 7, NOW, NOW - 1, NOW - 2, runners=2, wanted=2, queues=("default",), is_up=True, answers_within=30
)


@pytest.mark.parametrize(
    ("vitals", "is_live", "is_ready", "has_started", "reason"),
    [
        (WELL, True, True, True, ""),
        (WELL._replace(turned_at=NOW - 29), True, True, True, ""),
        (WELL._replace(turned_at=NOW - 31), False, False, True, "its loop has not turned for 31 s"),
        (WELL._replace(at=NOW - 31), False, False, True, "it has said nothing for 31 s"),
        (WELL._replace(at=NOW + 99), False, False, True, "it has said nothing"),
        (WELL._replace(is_up=False, runners=1), True, False, False, "1 of 2 runners are up"),
        (WELL._replace(turned_at=0.0, is_up=False), True, False, False, "it is starting"),
        (WELL._replace(runners=0), True, False, True, "none of its 2 runners is up"),
        (WELL._replace(is_stopping=True), True, False, True, "it is stopping"),
        (WELL._replace(failing_since=NOW - 5, failure="cannot fetch: refused"), True, False, True, "cannot fetch: ref"),
        (WELL._replace(answered_at=NOW - 31), True, False, True, "the broker has not answered for 31 s"),
        (WELL._replace(answered_at=0.0), True, False, True, "the broker has not been asked yet"),
    ],
)
def test_a_probe_answers_by_progress(
    vitals: Vitals, is_live: bool, is_ready: bool, has_started: bool, reason: str
) -> None:
    verdicts = [probe(vitals, NOW) for probe in (live, ready, startup)]
    assert [verdict.is_ok for verdict in verdicts] == [is_live, is_ready, has_started]
    assert reason in "; ".join(verdicts[1].reasons)
    said = json.loads(verdicts[1].as_json())
    assert (said["status"], said["name"]) == ("ok" if is_ready else "failing", "ann")


def test_what_failed_is_told_without_secrets_and_forgotten_when_it_goes_well_again() -> None:
    contacts = Contact(), Contact()
    pulse = Pulse(contacts)
    contacts[0].answered(1.0)
    assert pulse.failing is None and pulse.answered_at == 1.0
    contacts[1].failed(2.0, "fetch", BrokerError("redis://ann:secret@here/0 is away"))
    contacts[1].failed(3.0, "fetch", BrokerError("redis://ann:secret@here/0 is away"))
    failing = pulse.failing
    assert failing is not None and failing.failing_since == 2.0 and failing.failures == 2
    assert "away" in failing.failure and "secret" not in failing.failure
    contacts[1].answered(4.0)
    assert pulse.failing is None


# --- the file --------------------------------------------------------------------------------------------------------


def test_a_file_says_what_was_last_noted_and_is_gone_with_the_process(tmp_path: Path) -> None:
    said = WELL
    path = tmp_path / "made" / "health.json"
    with HealthFile(path, lambda: said):
        assert unpack(path.read_text()) == WELL
        said = WELL._replace(is_stopping=True)
        wait_until(lambda: unpack(path.read_text()).is_stopping, what="the next write")
        assert [each.name for each in path.parent.iterdir() if each.name != path.name] in (
            [],
            [f".health.json.{os.getpid()}"],
        )
    assert not path.exists()


def test_files_by_name_are_in_a_folder_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = path_of("auto", "ann/../../x@home")
    assert path.parent == tmp_path / "taskbus"
    with HealthFile(path, lambda: WELL):
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert path_of("auto", "ann") == Path(f"/tmp/taskbus-{os.getuid()}/ann.json")


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may make links in /tmp: what is written there must not go where they lead."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "taskbus").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr(health_file, "folder", lambda: tmp_path / "taskbus")
    with pytest.raises(ConfigError, match="somebody else"), HealthFile(path_of("auto", "ann"), lambda: WELL):
        pass
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_that_cannot_be_written_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="health_file="), HealthFile(tmp_path / "file" / "x", lambda: WELL):
        pass


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"kind": 1}', "\x00"])
def test_what_is_no_state_is_told_as_such(text: str) -> None:
    with pytest.raises(ValueError):
        unpack(text)


def test_a_state_of_a_later_version_can_be_read() -> None:
    later = {**json.loads(pack(WELL)), "mood": "fine"}
    assert unpack(json.dumps(later)) == WELL


# --- the command -----------------------------------------------------------------------------------------------------


def health(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("TASKBUS_", "XDG_"))}
    return subprocess.run(
        [sys.executable, "-m", "taskbus", "health", *map(str, arguments)],
        env={**variables, **environment}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_the_command_reads_the_file_that_is_named_by_option_name_or_variable(tmp_path: Path) -> None:
    folder = tmp_path / "taskbus"
    folder.mkdir()
    now = time.monotonic()
    (folder / "ann.json").write_text(pack(WELL._replace(at=now, turned_at=now, answered_at=now)))
    runtime = {"XDG_RUNTIME_DIR": str(tmp_path)}
    for done in (
        health("ready", "--file", folder / "ann.json"),
        health("ready", TASKBUS_HEALTH_FILE=str(folder / "ann.json")),
        health("ready", "ann", **runtime),
        health("ready", **runtime),
        health("ready", TASKBUS_HEALTH_FILE="auto", **runtime),
    ):
        assert (done.returncode, done.stdout) == (0, "ready: ok\n"), done
    (folder / "bob.json").write_text(pack(WELL._replace(at=now - 60)))
    assert health("live", "bob", **runtime).returncode == 1
    assert health("live", "bob", "--within", 1e6, **runtime).returncode == 0
    several = health("live", **runtime)
    assert several.returncode == 2 and "ann, bob" in several.stderr
    nobody = health("live", "--file", tmp_path / "none")
    assert nobody.returncode == 1 and "does not run" in nobody.stdout
    assert health("live", XDG_RUNTIME_DIR=str(tmp_path / "empty")).returncode == 2


def test_the_command_asks_an_address_and_fails_where_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        done = health("live", "--http", port, "--timeout", "0.2")
        assert done.returncode == 1 and "does not answer" in done.stdout
    refused = health("live", "--http", f"http://127.0.0.1:{port}")
    assert refused.returncode == 1 and "refused" in refused.stdout
    assert health("live", "--http", "nowhere").returncode == 2


def test_the_command_imports_nothing_of_the_application_or_the_broker(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from taskbus.cli.entry import main\n"
        "sys.argv[1:] = ['health', 'live', '--file', '/nowhere']\n"
        "try:\n    main()\n"
        "finally:\n    print('loaded', *sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    modules = set(done.stdout.rpartition("loaded ")[2].split())
    assert "taskbus.cli.health" in modules
    assert not modules & {
        "kombu", "sqlalchemy", "msgpack", "tenacity", "rich", "rich_click", "taskbus.app", "asyncio", "http.client",
        "taskbus.config", "taskbus.cli.main",
    }  # fmt: skip


def test_the_command_imports_neither_brokers_nor_stores() -> None:
    """What makes it quick: 40 to 60 ms of CPU, where the whole command line would take several times as much."""
    said = "import sys; from taskbus.cli.entry import main\ntry: main()\nexcept SystemExit: pass\nprint(*sys.modules)"
    command = [sys.executable, "-c", said, "health", "live", "--file", "/nowhere"]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert "taskbus.cli.health" in loaded
    assert not loaded & {"kombu", "sqlalchemy", "rich", "rich_click", "taskbus.app", "taskbus.broker.broker"}


# --- the server ------------------------------------------------------------------------------------------------------


@pytest.fixture
def gate() -> threading.Event:
    return threading.Event()


@pytest.fixture
def server(gate: threading.Event) -> Iterator[HttpServer]:
    def fails(_: Request) -> Answer:
        raise ValueError("what the page says stays in the log")

    def slow(_: Request) -> Answer:
        gate.wait(30)
        return Answer(200, "text/plain", b"late")

    def echo(request: Request) -> Answer:
        return Answer(200, "text/plain", json.dumps(request.arguments).encode())

    server = HttpServer("0", {"/echo": echo, "/slow": slow, "/fails": fails})
    server.start()
    yield server
    gate.set()
    server.close()


def ask(server: HttpServer, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", ("127.0.0.1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:9464", ("0.0.0.0", 9464)),
        ("[::1]:9464", ("::1", 9464)),
        (" web1:80 ", ("web1", 80)),
    ],
)
def test_an_address_is_on_loopback_unless_it_says_otherwise(text: str, address: tuple[str, int]) -> None:
    assert address_of(text) == address


@pytest.mark.parametrize("text", ["", "here", "here:", "here:http", "1:99999", "http://here:80/x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        address_of(text)


def test_pages_are_told_and_what_is_none_is_said_to_be_none(server: HttpServer) -> None:
    assert ask(server, "/echo?a=1&b=2&a=3") == (200, '{"a": "1", "b": "2"}')
    assert ask(server, "/echo/", "HEAD") == (200, "")
    assert ask(server, "/nothing")[0] == 404
    assert ask(server, "/echo", "POST")[0] == 501
    status, body = ask(server, "/fails")
    assert status == 500 and "stays in the log" not in body


def test_a_slow_page_holds_up_no_other_and_too_many_are_turned_away(server: HttpServer, gate: threading.Event) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    slow = [socket.create_connection((host, int(port)), 10) for _ in range(MOST_AT_ONCE - 1)]
    for each in slow:
        each.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
    assert ask(server, "/echo")[0] == 200
    asked: list[socket.socket] = []

    def has_room() -> bool:
        try:
            return ask(server, "/echo")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def is_full() -> bool:
        """Turned away, it asks again: the place of the answer before may not have been free yet."""
        if not asked or select.select(asked, [], [], 0)[0]:
            asked[:] = [socket.create_connection((host, int(port)), 10)]
            asked[0].sendall(b"GET /slow HTTP/1.0\r\n\r\n")
        return not has_room() and not select.select(asked, [], [], 0)[0]

    wait_until(is_full, what="no room for one more")
    gate.set()
    for each in [*slow, *asked]:
        assert each.recv(1000).startswith(b"HTTP/1.0 200")
        each.close()
    wait_until(has_room, what="room again")


def test_a_client_that_says_nothing_or_nonsense_does_no_harm(server: HttpServer) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    silent = socket.create_connection((host, int(port)), 10)
    with socket.create_connection((host, int(port)), 10) as hostile:
        hostile.sendall(b"\x00\xff GET / /../../etc/passwd\r\n\r\n" + b"x" * 100_000)
    assert ask(server, "/echo")[0] == 200
    silent.close()


def test_nobody_is_woken_while_nobody_asks(server: HttpServer) -> None:
    ask(server, "/echo")
    status = Path(f"/proc/self/task/{server._thread.native_id}/status")

    def switches() -> list[str]:
        return [line for line in status.read_text().splitlines() if "ctxt_switches" in line]

    wait_until(lambda: "sleeping" in status.read_text())
    before = switches()
    assert not threading.Event().wait(1.2)
    assert switches() == before


def test_an_address_in_use_is_an_error_that_names_it(server: HttpServer) -> None:
    address = server.url.removeprefix("http://")
    with pytest.raises(ConfigError, match=address):
        HttpServer(address, {})
