"""How a run ends that cannot go on: one sentence, from one process, and no other process left waiting for it."""

import os
import sys
import time

from accelerate import Accelerator

# Seconds the launcher has to end this process before it speaks up itself.
PATIENCE = 5.0


class UsageError(ValueError):
    """Bad input: the message is one sentence for the user, shown without a traceback."""

    def __str__(self) -> str:
        # Out of a DataLoader's worker it comes wrapped in that worker's traceback, of which it is the last line.
        name = f"{type(self).__module__}.{type(self).__qualname__}: "
        return super().__str__().strip().rpartition("\n")[2].removeprefix(name)


def one_line(error: BaseException) -> str:
    """What a library's error says, without the lines of advice or detail that may follow."""
    first, *rest = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # datasets: "Couldn't cast", both schemas, "because column names don't match".
    return f"{first} {rest[-1]}" if rest and rest[-1].startswith("because") else first


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
