"""What the training loop works on: optimizer, schedule, loader and progress, at the first step or at a checkpoint."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from peft import PeftModel
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from conclip.errors import UsageError
from conclip.models.clip import unwrap_lora
from conclip.models.text_distillation import TextDistillationModel
from conclip.training.arguments import ConCLIPTrainingArguments
from conclip.training.batches import DistinctBatches
from conclip.training.checkpoints import TrainingProgress, load_checkpoint
from conclip.training.collator import PairCollator
from conclip.training.deepspeed import configure, uses_deepspeed
from conclip.training.pair_rows import PairRows
from conclip.training.schedule import learning_rates
from conclip.training.statement_rows import StatementRows
from conclip.training.stream_rows import StreamRows
from conclip.training.trained_model import saved_model
from modeling_conclip import ConCLIPModel

# Settings that a resumed run must share with its checkpoint; the length of the run may change.
FIXED = (
    "loss image_to_text_weight text_to_image_weight distractor_weight distillation_weight cosine_weight "
    "profile_weight truth_weight own_words distillation_beta distillation_anchor_weight per_device_train_batch_size "
    "gradient_accumulation_steps learning_rate weight_decay adam_beta1 adam_beta2 adam_epsilon max_grad_norm "
    "lr_scheduler_type warmup_steps seed".split()
)


@dataclass
class TrainingState:
    """Everything that the training loop works on; `prepare_training` makes it."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    learning_rate: Callable[[int], float]
    loader: DataLoader
    rows: PairRows | StatementRows | StreamRows
    accelerator: Accelerator
    args: ConCLIPTrainingArguments
    total_steps: int
    steps_per_epoch: float | None
    fixed: dict
    progress: TrainingProgress = field(default_factory=TrainingProgress)
    # Parameters that are scalars again after training.
    scalars: list[torch.Tensor] = field(default_factory=list)


def prepare_training(
    model: torch.nn.Module,
    rows: PairRows | StatementRows | StreamRows,
    collator: PairCollator,
    args: ConCLIPTrainingArguments,
    accelerator: Accelerator,
    checkpoint: Path | None = None,
    length: int | None = None,
) -> TrainingState:
    """
    Make optimizer, schedule and loader, and prepare them and the model with accelerate.

    Args:
        checkpoint: resume from it.
        length: rows of a stream, if it is known.

    Raises:
        UsageError: too few rows, or a checkpoint that is damaged or of a run with other settings.
    """
    batch_size, world = args.per_device_train_batch_size, accelerator.num_processes
    streams = isinstance(rows, StreamRows)
    if not streams:
        require_full_batch(rows, batch_size, world)

    def report(sentence: str) -> None:
        if accelerator.is_main_process:
            tqdm.write(sentence)

    loader = DataLoader(
        rows,
        # Of a stream, each process has its own rows.
        batch_sampler=DistinctBatches(rows, batch_size, 1 if streams else world, args.seed, report),
        collate_fn=collator,
        num_workers=args.dataloader_num_workers,
        pin_memory=accelerator.device.type == "cuda",
        # Its own generator: using the global one would change the dropout of a resumed run.
        generator=torch.Generator().manual_seed(args.seed),
    )
    optimizer = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=args.learning_rate,
        betas=(args.adam_beta1, args.adam_beta2),
        eps=args.adam_epsilon,
        weight_decay=args.weight_decay,
        fused=True,
    )
    if compiles(args, accelerator):
        unwrap_lora(model).compile_packed_layer()
    accelerator.gradient_accumulation_steps = args.gradient_accumulation_steps
    fixed = fixed_settings(model, args, accelerator, rows)
    scalars = configure(accelerator, args, model) if uses_deepspeed(accelerator) else []
    if streams:
        model, optimizer = accelerator.prepare(model, optimizer)
        loader = prepare_data_loader(loader, accelerator.device, 1, 0, put_on_device=True, non_blocking=True)
        steps_per_epoch = length and length / (batch_size * world * args.gradient_accumulation_steps)
    else:
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        steps_per_epoch = math.ceil(len(loader) / args.gradient_accumulation_steps)
    total_steps = args.max_steps or args.num_train_epochs * steps_per_epoch
    rates = learning_rates(args.lr_scheduler_type, args.learning_rate, args.warmup_steps, total_steps)
    state = TrainingState(
        model, optimizer, rates, loader, rows, accelerator, args, total_steps, steps_per_epoch, fixed
    )
    state.scalars = scalars
    if checkpoint:
        state.progress = load_checkpoint(accelerator, model, checkpoint, fixed)
        if state.progress.step > total_steps:
            raise UsageError(
                f"{checkpoint} was saved after step {state.progress.step}, beyond the {total_steps} updates of this "
                "run: raise --max_steps or --num_train_epochs."
            )
        if streams:
            rows.seek(state.progress.stream[accelerator.process_index], state.progress.epoch)
        accelerator.print(f"Resuming after step {state.progress.step} of {total_steps} from {checkpoint}.")
    return state


