"""The process a command runs in: cores, memory, library versions, and how a failed run ends."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING

from conclip.errors import UsageError

if TYPE_CHECKING:
    from accelerate import Accelerator

PACKAGES = ("torch", "transformers", "datasets", "accelerate", "peft", "evaluate")
# Seconds the launcher has to end this process before it speaks up itself.
PATIENCE = 5.0
LARGE = 1 << 20
M_MMAP_THRESHOLD = -3  # malloc.h of glibc


def software_versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def use_all_cores(accelerator: Accelerator) -> None:
    """
    On CPU: divides the cores among the processes, which `accelerate launch` and torchrun leave at one thread each.

    Not for the small model of the embedded default: it gains little, and on a busy machine loses much, by threads that
    wait for one another.
    """
    import torch

    launched = "ACCELERATE_MIXED_PRECISION" in os.environ or "TORCHELASTIC_RUN_ID" in os.environ
    if launched and accelerator.device.type == "cpu" and os.environ.get("OMP_NUM_THREADS") == "1":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // accelerator.num_processes))


def return_large_blocks() -> bool:
    """
    Lets glibc give every block of 1 MiB or more back to the system as soon as it is freed.

    By default it raises that threshold to the largest block ever freed, keeps the rest in its heap, and tensors of
    ever other sizes, as packed batches have, leave holes there: with 4,096 pairs a step half as much memory again.

    Returns:
        Whether it was set: not with another C library, nor where MALLOC_MMAP_THRESHOLD_ says otherwise.
    """
    if platform.libc_ver()[0] != "glibc" or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return False
    return ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE) == 1


def end_failed_run(
    message: str,
    exit_code: int,
    accelerator: Accelerator | None = None,
    wait: bool = False,
    main_process_only: bool = False,
) -> int:
    """
    Prints the message, closes the trackers and, where there are other processes, leaves at once.

    What all processes find wrong, the main one says; the launcher then ends the others. A process other than the
    main one therefore waits before it speaks: if it is still there after `PATIENCE`, the fault is its own.

    Args:
        message: what to print.
        wait: the main process waits as well, for a fault that may only follow from the end of another process.
        main_process_only: the others neither wait nor print.

    Returns:
        `exit_code`, in a run of one process.
    """
    # Not accelerate's: a mistake in the command line is found before there is an accelerator.
    rank, num_processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if not (rank and main_process_only):
        if rank or (wait and num_processes > 1):
            time.sleep(PATIENCE)
        print(f"Process {rank}: {message}" if rank else message, file=sys.stderr, flush=True)
    for tracker in accelerator.trackers if accelerator else ():
        tracker.finish()
    if num_processes > 1:
        # The others may be waiting for this one in a collective; an orderly exit could wait for them in turn.
        sys.stdout.flush()
        os._exit(exit_code)
    return exit_code


def run_command(command: Callable[[], object], interrupted: str) -> int:
    """
    Run a command that is one process; whatever goes wrong is one sentence on standard error.

    Args:
        interrupted: what to say after Ctrl-C.

    Returns:
        The exit status: 0, 1 after a `UsageError`, 130 after Ctrl-C.
    """
    try:
        command()
    except UsageError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{interrupted}", file=sys.stderr)
        return 130
    return 0


def exit_on_sigterm() -> None:
    """Let a job that a scheduler ends tidy up as one ended by Ctrl-C does."""
    main_process = os.getpid()

    def leave(_signal, _frame) -> None:
        if os.getpid() != main_process:
            # A forked worker inherits this handler. Its pool ends it by this signal; an exception could hang both.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        sys.exit(143)

    signal.signal(signal.SIGTERM, leave)
