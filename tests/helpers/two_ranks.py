"""Run a test file as a script in two processes: a helper, not a test."""

import os
import subprocess
import sys
from pathlib import Path

import torch


def results_of_two(script: str, folder: Path) -> list:
    """
    Runs `python script RANK FOLDER` for the ranks 0 and 1 at once.

    Returns:
        What each left in `FOLDER/RANK.pt`.
    """
    folders = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]
    path = os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])
    processes = [
        subprocess.Popen(
            [sys.executable, script, str(rank), str(folder)],
            env={**os.environ, "PYTHONPATH": path},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], errors
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]