def require_full_batch(rows: PairRows | StatementRows, per_device_batch_size: int, num_processes: int) -> None:
    """
    Raises:
        UsageError: too few rows for one step.
    """
    batch = per_device_batch_size * num_processes
    if len(rows) < batch:
        raise UsageError(
            f"{len(rows)} training rows do not fill one batch of {batch}, --per_device_train_batch_size times the "
            f"number of processes ({num_processes}): lower --per_device_train_batch_size."
        )


def compiles(args: ConCLIPTrainingArguments, accelerator: Accelerator) -> bool:
    """Whether the layer of the text encoder is compiled: by default, only on a GPU."""
    return accelerator.device.type == "cuda" if args.torch_compile is None else args.torch_compile


def fixed_settings(
    model: ConCLIPModel | PeftModel | TextDistillationModel,
    args: ConCLIPTrainingArguments,
    accelerator: Accelerator,
    rows: PairRows | StatementRows | StreamRows,
) -> dict:
    """Return the settings that must not change between a checkpoint and its resumption, ready for JSON."""
    trained = saved_model(model)
    lora = trained.peft_config["default"] if isinstance(trained, PeftModel) else None
    modules = lora and lora.target_modules
    return {
        **{name: getattr(args, name) for name in FIXED},
        "train_image_encoder": not getattr(unwrap_lora(model).config, "freeze_image_encoder", True),
        "use_lora": lora is not None,
        "lora_rank": lora and lora.r,
        "lora_alpha": lora and lora.lora_alpha,
        "lora_dropout": lora and lora.lora_dropout,
        "lora_target_modules": modules if isinstance(modules, str | None) else sorted(modules),
        "mixed precision": accelerator.mixed_precision,
        "processes": accelerator.num_processes,
        "training rows": rows.source_rows,
    }


def announce(state: TrainingState, rows: PairRows | StatementRows | StreamRows) -> None:
    """Print the size of the run."""
    args, accelerator = state.args, state.accelerator
    batch = args.per_device_train_batch_size * accelerator.num_processes
    accelerator.print(
        f"Training with the {args.loss} loss: {rows.description()}, {state.total_steps:,} updates, batches of "
        f"{batch} rows on {accelerator.num_processes} process(es), mixed precision {accelerator.mixed_precision}."
    )
    if args.lr_scheduler_type != "constant" and args.warmup_steps > state.total_steps:
        accelerator.print(
            f"Warning: the warm-up of {args.warmup_steps} updates is longer than the run of {state.total_steps}, so "
            "the learning rate does not reach its peak: lower --warmup_steps."
        )
    if args.gradient_accumulation_steps > 1:
        rest = len(state.loader) % args.gradient_accumulation_steps
        accelerator.print(
            f"Each update averages the gradients of {args.gradient_accumulation_steps} batches"
            f"{f' ({rest} at the end of an epoch)' if rest else ''}; the loss of a batch still compares only its own "
            f"{batch} rows."
        )
