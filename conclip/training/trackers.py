"""Trackers: `metrics.jsonl`, which needs no tracking service; and training that goes on without one that fails."""

import json
import threading
from pathlib import Path

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, on_main_process
from tqdm.auto import tqdm

from conclip.atomic_write import reporting_write_errors, write_atomically, write_error_behind
from conclip.errors import UsageError, one_line
from conclip.public_names import without_paths
from conclip.training.arguments import ConCLIPTrainingArguments


class JsonlTracker(GeneralTracker):
    """
    Write `metrics.jsonl`: one object {"step": int, name: number, ...} on each line.

    Lines for which the disk has no room are kept in memory, and written when it has room again.

    Args:
        path: the file.
    """

    name = "jsonl"
    requires_logging_directory = False
    main_process_only = True

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self._waiting: list[str] = []
        self._has_warned = False

    @property
    def tracker(self):
        return self.path

    @on_main_process
    def start_at(self, step: int) -> None:
        """Remove the lines after `step`, which a resumed run writes again."""
        lines = self.path.read_text("utf-8").splitlines() if step and self.path.is_file() else []
        earlier = [f"{line}\n" for line in lines if self._is_up_to(line, step)]
        write_atomically(self.path, "".join(earlier).encode())

    @staticmethod
    def _is_up_to(line: str, step: int) -> bool:
        try:
            return json.loads(line)["step"] <= step
        # A run that was killed may have left half a line.
        except ValueError:
            return False

    @on_main_process
    def store_init_configuration(self, values: dict) -> None:
        """Do nothing: results.json holds the settings."""

    @on_main_process
    def log(self, values: dict, step: int | None = None, **kwargs) -> None:
        self._waiting.append(json.dumps({"step": step, **values}) + "\n")
        error = self._write()
        if error and not self._has_warned:
            self._has_warned = True
            tqdm.write(
                f"Warning: cannot write to {self.path} ({_reason(error)}): training continues, and the lines are "
                "written when that is possible again."
            )

    @on_main_process
    def finish(self) -> None:
        """Write the lines that are left, or say how many are lost."""
        error = self._write()
        if error:
            tqdm.write(
                f"Warning: cannot write to {self.path} ({_reason(error)}): its last {len(self._waiting):,} lines are "
                "lost."
            )

    def _write(self) -> OSError | None:
        """Append the lines that wait; after an error the file is as before."""
        if not self._waiting:
            return None
        try:
            with self.path.open("ab", buffering=0) as file:
                size, content = file.tell(), "".join(self._waiting).encode()
                try:
                    # A disk that is almost full takes a part, and refuses the rest in the next call.
                    while content:
                        content = content[file.write(content) :]
                except OSError:
                    file.truncate(size)
                    raise
        except OSError as error:
            return error
        self._waiting = []
        return None


def tracker_config(args: ConCLIPTrainingArguments, model_name: str) -> dict:
    """Return the settings of the run, flat, of types that every tracker takes, and without local paths."""
    # Some trackers publish them.
    values = without_paths({"model_name_or_path": model_name, **args.to_dict()})
    return {name: value if isinstance(value, int | float | str) else str(value) for name, value in values.items()}


def start_trackers(accelerator: Accelerator, config: dict) -> None:
    """
    Start the trackers of a run and give them its settings.

    Raises:
        UsageError: a tracker cannot be started, e.g. on a full disk; the message names its folder or the reason.
    """
    _silence_writer_threads()
    try:
        with reporting_write_errors(Path(accelerator.logging_dir or ".") / "conclip"):
            accelerator.init_trackers("conclip", config=config)
    except UsageError:
        raise
    # A service has errors of its own: no network, no account.
    except Exception as error:
        raise UsageError(f"--report_to: a tracker cannot be started: {one_line(error)}") from error


def log_values(accelerator: Accelerator, values: dict, step: int) -> None:
    """Log to all trackers. A tracker that fails is left out from then on, with a warning, and training continues."""
    for tracker in list(accelerator.trackers):
        try:
            tracker.log(values, step=step)
        # A full disk, or any error of a service: neither is worth the training.
        except Exception as error:
            accelerator.trackers.remove(tracker)
            tqdm.write(
                f"Warning: --report_to {tracker.name}: cannot log step {step} ({_reason(error)}): training continues "
                "without this tracker."
            )


def finish_trackers(accelerator: Accelerator) -> None:
    """Close the trackers; one that cannot write its last values is only warned of."""
    while accelerator.trackers:
        tracker = accelerator.trackers.pop()
        try:
            tracker.finish()
        except Exception as error:
            tqdm.write(f"Warning: --report_to {tracker.name}: cannot write its last values ({_reason(error)}).")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or one_line(error)


def _silence_writer_threads() -> None:
    """
    Print no traceback of a thread that cannot write.

    TensorBoard writes in a thread. Its next call raises the error again, where `log_values` catches it.
    """
    plain = threading.excepthook
    if getattr(plain, "is_ours", False):
        return

    def hook(args) -> None:
        if args.exc_value is None or not write_error_behind(args.exc_value):
            plain(args)

    hook.is_ours = True
    threading.excepthook = hook
