"""The `Accelerator` of a run, with its output folder and trackers."""

import os

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.state import is_initialized
from accelerate.tracking import get_available_trackers

from conclip.atomic_write import writable_folder
from conclip.embedding.images import check_cache_dir
from conclip.errors import UsageError
from conclip.runtime import processes_share_cpu
from conclip.training.arguments import ConCLIPTrainingArguments
from conclip.training.deepspeed import is_wanted, refuse_other_ways, refuse_settings
from conclip.training.trackers import JsonlTracker


def make_accelerator(args: ConCLIPTrainingArguments) -> Accelerator:
    """
    Make the output folder and an Accelerator with the precision and the trackers of `args`.

    Raises:
        UsageError: an unknown tracker, fp16 without a GPU, or a folder of outputs or embeddings that cannot be written
            to.
    """
    installed = ["jsonl", *(str(getattr(tracker, "value", tracker)) for tracker in get_available_trackers())]
    for name in args.report_to:
        # accelerate ignores a tracker that is not installed.
        if name not in installed:
            raise UsageError(f"--report_to {name}: not installed or unknown; available: {', '.join(installed)}.")
    if args.fp16 and not torch.cuda.is_available():
        raise UsageError("--fp16 needs a GPU, and none was found: use --bf16, or neither.")
    refuse_other_ways()
    output_dir = writable_folder(args.output_dir)
    check_cache_dir(args.embedding_cache_dir)
    is_first = not is_initialized()
    trackers = [JsonlTracker(output_dir / "metrics.jsonl") if name == "jsonl" else name for name in args.report_to]
    accelerator = Accelerator(
        # accelerate starts DeepSpeed only where it may use a GPU.
        cpu=processes_share_cpu() and not is_wanted(),
        mixed_precision=args.mixed_precision,
        log_with=trackers or None,
        project_dir=output_dir,
        dataloader_config=DataLoaderConfiguration(non_blocking=True),
    )
    refuse_settings(accelerator, args)
    # `accelerate launch --cpu` gives its one process an address at which to meet others, but no number of processes.
    if is_first and accelerator.num_processes == 1 and "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ:
        accelerator.print(
            "Warning: one process runs, though the launcher was asked for several (`accelerate launch --cpu` does "
            "that); on CPU use `torchrun --nproc_per_node N train_accelerate.py`."
        )
    return accelerator
