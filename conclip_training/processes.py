"""The processes of a run and the cores they have."""

import os

import torch
from accelerate import Accelerator


def use_all_cores(accelerator: Accelerator) -> None:
    """
    On CPU: divides the cores among the processes, which `accelerate launch` and torchrun leave at one thread each.

    Not for the small model of the embedded default: it gains little, and on a busy machine loses much, by threads that
    wait for one another.
    """
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ or "TORCHELASTIC_RUN_ID" in os.environ
    if launched and accelerator.device.type == "cpu" and os.environ.get("OMP_NUM_THREADS") == "1":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // accelerator.num_processes))
