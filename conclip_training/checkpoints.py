"""Resumable checkpoints: accelerate's state and our place in the data, written beside and renamed."""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from accelerate import Accelerator

from conclip_training.arguments import Arguments, UsageError

STATE_FILE = "trainer_state.json"


@dataclass
class Place:
    """Where training stands: updates done, and within `epoch` the batches each process has taken."""

    step: int = 0
    epoch: int = 0
    batch: int = 0


def fixed_arguments(arguments: Arguments, num_processes: int, num_rows: int) -> dict:
    """What must not change between a checkpoint and its resumption, or the order of the data would be another."""
    training = arguments.training
    return {
        "loss": arguments.model.loss,
        "use_lora": arguments.model.use_lora,
        "train_image_encoder": arguments.model.train_image_encoder,
        "per_device_train_batch_size": training.per_device_train_batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "seed": training.seed,
        "processes": num_processes,
        "training rows": num_rows,
    }


def list_checkpoints(output_dir: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    found = [path for path in output_dir.glob("checkpoint-*") if (path / STATE_FILE).is_file()]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def save_checkpoint(accelerator: Accelerator, output_dir: Path, place: Place, fixed: dict, limit: int) -> None:
    final = output_dir / f"checkpoint-{place.step}"
    unfinished = output_dir / f"unfinished-{final.name}"
    accelerator.save_state(str(unfinished))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (unfinished / STATE_FILE).write_text(json.dumps({"place": asdict(place), "fixed": fixed}, indent=2))
        shutil.rmtree(final, ignore_errors=True)
        os.replace(unfinished, final)
        for old in list_checkpoints(output_dir)[:-limit]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def find_checkpoint(output_dir: Path, wanted: str) -> Path:
    """
    Args:
        wanted: "latest", or the folder of a checkpoint.
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
            f"--resume_from_checkpoint latest: no checkpoint in {output_dir}; leave it out to start anew."
        )
    return checkpoints[-1]


def load_checkpoint(accelerator: Accelerator, checkpoint: Path, fixed: dict) -> Place:
    """
    Loads weights, optimizer, schedule and random states.

    Raises:
        UsageError: an argument that must not change has changed, or a file of the checkpoint is damaged.
    """
    try:
        state = json.loads((checkpoint / STATE_FILE).read_text())
        place, saved = Place(**state["place"]), state["fixed"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{checkpoint / STATE_FILE} is damaged ({error}): resume from another checkpoint.") from error
    changed = [
        f"{name} was {saved.get(name)}, is {value}" for name, value in fixed.items() if saved.get(name) != value
    ]
    if changed:
        raise UsageError(f"Cannot resume from {checkpoint}: {'; '.join(changed)}. Use the arguments it began with.")
    try:
        accelerator.load_state(str(checkpoint))
    # Each of the formats inside (safetensors, torch, pickle) reports damage by an error type of its own.
    except Exception as error:
        raise UsageError(f"{checkpoint} is damaged ({error}): resume from another checkpoint.") from error
    return place
