"""``python -m tests.crash [WORDS] [--broker NAMES]``: play the suite, a line for each cell, then what was not run.

Each cell is played by a child of this process, which does nothing else, so that no cell can touch another one. The
cells of a broker share one server, which is started here, but for those that hurt it.
"""

import argparse
import gc
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import InitVar, dataclass, field
from itertools import islice
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any, cast

from . import chaos
from .grounds import GROUNDS, Ground
from .suite import Playable, not_run, playables
from .town import Town

FORK = multiprocessing.get_context("fork")
"""Children that need not import again what is here already: half of what a cell cost."""

LIMIT = 240.0
"""Seconds after which a cell is ended from outside."""

GOODBYE = 10.0
"""Seconds a cell has to end once it has told its outcome."""

SECOND_CHANCES = 40
"""Failed cells that are played once more, one at a time; when more have failed, it is not the machine."""

USAGE = 2
"""The status for what was asked wrongly, as argparse has it."""

Row = dict[str, Any]


def main() -> int:
    asked = _arguments()
    grounds = [GROUNDS[name] for name in asked.broker or GROUNDS]
    cells = [cell for cell in playables(grounds) if all(word in cell.name for word in asked.words)]
    if not cells:
        where = ", ".join(ground.name for ground in grounds)
        print(f"No cell on {where} has {_quoted(asked.words)} in its name; --list prints the names.", file=sys.stderr)
        return USAGE
    part, parts = asked.shard
    cells = cells[part - 1 :: parts]
    if asked.list:
        print(*(cell.name for cell in cells), sep="\n")
        return 0
    folder = Path(asked.folder or tempfile.mkdtemp(prefix="crash-suite-"))
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty")
    begin = time.monotonic()
    missing = {ground.name: why for ground in grounds if (why := ground.obstacle())}
    playable = [cell for cell in cells if cell.ground.name not in missing]
    playable.sort(key=lambda cell: cell.name.startswith("grid"))  # the long ones first: none is waited for at the end
    rows: list[Row] = []

    def tell(row: Row) -> Row:
        print(json.dumps(row) if asked.json else _line(row, len(rows) + 1, len(playable)), flush=True)
        return row

    gc.freeze()  # what the children share with this process stays shared
    with Town() as town:
        failed: list[Play] = []
        for play, row in _played(((cell, folder / f"{n:04}") for n, cell in enumerate(playable)), town, asked.jobs):
            rows.append(tell(row))
            failed += [] if row.get("good", True) else [play]
        if len(failed) <= SECOND_CHANCES:
            again = [(play.cell, play.folder.with_name(f"{play.folder.name}-again")) for play in failed]
            for play, row in _played(again, town, 1):
                _again(rows, play.cell, tell(row))
    rows += [_left_out(ground, missing[ground.name], cells) for ground in grounds if ground.name in missing]
    return _report(rows, folder, time.monotonic() - begin, tells_all=not asked.words and part == 1, as_json=asked.json)


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


def _quoted(words: list[str]) -> str:
    return " and ".join(repr(word) for word in words)


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
    return parser.parse_args()


@dataclass
class Play:
    """A cell that is being played by a child of this process."""

    cell: Playable
    folder: Path
    town: InitVar[Town]
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self, town: Town) -> None:
        for kind in {self.cell.ground.broker, self.cell.ground.results or self.cell.ground.broker} - {"sqlite"}:
            town.url(kind)  # started here, to outlive the cell
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by `outcome`)
        self.answer, theirs = FORK.Pipe(duplex=False)
        self.process = FORK.Process(target=_play, args=(self.cell, self.folder, town, self.said, theirs))
        self.process.start()
        theirs.close()

    @property
    def left(self) -> float:
        """Seconds until it is ended from outside."""
        return self.began + LIMIT - time.monotonic()

    def outcome(self) -> Row:
        """What came of it, once the process has ended or its time is up."""
        row: Row = {"case": self.cell.name, "good": False, "took": round(time.monotonic() - self.began, 1)}
        try:
            if not self.answer.poll():
                return row | {"error": f"not over after {LIMIT:g} s"}
            return cast(Row, self.answer.recv())
        except EOFError:
            self.process.join(GOODBYE)
            self.said.seek(0)
            return row | {
                "error": self.said.read()[-2000:] or f"ended with {self.process.exitcode}, and without a word"
            }
        finally:
            self._end()
            self.answer.close()
            self.said.close()

    def _end(self) -> None:
        """See a cell off; what has not ended in time is killed, with all that it started."""
        if self.left > 0:
            self.process.join(min(self.left, GOODBYE))
        if not self.process.is_alive():
            return
        for pid in [*chaos.descendants(cast(int, self.process.pid)), cast(int, self.process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.join()


def _play(cell: Playable, folder: Path, town: Town, said: IO[str], answer: Connection) -> None:
    """In the child: play a cell, with the servers that run."""
    for stream in (sys.stdout, sys.stderr):
        os.dup2(said.fileno(), stream.fileno())
    os.environ.update(town.environment())
    with Town() as own:
        outcome = cell.play(folder, own)
    answer.send(json.loads(outcome.as_json()))


def _played(cells: Iterable[tuple[Playable, Path]], town: Town, jobs: int) -> Iterator[tuple[Play, Row]]:
    """Play cells, so many at a time; yields each when it is over."""
    waiting = iter(cells)
    running: list[Play] = []
    while True:
        running += [Play(cell, folder, town) for cell, folder in islice(waiting, jobs - len(running))]
        if not running:
            return
        answered = wait([play.answer for play in running], max(0.0, min(play.left for play in running)))
        over = [play for play in running if play.answer in answered or play.left <= 0]
        running = [play for play in running if play not in over]
        for play in over:
            yield play, play.outcome()


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


def _report(rows: list[Row], folder: Path, took: float, *, tells_all: bool, as_json: bool) -> int:
    failed = [row for row in rows if not row.get("good", True)]
    skipped = [(row["case"], row["not_run"]) for row in rows if "not_run" in row]
    if tells_all:
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
