"""Options of the commands that embed images and texts: `conclip embed` and `conclip evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from conclip.cli import option
from conclip.errors import UsageError, one_line

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass
class EncodingArguments:
    per_device_eval_batch_size: int = option(256, "images or texts in a batch, for each process", at_least=1)
    dataloader_num_workers: int = option(
        0, "worker processes that decode and preprocess images, for each process", at_least=0
    )
    bf16: bool = option(False, "compute in bfloat16; by default, as in the accelerate config")
    fp16: bool = option(False, "compute in float16, on a GPU")
    embedding_cache_dir: str | None = option(
        None, "folder that caches embeddings for all runs; by default, conclip/embeddings in $HF_HOME"
    )

    @property
    def mixed_precision(self) -> str | None:
        """Return the precision as `Accelerator` names it; `None` for what `accelerate launch` is configured for."""
        if self.bf16 and self.fp16:
            raise UsageError("--bf16 and --fp16 exclude each other.")
        return "bf16" if self.bf16 else "fp16" if self.fp16 else None


def start_accelerator(mixed_precision: str | None) -> Accelerator:
    """
    Return an accelerator that uses all cores of a CPU.

    Raises:
        UsageError: the machine cannot compute in this precision.
    """
    # Imported late: --help and a mistyped option are answered without them.
    import torch
    from accelerate import Accelerator

    from conclip.runtime import processes_share_cpu, use_all_cores

    if mixed_precision == "fp16" and not torch.cuda.is_available():
        raise UsageError("--fp16 needs a GPU, and none was found: use --bf16, or neither.")
    try:
        accelerator = Accelerator(cpu=processes_share_cpu(), mixed_precision=mixed_precision)
    except ValueError as error:
        raise UsageError(f"--{mixed_precision}: {one_line(error)}") from error
    use_all_cores(accelerator)
    return accelerator
