"""A virtual environment for each rival, below ``.bench/``, made once."""

import subprocess
import sys
import venv
from pathlib import Path

HOME = Path(__file__).parent
ENVIRONMENTS = HOME.parent / ".bench"
REQUIREMENTS: dict[str, list[str]] = {
    "taskbus": [],
    "huey": ["huey==3.5.4", "redis==8.1.0", "hiredis==3.5.0"],
    "celery": ["celery[redis]==5.7.0", "hiredis==3.5.0", "packaging"],
    "dramatiq": ["dramatiq[redis,rabbitmq]==2.2.1", "hiredis==3.5.0"],
    "taskiq": ["taskiq==0.13.0", "taskiq-redis==1.2.4", "hiredis==3.5.0"],
    "rq": ["rq==3.0.0", "hiredis==3.5.0"],
    "arq": ["arq==0.28.0", "hiredis==3.5.0"],
    "saq": ["saq[redis,hiredis]==0.26.4", "typing_extensions"],
    "streaq": ["streaq==7.2.0"],
    "procrastinate": ["procrastinate==3.10.0", "psycopg[binary]==3.3.9"],
    "flexiq": ["flexiq==2.1.0"],
    "potatoq": ["potatoq[all]==26.1a8", "hiredis==3.5.0"],
}
"""What to install for each peer; nothing: it runs in the environment of this script, which holds TaskBus."""


def interpreter(peer: str) -> str:
    """The Python to run ``peer`` with; its environment is made if it is not there, or asks for something else."""
    wanted = REQUIREMENTS[peer]
    if not wanted:
        return sys.executable
    folder = ENVIRONMENTS / peer
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != "\n".join(wanted):
        ENVIRONMENTS.mkdir(exist_ok=True)
        (ENVIRONMENTS / ".gitignore").write_text("*\n")
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
        stamp.write_text("\n".join(wanted))
    return str(python)
