"""Resumable checkpoints: accelerate's state and our place in the data, written beside and renamed."""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import load
from accelerate.utils.constants import RNG_STATE_NAME

from conclip.errors import UsageError, one_line
from conclip.training.arguments import Arguments

STATE_FILE = "trainer_state.json"


@dataclass
class Place:
    """Where training stands: updates done, and within `epoch` the batches each process has taken."""

    step: int = 0
    epoch: int = 0
    batch: int = 0


FIXED_MODEL = (
    "loss image_to_text_weight text_to_image_weight distractor_weight train_image_encoder "
    "use_lora lora_rank lora_alpha lora_dropout lora_target_modules".split()
)
FIXED_TRAINING = (
    "per_device_train_batch_size gradient_accumulation_steps learning_rate weight_decay adam_beta1 adam_beta2 "
    "adam_epsilon max_grad_norm lr_scheduler_type warmup_steps seed".split()
)


def fixed_arguments(arguments: Arguments, accelerator: Accelerator, num_rows: int) -> dict:
    """
    What must not change between a checkpoint and its resumption: the order of the data and the optimizer's settings
    would be the checkpoint's or the new ones, in part. The length of the run may change.
    """
    return {
        **{name: getattr(arguments.model, name) for name in FIXED_MODEL},
        **{name: getattr(arguments.training, name) for name in FIXED_TRAINING},
        "mixed precision": accelerator.mixed_precision,
        "processes": accelerator.num_processes,
        "training rows": num_rows,
    }


def list_checkpoints(output_dir: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    numbered = [path for path in output_dir.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdecimal()]
    finished = [path for path in numbered if (path / STATE_FILE).is_file()]
    return sorted(finished, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def require_no_checkpoints(output_dir: Path) -> None:
    """
    Raises:
        UsageError: there are checkpoints of an earlier run, which a new run's would be mixed up with.
    """
    checkpoints = list_checkpoints(output_dir)
    if checkpoints:
        raise UsageError(
            f"{output_dir} holds checkpoints of an earlier run, up to {checkpoints[-1].name}: go on from there with "
            "--resume_from_checkpoint latest, delete them, or choose another --output_dir."
        )


def save_checkpoint(accelerator: Accelerator, output_dir: Path, place: Place, fixed: dict, limit: int) -> None:
    final = output_dir / f"checkpoint-{place.step}"
    unfinished = output_dir / f"unfinished-{final.name}"
    if accelerator.is_main_process:
        # What a killed run left behind.
        for stale in output_dir.glob("unfinished-checkpoint-*"):
            shutil.rmtree(stale)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(unfinished))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (unfinished / STATE_FILE).write_text(json.dumps({"place": asdict(place), "fixed": fixed}, indent=2))
        remove_checkpoint(final)
        os.replace(unfinished, final)
        for old in list_checkpoints(output_dir)[:-limit]:
            remove_checkpoint(old)
    accelerator.wait_for_everyone()


def remove_checkpoint(checkpoint: Path) -> None:
    """Renamed first: half deleted it must not pass for a finished one."""
    if checkpoint.exists():
        shutil.rmtree(checkpoint.rename(checkpoint.with_name(f"unfinished-{checkpoint.name}-removed")))


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
        raise UsageError(
            f"{checkpoint / STATE_FILE} is damaged ({one_line(error)}): resume from another checkpoint."
        ) from error
    changed = [
        f"{name} was {saved.get(name)}, is {value}" for name, value in fixed.items() if saved.get(name) != value
    ]
    if changed:
        raise UsageError(f"Cannot resume from {checkpoint}: {'; '.join(changed)}. Use the arguments it began with.")
    try:
        # load_state goes on without a word if it cannot read these, and dropout would be another.
        load(checkpoint / f"{RNG_STATE_NAME}_{accelerator.process_index}.pkl")
        accelerator.load_state(str(checkpoint))
    # Each of the formats inside (safetensors, torch, pickle) reports damage by an error type of its own.
    except Exception as error:
        raise UsageError(f"{checkpoint} is damaged ({one_line(error)}): resume from another checkpoint.") from error
    return place
