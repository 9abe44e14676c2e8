"""Checkpoints to resume from: the state that accelerate saves, and how far training has come."""

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, load
from accelerate.utils.constants import OPTIMIZER_NAME, RNG_STATE_NAME, SAFE_WEIGHTS_NAME, SCALER_NAME

from conclip.atomic_write import (
    UNFINISHED,
    WriteError,
    remove,
    reporting_write_errors,
    require_room,
    write_atomically,
)
from conclip.errors import MORE_THAN_DATA, UsageError, one_line, refuses_pickle
from conclip.models.saving import weights_bytes
from conclip.training.deepspeed import load_state, optimizer_file, save_state, uses_deepspeed

STATE_FILE = "trainer_state.json"
# Random states of the processes, the headers of the files, and how far training has come.
REST_BYTES = 1 << 17


@dataclass
class TrainingProgress:
    """
    How far training has come.

    Args:
        step: updates done.
        epoch, batch: the current epoch, and the number of batches each process has read in it.
        evaluated_step: `step` at the last evaluation.
        stream: with a stream, where the current epoch (a buffer of rows) of each process begins in it.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    evaluated_step: int = 0
    stream: list[dict] | None = None


def list_checkpoints(output_dir: Path) -> list[Path]:
    """List the finished checkpoints, oldest first."""
    numbered = [path for path in output_dir.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdecimal()]
    finished = [path for path in numbered if (path / STATE_FILE).is_file()]
    return sorted(finished, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def require_no_checkpoints(output_dir: Path) -> None:
    """
    Raises:
        UsageError: there are checkpoints of an earlier run, which would be confused with those of a new run.
    """
    checkpoints = list_checkpoints(output_dir)
    if checkpoints:
        raise UsageError(
            f"{output_dir} holds checkpoints of an earlier run, up to {checkpoints[-1].name}: continue it with "
            "--resume_from_checkpoint latest, delete them, or choose another --output_dir."
        )


def checkpoint_bytes(model: torch.nn.Module) -> int:
    """Return how many bytes a checkpoint takes: the weights, the two moments of AdamW, and random states."""
    moments = sum(2 * parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    return weights_bytes(model) + moments + REST_BYTES


def save_checkpoint(
    accelerator: Accelerator,
    model: torch.nn.Module,
    output_dir: Path,
    progress: TrainingProgress,
    fixed: dict,
    limit: int,
    needed: int,
) -> None:
    """
    Save `checkpoint-<step>`, which appears only when it is complete, and delete the oldest beyond `limit`.

    Args:
        model: as `Accelerator.prepare` returned it.
        fixed: the settings that a resumed run must share.
        needed: see `checkpoint_bytes`.

    Raises:
        WriteError: on every process, if the disk has too little room or one of them cannot write; what was written of
            the checkpoint is removed, and the earlier ones stay.
    """
    final = output_dir / f"checkpoint-{progress.step}"
    unfinished = output_dir / f"{UNFINISHED}{final.name}"

    def clear() -> None:
        # Left behind by runs that were killed.
        for stale in output_dir.glob(f"{UNFINISHED}checkpoint-*"):
            remove(stale)
        require_room(final, needed)

    def finish() -> None:
        state = {"progress": asdict(progress), "fixed": fixed}
        (unfinished / STATE_FILE).write_text(json.dumps(state, indent=2), "utf-8")
        remove_checkpoint(final)
        os.replace(unfinished, final)
        for old in list_checkpoints(output_dir)[:-limit]:
            remove_checkpoint(old)

    def together(write: Callable[[], None], main_process_only: bool = False) -> None:
        failure = None
        try:
            with reporting_write_errors(final, needed):
                if accelerator.is_main_process or not main_process_only:
                    write()
        except WriteError as error:
            failure = str(error)
        # On every process: the others would wait for one that has ended.
        for message in filter(None, gather_object([failure])):
            raise WriteError(message)

    try:
        together(clear, main_process_only=True)
        if uses_deepspeed(accelerator):
            together(lambda: save_state(accelerator, model, unfinished))
        else:
            together(lambda: accelerator.save_state(str(unfinished)))
        together(finish, main_process_only=True)
    except Exception:
        if accelerator.is_main_process:
            remove(unfinished)
        raise


def remove_checkpoint(checkpoint: Path) -> None:
    """Rename the checkpoint, then delete it, so that a half deleted one is never taken for a finished one."""
    if checkpoint.exists():
        remove(checkpoint.rename(checkpoint.with_name(f"{UNFINISHED}{checkpoint.name}-removed")))


def find_checkpoint(output_dir: Path, wanted: str) -> Path:
    """
    Find the checkpoint to resume from.

    Args:
        wanted: "latest", or the folder of a checkpoint.

    Raises:
        UsageError: there is no finished checkpoint.
    """
    if wanted != "latest":
        if not (Path(wanted) / STATE_FILE).is_file():
            raise UsageError(
                f"--resume_from_checkpoint {wanted}: no finished checkpoint there ({STATE_FILE} missing)."
            )
        return Path(wanted)
    checkpoints = list_checkpoints(output_dir)
    if not checkpoints:
        raise UsageError(
            f"--resume_from_checkpoint latest: no checkpoint in {output_dir}; leave the option out to start anew."
        )
    return checkpoints[-1]


def checkpoint_to_resume(output_dir: Path, resume_from_checkpoint: str | bool | None) -> Path | None:
    """
    Find the checkpoint to resume from; `None` for a new run.

    Raises:
        UsageError: nothing to resume from, or checkpoints of an earlier run in the output folder of a new one.
    """
    if not resume_from_checkpoint:
        require_no_checkpoints(output_dir)
        return None
    return find_checkpoint(output_dir, "latest" if resume_from_checkpoint is True else resume_from_checkpoint)


def read_state(checkpoint: Path) -> tuple[TrainingProgress, dict, dict | None]:
    """
    Return how far the checkpoint's run had come, its fixed settings, and its length if it has ended.

    Raises:
        UsageError: the file with the state is damaged.
    """
    try:
        state = json.loads((checkpoint / STATE_FILE).read_text("utf-8"))
        return TrainingProgress(**state["progress"]), state["fixed"], state.get("finished")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"{checkpoint / STATE_FILE} is damaged ({one_line(error)}): resume from another checkpoint."
        ) from error


def mark_finished(output_dir: Path, length: dict) -> None:
    """
    Note in the newest checkpoint, if there is one, that its run has ended and its results are written.

    Args:
        length: the settings that say how long the run is.
    """
    for checkpoint in list_checkpoints(output_dir)[-1:]:
        state = json.loads((checkpoint / STATE_FILE).read_text("utf-8"))
        write_atomically(checkpoint / STATE_FILE, json.dumps({**state, "finished": length}, indent=2).encode())


def load_checkpoint(
    accelerator: Accelerator, model: torch.nn.Module, checkpoint: Path, fixed: dict
) -> TrainingProgress:
    """
    Load weights, optimizer and random states into what accelerate has prepared; no file in the checkpoint runs code.

    Args:
        model: as `Accelerator.prepare` returned it.
        fixed: the settings of this run that must be those of the checkpoint.

    Raises:
        UsageError: a setting that must not change has changed, or a file of the checkpoint is damaged or holds more
            than plain data.
    """
    progress, saved, _ = read_state(checkpoint)
    changed = [
        f"{name} was {saved.get(name)}, is {value}"
        for name, value in fixed.items()
        # `None` is saved for settings that the earlier run did not use.
        if saved.get(name) != value and not (name in saved and saved[name] is None)
    ]
    if changed:
        raise UsageError(
            f"Cannot resume from {checkpoint}: {'; '.join(changed)}. Use the settings that the run started with."
        )
    try:
        require_plain_data(accelerator, checkpoint)
        if uses_deepspeed(accelerator):
            load_state(accelerator, model, checkpoint)
        else:
            accelerator.load_state(str(checkpoint))
    except UsageError:
        raise
    # Each of the formats (safetensors, torch, pickle) reports damage by its own type of error.
    except Exception as error:
        raise UsageError(f"{checkpoint} is damaged ({one_line(error)}): resume from another checkpoint.") from error
    return progress


def require_plain_data(accelerator: Accelerator, checkpoint: Path) -> None:
    """
    Check the files that `Accelerator.load_state` is going to read.

    Raises:
        UsageError: a file holds more than plain data, or belongs to another version of this package.
        FileNotFoundError: a file is missing; other types of errors: it is damaged.
    """
    # load_state would read pickled weights in its place.
    if not (checkpoint / SAFE_WEIGHTS_NAME).is_file():
        raise FileNotFoundError(f"{SAFE_WEIGHTS_NAME} is missing")
    for path in sorted(checkpoint.glob("custom_checkpoint_*.pkl")):
        raise UsageError(
            f"{path} was not loaded: it is a pickle, which could run code, and this version writes none; resume from "
            "another checkpoint."
        )
    # load_state ignores random states that it cannot read, and dropout would then differ.
    optimizer = optimizer_file(accelerator) if uses_deepspeed(accelerator) else f"{OPTIMIZER_NAME}.bin"
    names = [f"{RNG_STATE_NAME}_{accelerator.process_index}.pkl", optimizer]
    for name in [*names, SCALER_NAME] if accelerator.scaler is not None else names:
        path = checkpoint / name
        try:
            # Mapped, the tensors of the optimizer take no memory here, nor on a GPU.
            load(path, map_location="cpu", mmap=zipfile.is_zipfile(path))
        except Exception as error:
            if not refuses_pickle(error):
                raise
            raise UsageError(f"{path} {MORE_THAN_DATA}: resume from another checkpoint.") from error
