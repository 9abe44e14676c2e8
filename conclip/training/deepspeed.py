"""
DeepSpeed's ZeRO stages 1 and 2, which share out the optimizer; and the settings of the launcher that cannot be used.

The weights stay whole and in float32 on every process, so all but the optimizer is as without DeepSpeed.
"""

import os
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.checkpointing import load_accelerator_state, save_accelerator_state
from accelerate.utils import DistributedType, load
from accelerate.utils.constants import SAFE_WEIGHTS_NAME
from safetensors.torch import load_file

from conclip.errors import UsageError
from conclip.training.arguments import ConCLIPTrainingArguments

ONE_NODE = "recipes/accelerate/one_node.yaml"
# How `accelerate launch` tells the processes what it was asked for.
WANTED = {name: f"ACCELERATE_USE_{name}" for name in ("DEEPSPEED", "FSDP", "MEGATRON_LM")}


def is_wanted(name: str = "DEEPSPEED") -> bool:
    """Return whether the launcher was asked for DeepSpeed, or for another way by its name in `WANTED`."""
    return os.environ.get(WANTED[name], "false").lower() == "true"


def uses_deepspeed(accelerator: Accelerator) -> bool:
    """Return whether DeepSpeed trains."""
    return accelerator.distributed_type == DistributedType.DEEPSPEED


def refuse_other_ways() -> None:
    """
    Check what the launcher was asked for, before the processes meet.

    Raises:
        UsageError: FSDP or Megatron-LM.
    """
    if is_wanted("FSDP"):
        raise UsageError(
            "FSDP cannot be used: the text encoder is also used outside of its forward pass, where FSDP does not "
            f"gather the weights; use {ONE_NODE}, or recipes/accelerate/deepspeed_zero2.yaml to save memory."
        )
    if is_wanted("MEGATRON_LM"):
        raise UsageError(f"Megatron-LM does not train CLIP: use {ONE_NODE}.")


def refuse_settings(accelerator: Accelerator, args: ConCLIPTrainingArguments) -> None:
    """
    Check the settings of DeepSpeed, before a model is loaded.

    Raises:
        UsageError: a setting that would change the training, or a machine without GPUs.
    """
    if not is_wanted():
        return
    if accelerator.num_processes < int(os.environ.get("WORLD_SIZE", 1)):
        raise UsageError("accelerate runs DeepSpeed on GPUs, and none was found: start training without DeepSpeed.")
    config = accelerator.deepspeed_plugin.deepspeed_config
    stage = accelerator.deepspeed_plugin.zero_stage
    if stage not in (1, 2):
        raise UsageError(
            f"DeepSpeed's zero_stage {stage} cannot be used, since the weights have to be whole on each process: use "
            "1 or 2."
        )
    if accelerator.mixed_precision != "no":
        raise UsageError(
            f"With {accelerator.mixed_precision}, DeepSpeed would round the weights themselves: set mixed_precision "
            f"to no, or use {ONE_NODE}."
        )
    offload = config["zero_optimization"].get("offload_optimizer") or {}
    if offload.get("device") not in (None, "none"):
        raise UsageError("DeepSpeed would train with another optimizer: set offload_optimizer_device to none.")
    for name in ("optimizer", "scheduler"):
        if name in config:
            raise UsageError(f"Leave {name} out of DeepSpeed's settings: the options of conclip train choose it.")
    for name, value in _own_settings(args).items():
        if config.get(name, "auto") not in ("auto", value):
            raise UsageError(
                f"{name} is {config[name]} in DeepSpeed's settings and {value} by the options: leave it out of "
                "DeepSpeed's settings."
            )


def _own_settings(args: ConCLIPTrainingArguments) -> dict:
    return {
        # Our own sampler makes the batches, so the loader does not say how large they are.
        "train_micro_batch_size_per_gpu": args.per_device_train_batch_size,
        # DeepSpeed clips and updates within `backward`.
        "gradient_clipping": args.max_grad_norm,
        "gradient_accumulation_steps": args.gradient_accumulation_steps,
    }


def configure(accelerator: Accelerator, args: ConCLIPTrainingArguments, model: torch.nn.Module) -> list[torch.Tensor]:
    """
    Give DeepSpeed its settings, and scalar parameters the shape (1,), since it sends no scalars to other processes.

    Returns:
        The parameters of another shape, such as `logit_scale`, for `restore_scalars`.
    """
    rows = args.per_device_train_batch_size * args.gradient_accumulation_steps * accelerator.num_processes
    accelerator.deepspeed_plugin.deepspeed_config |= {**_own_settings(args), "train_batch_size": rows}
    scalars = [parameter for parameter in model.parameters() if parameter.dim() == 0]
    for parameter in scalars:
        parameter.data = parameter.data.reshape(1)
    return scalars


def restore_scalars(scalars: list[torch.Tensor]) -> None:
    """Make the parameters that `configure` returned scalars again."""
    for parameter in scalars:
        parameter.data = parameter.data.reshape(())


def keep_value(parameter: torch.nn.Parameter) -> None:
    """Tell DeepSpeed the value that a parameter has now: the next update starts from a copy in its optimizer."""
    from deepspeed.utils import safe_set_full_fp32_param

    if parameter.requires_grad:
        safe_set_full_fp32_param(parameter, parameter.data)


def save_state(accelerator: Accelerator, engine: torch.nn.Module, folder: Path) -> None:
    """
    Save what `load_state` reads: weights, random states, and each process's part of the optimizer.

    DeepSpeed's own checkpoints are pickles of its objects: to read them is to run what is in them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Copies: accelerate leaves out tensors that share memory, and DeepSpeed keeps the weights in one block.
    weights = {name: tensor.clone() for name, tensor in engine.module.state_dict().items()}
    save_accelerator_state(str(folder), [weights], [], [], [], accelerator.process_index, accelerator.step)
    torch.save(engine.optimizer.optimizer.state_dict(), folder / optimizer_file(accelerator))


def optimizer_file(accelerator: Accelerator) -> str:
    """Return the name of the file with this process's part of the optimizer."""
    return f"optimizer_{accelerator.process_index}.bin"


def load_state(accelerator: Accelerator, engine: torch.nn.Module, folder: Path) -> None:
    """Load what `save_state` wrote, as plain data."""
    # Not by accelerate, for the same reason.
    engine.module.load_state_dict(load_file(folder / SAFE_WEIGHTS_NAME))
    found = load_accelerator_state(str(folder), [], [], [], [], accelerator.process_index)
    accelerator.step = found["step"]
    # From the weights: the float32 copy that the optimizer updates.
    engine.optimizer.refresh_fp32_params()
    engine.optimizer.optimizer.load_state_dict(load(folder / optimizer_file(accelerator), map_location="cpu"))
