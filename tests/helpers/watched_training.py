"""
A training that reports what it holds, `watched_training.py FOLDER HOW`: for test_level_resources.py, not a test.

HOW is "end", "error" (a row cannot be read in a worker) or "interrupt" (Ctrl-C in the middle).
"""

import json
import os
import signal
import sys
from pathlib import Path

from runs import run

from conclip.errors import UsageError
from conclip.training import loop
from conclip.training.pair_rows import PairRows

# After the first steps, caches are full: from here on nothing may grow.
AT = (500, 1000, 1500, 2000)
# Batches on their way from the workers hold files: the least of so many steps is what the run itself holds.
WINDOW = 12
STOP = 30


def holdings() -> dict:
    """Resident bytes, open files, and the children of this process."""
    resident = int(Path("/proc/self/statm").read_text("utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text("utf-8").split()
    return {"resident": resident, "files": len(os.listdir("/proc/self/fd")), "children": len(children)}


def main(folder: Path, how: str) -> int:
    # A shell that starts a job in the background lets it ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    evaluate, read, found, pids = loop.evaluate_if_due, PairRows.__getitems__, [], {os.getpid()}
    window = []

    def watched(state, evaluates):
        evaluate(state, evaluates)
        step = state.progress.step
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text("utf-8").split()
        pids.update(map(int, children))
        if any(0 <= at - step < WINDOW for at in AT):
            window.append(holdings())
        if step in AT:
            found.append({name: min(each[name] for each in window) for name in window[0]})
            window.clear()
        if step == STOP and how == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)

    def failing(rows, at):
        (folder / "reads").open("ab").write(b".")
        if (folder / "reads").stat().st_size > STOP:
            raise UsageError("Row 7: cannot read image.")
        return read(rows, at)

    loop.evaluate_if_due = watched
    if how == "error":
        PairRows.__getitems__ = failing
    code = run(json.loads((folder / "argv.json").read_text("utf-8")))
    (folder / "found.json").write_text(json.dumps({"found": found, "pids": sorted(pids), "code": code}), "utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
