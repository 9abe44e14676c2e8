"""
Time two implementations in turns in one process: A B A B.

The speed of a machine varies; the ratio of two times measured one after the other varies less.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tqdm.auto import tqdm

from conclip.atomic_write import write_atomically


def seconds_of(function: Callable[[], object], device: str) -> float:
    """Return the seconds that a call takes, until the device has finished."""
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    wait()
    started = time.perf_counter()
    function()
    wait()
    return time.perf_counter() - started


def time_in_turns(
    ours: Callable, reference: Callable, rounds: int, device: str = "cpu", ours_a_round: int = 1
) -> dict:
    """
    Run `reference` and `ours` in turns, after one run of each that is not counted.

    Args:
        ours_a_round: number of runs of `ours` in each turn, for a short function; their mean is counted.

    Returns:
        {"reference_s", "ours_s": seconds of each round, "ratio": {"min", "median", "max"} of reference to ours}.
    """
    times = {"reference": [], "ours": []}
    for turn in tqdm(range(rounds + 1), desc="Timing in turns", unit="round"):
        reference_s = seconds_of(reference, device)
        ours_s = seconds_of(lambda: [ours() for _ in range(ours_a_round)], device) / ours_a_round
        if turn:
            times["reference"].append(reference_s)
            times["ours"].append(ours_s)
    ratios = [a / b for a, b in zip(times["reference"], times["ours"], strict=True)]
    return {
        "reference_s": times["reference"],
        "ours_s": times["ours"],
        "ratio": {"min": min(ratios), "median": statistics.median(ratios), "max": max(ratios)},
    }


def machine(device: str) -> dict:
    """Describe the machine, for the results."""
    named = torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor() or platform.machine()
    return {"device": named, "threads": torch.get_num_threads(), "cores": os.cpu_count(), "torch": torch.__version__}


def write_json(result: dict, path: str) -> None:
    write_atomically(Path(path), f"{json.dumps(result, indent=2)}\n".encode())
    print(f"Written: {path}")


def as_text(ratio: dict) -> str:
    return f"{ratio['median']:.2f}x (min {ratio['min']:.2f}, max {ratio['max']:.2f})"
