"""The example of a mixed fleet does what it says: one queue, two kinds of workers, and Flower that sees both."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.servers.redis_server import RedisServer
from tests.servers.server import free_port

ROOT = Path(__file__).parents[2]


def test_celery_and_taskbus_drain_one_queue_together_and_flower_counts_all_of_it(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    environment = {
        **os.environ,
        "MIXED_FLEET_URL": server.url,
        "MIXED_FLEET_FLOWER_PORT": str(free_port()),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    try:
        done = subprocess.run(
            [sys.executable, ROOT / "examples/mixed_fleet"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=110,
        )
    finally:
        server.kill()
    assert done.returncode == 0, done.stdout + done.stderr
    (run, seen) = re.findall(r"^(?:400 invoices, .*|Flower counts): (.*)$", done.stdout, re.MULTILINE)
    ran = dict(re.findall(r"(celery|taskbus) (\d+)", run))
    assert sum(map(int, ran.values())) == 400
    assert dict(re.findall(r"(celery|taskbus)@mixed (\d+)", seen)) == ran
