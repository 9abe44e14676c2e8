"""The training loop under accelerate."""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import get_scheduler

from conclip.errors import UsageError
from conclip.models.clip import unwrap_lora
from conclip.training.arguments import Arguments, TrainingArguments
from conclip.training.checkpoints import Place, find_checkpoint, fixed_arguments, load_checkpoint, save_checkpoint
from conclip.training.collator import PairCollator
from conclip.training.evaluator import Evaluator
from conclip.training.pair_dataset import PairRows
from conclip.training.trackers import JsonlTracker

AGAINST_DIVERGENCE = "lower --learning_rate, or set --max_grad_norm 1.0"


@dataclass
class Training:
    """What the loop carries along; `prepare_training` makes one."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    loader: DataLoader
    accelerator: Accelerator
    arguments: Arguments
    output_dir: Path
    total_steps: int
    steps_an_epoch: int
    fixed: dict
    place: Place = field(default_factory=Place)


def require_full_batch(rows: PairRows, arguments: Arguments, accelerator: Accelerator) -> None:
    """
    Raises:
        UsageError: too few rows for one step.
    """
    batch = arguments.training.per_device_train_batch_size * accelerator.num_processes
    if len(rows) < batch:
        raise UsageError(
            f"{len(rows)} training rows do not fill one batch of {batch} (--per_device_train_batch_size times "
            f"{accelerator.num_processes} processes): lower it."
        )


def make_loader(rows: PairRows, collator: PairCollator, arguments: Arguments, accelerator: Accelerator) -> DataLoader:
    training = arguments.training
    require_full_batch(rows, arguments, accelerator)
    return DataLoader(
        rows,
        batch_size=training.per_device_train_batch_size,
        shuffle=True,
        # Every rank's loss gathers the same number of rows.
        drop_last=True,
        collate_fn=collator,
        num_workers=arguments.data.dataloader_num_workers,
        pin_memory=accelerator.device.type == "cuda",
        # A generator of its own: drawing from the global one would change the dropout of a resumed run.
        generator=torch.Generator().manual_seed(training.seed),
    )


def compiles(training: TrainingArguments, accelerator: Accelerator) -> bool:
    return accelerator.device.type == "cuda" if training.torch_compile is None else training.torch_compile


def prepare_training(
    model: torch.nn.Module, rows: PairRows, collator: PairCollator, arguments: Arguments, accelerator: Accelerator
) -> Training:
    """Optimizer, schedule and loader for `model`, prepared by accelerate; resumes if the arguments say so."""
    training = arguments.training
    loader = make_loader(rows, collator, arguments, accelerator)
    optimizer = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=training.learning_rate,
        betas=(training.adam_beta1, training.adam_beta2),
        eps=training.adam_epsilon,
        weight_decay=training.weight_decay,
        fused=True,
    )
    if compiles(training, accelerator):
        unwrap_lora(model).compile_packed_layer()
    accelerator.gradient_accumulation_steps = training.gradient_accumulation_steps
    accelerator.dataloader_config.data_seed = training.seed
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    steps_an_epoch = math.ceil(len(loader) / training.gradient_accumulation_steps)
    total_steps = training.max_train_steps or training.num_train_epochs * steps_an_epoch
    scheduler = get_scheduler(training.lr_scheduler_type, optimizer, training.warmup_steps, total_steps)
    accelerator.register_for_checkpointing(scheduler)
    state = Training(
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        loader=loader,
        accelerator=accelerator,
        arguments=arguments,
        output_dir=Path(training.output_dir),
        total_steps=total_steps,
        steps_an_epoch=steps_an_epoch,
        fixed=fixed_arguments(arguments, accelerator, len(rows)),
    )
    if training.resume_from_checkpoint:
        checkpoint = find_checkpoint(state.output_dir, training.resume_from_checkpoint)
        state.place = load_checkpoint(accelerator, checkpoint, state.fixed)
        if state.place.step > total_steps:
            raise UsageError(
                f"{checkpoint} stands after step {state.place.step}, beyond the {total_steps} updates of this run: "
                "raise --max_train_steps or --num_train_epochs."
            )
        accelerator.print(f"Resuming after step {state.place.step} of {total_steps} from {checkpoint}.")
    return state


def train(state: Training, evaluator: Evaluator | None = None) -> dict:
    """
    Runs to the last step and leaves `state.model` trained.

    Returns:
        {"steps", "seconds", "examples_per_second", "loss"}: of this run, the loss of its last step.
    """
    accelerator, place, training = state.accelerator, state.place, state.arguments.training
    for tracker in accelerator.trackers:
        if isinstance(tracker, JsonlTracker):
            tracker.start_at(place.step)
    started, first = time.perf_counter(), place.step
    with tqdm(
        total=state.total_steps, initial=first, unit="step", disable=not accelerator.is_local_main_process
    ) as bar:
        losses = run_epochs(state, evaluator, bar)
    require_finite_weights(state)
    seconds, steps = time.perf_counter() - started, place.step - first
    rows = steps * training.gradient_accumulation_steps * training.per_device_train_batch_size
    return {
        "steps": place.step,
        "seconds": seconds,
        "examples_per_second": rows * accelerator.num_processes / seconds,
        "loss": losses["loss"].item() if losses else None,
    }


def run_epochs(state: Training, evaluator: Evaluator | None, bar: tqdm) -> dict[str, torch.Tensor]:
    """From `state.place` to the last step; returns the losses of that, none if there was no step left."""
    accelerator, place, training = state.accelerator, state.place, state.arguments.training
    losses = {}
    state.model.train()
    while place.step < state.total_steps:
        state.loader.set_epoch(place.epoch)
        batches = accelerator.skip_first_batches(state.loader, place.batch) if place.batch else state.loader
        for batch in batches:
            losses = train_step(state, batch)
            place.batch += 1
            if not accelerator.sync_gradients:
                continue
            place.step += 1
            bar.update()
            last_of_epoch = place.batch == len(state.loader)
            if last_of_epoch:
                place.epoch, place.batch = place.epoch + 1, 0
            if place.step % training.logging_steps == 0 or place.step == state.total_steps:
                report_step(state, losses, bar)
            if training.checkpointing_steps and place.step % training.checkpointing_steps == 0:
                require_finite_weights(state)
                save_checkpoint(accelerator, state.output_dir, place, state.fixed, training.checkpoints_total_limit)
            if place.step == state.total_steps:
                break
            if evaluator and (place.step % training.eval_steps == 0 if training.eval_steps else last_of_epoch):
                report_evaluation(state, evaluator)
    return losses


def train_step(state: Training, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """One batch and, where an accumulation ends, one update. Returns the loss and its terms."""
    accelerator, training = state.accelerator, state.arguments.training
    with accelerator.accumulate(state.model):
        output = state.model(**batch, return_loss=True)
        accelerator.backward(output.loss)
        if accelerator.sync_gradients and training.max_grad_norm:
            accelerator.clip_grad_norm_(state.model.parameters(), training.max_grad_norm)
        state.optimizer.step()
        state.optimizer.zero_grad()
        if accelerator.sync_gradients:
            state.scheduler.step()
            unwrap_lora(accelerator.unwrap_model(state.model)).clamp_logit_scale()
    names = ("loss", "loss_image_to_text", "loss_text_to_image", "loss_distractor")
    return {name: output[name].detach() for name in names if output.get(name) is not None}


def require_finite_weights(state: Training) -> None:
    """
    Raises:
        UsageError: training diverged; such weights are no checkpoint and no model.
    """
    # Every process has the same.
    if not all(parameter.isfinite().all() for parameter in state.model.parameters() if parameter.requires_grad):
        raise UsageError(f"The weights are not finite after step {state.place.step}: {AGAINST_DIVERGENCE}.")


def report_step(state: Training, losses: dict[str, torch.Tensor], bar: tqdm) -> None:
    values = {f"train/{name}": value.item() for name, value in losses.items()}
    if not math.isfinite(values["train/loss"]):
        raise UsageError(f"The loss is {values['train/loss']} at step {state.place.step}: {AGAINST_DIVERGENCE}.")
    model = unwrap_lora(state.accelerator.unwrap_model(state.model))
    values["train/logit_scale"] = model.logit_scale.item()
    values["train/learning_rate"] = state.scheduler.get_last_lr()[0]
    values["train/epoch"] = state.place.step / state.steps_an_epoch
    state.accelerator.log(values, step=state.place.step)
    bar.set_postfix(loss=f"{values['train/loss']:.4f}")


def report_evaluation(state: Training, evaluator: Evaluator) -> None:
    metrics, _ = evaluator(unwrap_lora(state.accelerator.unwrap_model(state.model)))
    state.model.train()
    values = {f"eval/{name}": metric["value"] for name, metric in metrics.items()}
    state.accelerator.log(values, step=state.place.step)
    scores = ", ".join(
        f"{name} {metric['value']:.2%} (n={metric['count']:,}, chance {metric['chance']:.2%})"
        for name, metric in metrics.items()
    )
    tqdm.write(f"step {state.place.step}: {scores}") if state.accelerator.is_main_process else None
