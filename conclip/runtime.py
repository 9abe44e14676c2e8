"""The process a command runs in: cores, memory, library versions, and how a failed run ends."""

from __future__ import annotations

import atexit
import ctypes
import os
import platform
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from conclip.atomic_write import write_error_behind
from conclip.errors import UsageError
from conclip.public_names import public_command

if TYPE_CHECKING:
    from accelerate import Accelerator

PACKAGES = ("torch", "transformers", "datasets", "accelerate", "peft", "evaluate")
# Seconds a process waits for the launcher to end it before it prints its own error.
PATIENCE = 5.0
LARGE_BLOCK = 1 << 20  # bytes
M_MMAP_THRESHOLD = -3  # malloc.h of glibc


def software_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that results depend on."""
    # Imported late: `conclip search` does without it, and it takes 20 ms.
    from importlib.metadata import version

    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def command_line(name: str, argv: list[str] | None, num_processes: int = 1) -> str:
    """
    Return the command that repeats this run, for reports and model cards; of local paths it holds the last part.

    Args:
        name: the command of `conclip`, e.g. "train".
        argv: its options; `None` if one of the repository's scripts was started instead.
    """
    launcher = f"accelerate launch --num_processes {num_processes}" if num_processes > 1 else "accelerate launch"
    if argv is None:
        return f"{launcher} {shlex.join(public_command(sys.argv))}"
    return f"{f'{launcher} -m ' if num_processes > 1 else ''}conclip {shlex.join(public_command([name, *argv]))}"


def processes_share_cpu() -> bool:
    """
    Return whether a launcher, such as torchrun, started several processes on a machine without a GPU.

    `Accelerator` has to be told (`cpu`): otherwise each process would run alone and write the same files.
    """
    import torch

    has_gpu = torch.accelerator.is_available() if hasattr(torch, "accelerator") else torch.cuda.is_available()
    return int(os.environ.get("WORLD_SIZE", 1)) > 1 and not has_gpu


def use_all_cores(accelerator: Accelerator) -> None:
    """
    Divide the CPU cores among the processes; `accelerate launch` and torchrun set one thread for each.

    The small model of the default run does without this: it gains little from threads and, on a busy machine, loses
    much while they wait for each other.
    """
    import torch

    launched = "ACCELERATE_MIXED_PRECISION" in os.environ or "TORCHELASTIC_RUN_ID" in os.environ
    if launched and accelerator.device.type == "cpu" and os.environ.get("OMP_NUM_THREADS") == "1":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // accelerator.num_processes))


def return_large_blocks() -> bool:
    """
    Make glibc return every block of 1 MiB or more to the system as soon as it is freed.

    By default glibc raises this threshold to the largest block freed so far and keeps smaller blocks in its heap.
    Packed batches differ in size from step to step, so their tensors leave holes there: with 4,096 pairs a step the
    process would need half as much memory again.

    Returns:
        Whether the threshold was set. It is not set for another C library, or if the user set
        MALLOC_MMAP_THRESHOLD_.
    """
    if platform.libc_ver()[0] != "glibc" or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return False
    return ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK) == 1


def end_failed_run(
    message: str,
    exit_code: int,
    accelerator: Accelerator | None = None,
    wait: bool = False,
    main_process_only: bool = False,
) -> int:
    """
    Print the message, close the trackers and, in a run of several processes, exit at once.

    If all processes meet the same error, the main process prints it and the launcher then ends the others. Any other
    process therefore waits before it prints: if it is still running after `PATIENCE`, the error is its own.

    Args:
        message: what to print.
        wait: let the main process wait too, for an error that may only be the consequence of another process's end.
        main_process_only: let the other processes neither wait nor print.

    Returns:
        `exit_code`, in a run of one process.
    """
    # Read from the environment: a mistake in the command line is found before there is an accelerator.
    rank, num_processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if not (rank and main_process_only):
        if rank or (wait and num_processes > 1):
            time.sleep(PATIENCE)
        print(f"Process {rank}: {message}" if rank else message, file=sys.stderr, flush=True)
    for tracker in accelerator.trackers if accelerator else ():
        # The disk may be full, which the message says already.
        with suppress(Exception):
            tracker.finish()
    if num_processes > 1:
        # Another process may be waiting for this one in a collective; an orderly exit could wait for it in turn.
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
        try:
            command()
        except Exception as error:
            if stop := interruption_behind(error):
                raise stop from None
            found = for_user(error)
            if found is None or found is error:
                raise
            raise found from error
    except UsageError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{interrupted}", file=sys.stderr)
        return 130
    return 0


def for_user(error: Exception) -> UsageError | None:
    """Return an error of bad input or of a disk, whose message is all that a user needs; `None` for another error."""
    return error if isinstance(error, UsageError) else write_error_behind(error)


def interruption_behind(error: Exception) -> KeyboardInterrupt | SystemExit | None:
    """
    Return what ended the command if `error` was only raised while the command was ending.

    Interrupted by Ctrl-C or SIGTERM, `Dataset.map` with several processes still waits for their results, and raises a
    `TimeoutError` in place of the interruption.
    """
    while error is not None:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            return error
        error = error.__cause__ or error.__context__
    return None


_forks_hold_sigterm = False
# The signal mask that a thread had before it began to fork.
_held = threading.local()
# Whether the main thread is forking, and whether SIGTERM reached it meanwhile.
_forking = _arrived = False
# Seconds until a SIGTERM that arrived during a fork is delivered again.
_LATER = 0.05


def exit_on_sigterm() -> None:
    """
    Let a job that a scheduler ends tidy up as one ended by Ctrl-C does; the processes that it forks end at once.

    Pools end their workers by SIGTERM, and Python runs a handler only between two of its instructions: a worker that
    gets the signal just before it waits for a task would wait forever. Workers therefore take the default action. The
    signal is held back while a process is forked, because one that arrives before the worker has changed the action
    would be lost. Python also drops what a handler raises inside the functions that it calls around a fork, so a
    signal that arrives there is delivered again when the fork is over.
    """
    global _forks_hold_sigterm
    signal.signal(signal.SIGTERM, _exit_unless_forking)
    # Windows has no forks.
    if hasattr(os, "register_at_fork") and not _forks_hold_sigterm:
        os.register_at_fork(before=_hold_sigterm, after_in_parent=_release_sigterm, after_in_child=_end_by_sigterm)
        _forks_hold_sigterm = True


def _exit_unless_forking(_signal: int, _frame: object) -> None:
    global _arrived
    if _forking:
        _arrived = True
    else:
        # What is registered last is called first: before multiprocessing waits for the processes that are left.
        atexit.register(_end_children)
        sys.exit(143)


def _end_children() -> None:
    """End the processes that were started a moment before the signal, which nobody else ends."""
    for name in ("multiprocessing", "multiprocess"):
        if name in sys.modules:
            for child in sys.modules[name].active_children():
                child.terminate()


def _hold_sigterm() -> None:
    global _forking
    # Handlers run in the main thread alone.
    if threading.current_thread() is threading.main_thread():
        _forking = True
    _held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _release_sigterm() -> None:
    global _forking, _arrived
    signal.pthread_sigmask(signal.SIG_SETMASK, _held.mask)
    if threading.current_thread() is threading.main_thread():
        if _arrived:
            _arrived = False
            later = threading.Timer(_LATER, os.kill, (os.getpid(), signal.SIGTERM))
            later.daemon = True
            later.start()
        _forking = False


def _end_by_sigterm() -> None:
    global _forking, _arrived
    _forking = _arrived = False
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, _held.mask)
