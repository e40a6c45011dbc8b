"""``python -m tests.crash [WORDS] [--broker NAMES]``: play the suite, a line for each cell, then what was not run.

Each cell is played by a process of its own, so that nothing a cell leaves behind can touch another one. The cells of a
broker share one server, which is started here, but for those that hurt it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from . import chaos
from .grounds import GROUNDS, Ground
from .suite import Playable, not_run, playables
from .town import Town

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 240.0
"""Seconds after which a cell is ended from outside."""

SECOND_CHANCES = 40
"""Failed cells that are played once more, one at a time; when more have failed, it is not the machine."""

Row = dict[str, Any]


def main() -> int:
    asked = _arguments()
    grounds = [GROUNDS[name] for name in asked.broker or GROUNDS]
    cells = [cell for cell in playables(grounds) if all(word in cell.name for word in asked.words)]
    part, parts = asked.shard
    cells = cells[part - 1 :: parts]
    if asked.list:
        print(*(cell.name for cell in cells), sep="\n")
        return 0
    if asked.one:
        cell = next(cell for cell in cells if cell.name == asked.one)
        with Town() as town:
            print(cell.play(Path(asked.folder), town).as_json())
        return 0
    folder = Path(asked.folder or tempfile.mkdtemp(prefix="crash-suite-"))
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty")
    begin = time.monotonic()
    missing = {ground.name: why for ground in grounds if (why := ground.obstacle())}
    playable = [cell for cell in cells if cell.ground.name not in missing]
    rows: list[Row] = []

    def tell(row: Row) -> Row:
        print(json.dumps(row) if asked.json else _line(row, len(rows) + 1, len(playable)), flush=True)
        return row

    with Town() as town, ThreadPoolExecutor(asked.jobs) as pool:
        plays = {pool.submit(_play_apart, cell, folder / f"{n:03}", town): (cell, n) for n, cell in enumerate(playable)}
        for play in as_completed(plays):
            rows.append(tell(play.result()))
        if len(failed := [plays[play] for play in plays if not play.result().get("good", True)]) <= SECOND_CHANCES:
            for cell, n in failed:
                _again(rows, cell, tell(_play_apart(cell, folder / f"{n:03}-again", town)))
    rows += [_left_out(ground, missing[ground.name], cells) for ground in grounds if ground.name in missing]
    return _report(
        rows, folder, time.monotonic() - begin, is_whole=not asked.words and asked.shard == (1, 1), as_json=asked.json
    )


def _again(rows: list[Row], cell: Playable, second: Row) -> None:
    """Note how a failed cell went when nothing was played beside it; what failed first is told all the same."""
    first = next(row for row in rows if row["case"] == cell.name)
    if second.get("good"):
        first["good"], first["unsteady"] = True, _why(first)


def _left_out(ground: Ground, why: str, cells: list[Playable]) -> Row:
    """All cells of a ground that is not to be had: a failure where everything should be installed."""
    name = f"all {sum(cell.ground is ground for cell in cells)} cells on {ground.name}"
    if os.environ.get("CI"):
        return {"case": name, "good": False, "took": 0.0, "error": why}
    return {"case": name, "not_run": why}


def _names(text: str) -> list[str]:
    names = list(GROUNDS) if text == "all" else text.split(",")
    for name in names:
        if name not in GROUNDS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(GROUNDS)}, all")
    return names


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is no part of a whole; write it like 1/4")
    return int(part), int(parts)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("words", nargs="*", help="play only cells whose name contains all of these")
    parser.add_argument("--broker", type=_names, metavar="NAMES", help=f"of {', '.join(GROUNDS)} or all (default)")
    parser.add_argument("-j", "--jobs", type=int, default=max(2, os.cpu_count() or 2), help="cells at a time")
    parser.add_argument("--shard", type=_shard, default=(1, 1), metavar="K/N", help="only every Nth cell, from the Kth")
    parser.add_argument("--json", action="store_true", help="one JSON object a cell")
    parser.add_argument("--list", action="store_true", help="print the names and play nothing")
    parser.add_argument("--folder", default="", help="where the ledgers of failing cells are kept")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def _play_apart(cell: Playable, folder: Path, town: Town) -> Row:
    """Play a cell in a process of its own; what it prints last is the outcome."""
    for kind in {cell.ground.broker, cell.ground.results or cell.ground.broker} - {"sqlite"}:
        town.url(kind)  # started here, to outlive the cell
    command = [sys.executable, "-m", "tests.crash", "--broker", cell.ground.name, "--one", cell.name]
    begin = time.monotonic()
    process = subprocess.Popen(
        [*command, "--folder", str(folder)],
        cwd=ROOT, env=os.environ | town.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        out, errors = process.communicate(timeout=LIMIT)
        row: Row = json.loads(out.strip().rpartition("\n")[2])
    except subprocess.TimeoutExpired:
        _end(process)
        return {"case": cell.name, "good": False, "took": LIMIT, "error": f"not over after {LIMIT:g} s"}
    except ValueError:
        took = round(time.monotonic() - begin, 1)
        return {"case": cell.name, "good": False, "took": took, "error": errors[-2000:] or "no outcome"}
    return row


def _end(process: subprocess.Popen[str]) -> None:
    """Kill a cell with all it has started."""
    for pid in [*chaos.descendants(process.pid), process.pid]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.communicate()


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
        for row in rows:
            if "unsteady" in row:
                print(f"UNSTEADY, good when played alone: {row['case']}: {row['unsteady'][:300]}")
        print("".join(f"FAILED: {row['case']}: {_why(row)[:300]}\n" for row in failed), end="")
        if failed:
            print(f"The ledgers and logs of what failed are in {folder}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
