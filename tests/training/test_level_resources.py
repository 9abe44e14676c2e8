"""Memory, open files and workers stay level over 2,000 steps, and nothing is left in /dev/shm, however a run ends."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from runs import command, write_inputs

ROOT = Path(__file__).parents[2]
HELPERS = ROOT / "tests/helpers"
MIB = 2**20
SHARED = Path("/dev/shm")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def watch(folder: Path, inputs: dict, how: str, **options) -> dict:
    """Train in a process of its own, and return what it found."""
    argv = command(inputs, folder / "out", dataloader_num_workers=2, logging_steps=100, **options)
    (folder / "argv.json").write_text(json.dumps(argv), "utf-8")
    path = os.pathsep.join([str(ROOT), str(HELPERS), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = [sys.executable, str(HELPERS / "watched_training.py"), str(folder), how]
    ended = subprocess.run(process, env={**os.environ, "PYTHONPATH": path}, capture_output=True, timeout=500)
    found = json.loads((folder / "found.json").read_text("utf-8"))
    assert ended.returncode == found["code"], ended.stderr
    return found


def left(pids: list[int]) -> list[str]:
    """What these processes left in /dev/shm: torch names its files after the process."""
    return [path.name for path in SHARED.iterdir() if any(re.search(rf"\D{pid}(\D|$)", path.name) for pid in pids)]


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="/proc and /dev/shm are Linux's")
def test_2000_steps_hold_no_more_than_500(inputs, tmp_path):
    watched = watch(tmp_path, inputs, "end", max_steps=2000, eval_steps=100, save_steps=250, save_total_limit=2)
    assert watched["code"] == 0
    first, *later = watched["found"]
    assert len(later) == 3 and len(watched["pids"]) > 3
    for found in later:
        assert found["resident"] - first["resident"] < 16 * MIB
        assert found["files"] <= first["files"] + 2
        assert found["children"] <= first["children"]
    assert not left(watched["pids"])


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="/proc and /dev/shm are Linux's")
@pytest.mark.parametrize(("how", "code"), [("interrupt", 130), ("error", 1)])
def test_a_stopped_run_leaves_nothing_in_shared_memory(how, code, inputs, tmp_path):
    watched = watch(tmp_path, inputs, how, max_steps=60, eval_steps=10)
    assert watched["code"] == code
    assert not left(watched["pids"])
    assert not [pid for pid in watched["pids"] if Path(f"/proc/{pid}").exists()]
