"""``python -m tests.crash [WORDS]``: play the suite, a line for each cell, then what was not run and why.

Each cell is played by a process of its own, so that nothing a cell leaves behind can touch another one.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from .suite import Playable, not_run, playables

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 180.0
"""Seconds after which a cell is ended from outside."""

Row = dict[str, Any]


def main() -> int:
    asked = _arguments()
    cells = [cell for cell in playables() if all(word in cell.name for word in asked.words)]
    if asked.list:
        print(*(cell.name for cell in cells), sep="\n")
        return 0
    if asked.one:
        print(next(cell for cell in cells if cell.name == asked.one).play(Path(asked.folder)).as_json())
        return 0
    folder = Path(asked.folder or tempfile.mkdtemp(prefix="crash-suite-"))
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty")
    begin = time.monotonic()
    rows: list[Row] = []
    with ThreadPoolExecutor(asked.jobs) as pool:
        plays = [pool.submit(_play_apart, cell, folder / f"{number:03}") for number, cell in enumerate(cells)]
        for play in as_completed(plays):
            rows.append(play.result())
            print(json.dumps(rows[-1]) if asked.json else _line(rows[-1], len(rows), len(cells)), flush=True)
    return _report(rows, folder, time.monotonic() - begin, is_whole=not asked.words, as_json=asked.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("words", nargs="*", help="play only cells whose name contains all of these")
    parser.add_argument("-j", "--jobs", type=int, default=max(2, os.cpu_count() or 2), help="cells at a time")
    parser.add_argument("--json", action="store_true", help="one JSON object a cell")
    parser.add_argument("--list", action="store_true", help="print the names and play nothing")
    parser.add_argument("--folder", default="", help="where the ledgers of failing cells are kept")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def _play_apart(cell: Playable, folder: Path) -> Row:
    """Play a cell in a process of its own; what it prints last is the outcome."""
    command = [sys.executable, "-m", "tests.crash", "--one", cell.name, "--folder", str(folder)]
    begin = time.monotonic()
    try:
        played = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False)
        row: Row = json.loads(played.stdout.strip().rpartition("\n")[2])
    except subprocess.TimeoutExpired:
        return {"case": cell.name, "good": False, "took": LIMIT, "error": f"not over after {LIMIT:g} s"}
    except ValueError:
        took = round(time.monotonic() - begin, 1)
        return {"case": cell.name, "good": False, "took": took, "error": played.stderr[-2000:] or "no outcome"}
    return row


def _line(row: Row, done: int, count: int) -> str:
    if "not_run" in row:
        return f"[{done}/{count}] not run  {row['case']}: {row['not_run']}"
    facts = [f"{row['took']:5.1f} s"]
    facts += [
        f"{name}={row[name]}" for name in ("acked", "finished", "dead", "reruns", "recovered_after") if name in row
    ]
    why = "" if row["good"] else f"\n          {_why(row)}"
    return f"[{done}/{count}] {'ok     ' if row['good'] else 'FAILED '} {row['case']}  ({', '.join(facts)}){why}"


def _why(row: Row) -> str:
    known = ("case", "good", "took", "attempted", "acked", "rejected", "unknown", "finished", "dead", "recovered")
    return row.get("error") or str({name: value for name, value in row.items() if name not in known and value})


def _report(rows: list[Row], folder: Path, took: float, *, is_whole: bool, as_json: bool) -> int:
    failed = [row for row in rows if not row.get("good", True)]
    skipped = [(row["case"], row["not_run"]) for row in rows if "not_run" in row]
    if is_whole:
        skipped += [(f"case {number}", why) for number, why in not_run()]
    if as_json:
        for name, why in skipped:
            print(json.dumps({"case": name, "not_run": why}))
    else:
        played = sum("not_run" not in row for row in rows)
        print(f"\n{played - len(failed)} of {played} cells are good, in {took:.0f} s.")
        for why in dict.fromkeys(why for _, why in skipped):
            print(f"not run: {', '.join(name for name, reason in skipped if reason == why)}: {why}")
        print("".join(f"FAILED: {row['case']}: {_why(row)[:300]}\n" for row in failed), end="")
        if failed:
            print(f"The ledgers and logs of what failed are in {folder}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
