"""The training loop: batches, updates, evaluations and checkpoints, to the last step."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate.utils import gather_object
from tqdm.auto import tqdm

from conclip.errors import UsageError
from conclip.models.clip import unwrap_lora
from conclip.training.checkpoints import checkpoint_bytes, save_checkpoint
from conclip.training.deepspeed import keep_value, uses_deepspeed
from conclip.training.stream_rows import StreamRows
from conclip.training.trackers import JsonlTracker, log_values
from conclip.training.training_state import TrainingState

# AdamW divides by the root of the mean squared gradient plus epsilon: with less than this it may divide by almost 0.
SMALLEST_EPSILON = 1e-12
LOSSES = (
    "loss",
    "loss_image_to_text",
    "loss_text_to_image",
    "loss_distractor",
    "loss_cosine",
    "loss_profile",
    "loss_truth",
)
# After epochs; with eval_steps there may be more.
MOST_EVALUATIONS = 10


def run_training(
    state: TrainingState,
    evaluate: Callable[[], dict] | None = None,
    on_save: Callable[[int], None] | None = None,
) -> dict:
    """
    Train `state.model` to the last step.

    Args:
        evaluate: called every `eval_steps` updates, or after an epoch, see `evaluate_if_due`; returns metrics.
        on_save: called with the number of updates whenever a checkpoint was saved.

    Returns:
        As `ConCLIPTrainer.train`.
    """
    accelerator, progress, args = state.accelerator, state.progress, state.args
    for tracker in accelerator.trackers:
        if isinstance(tracker, JsonlTracker):
            tracker.start_at(progress.step)
    started, batches_before = time.perf_counter(), batches_read(state)
    with tqdm(
        total=state.total_steps, initial=progress.step, unit="step", disable=not accelerator.is_local_main_process
    ) as bar:
        losses = run_epochs(state, evaluate, on_save, bar)
    require_finite_weights(state)
    seconds = time.perf_counter() - started
    rows = (batches_read(state) - batches_before) * args.per_device_train_batch_size
    return {
        "steps": progress.step,
        "seconds": seconds,
        "examples_per_second": rows * accelerator.num_processes / seconds,
        "loss": losses["loss"].item() if losses else None,
    }


def batches_read(state: TrainingState) -> int:
    """Return how many batches each process has trained on since the run began."""
    return state.progress.epoch * len(state.loader) + state.progress.batch


def run_epochs(
    state: TrainingState,
    evaluate: Callable[[], dict] | None,
    on_save: Callable[[int], None] | None,
    bar: tqdm,
) -> dict[str, torch.Tensor]:
    """Train to the last step; return the losses of its update, means over its batches, or none if no step was left."""
    accelerator, progress, args = state.accelerator, state.progress, state.args
    losses, of_batches = {}, []
    state.model.train()
    # The checkpoint of a shorter run was saved after its last step, which is not evaluated here.
    evaluate_if_due(state, evaluate)
    while progress.step < state.total_steps:
        state.loader.set_epoch(progress.epoch)
        batches = accelerator.skip_first_batches(state.loader, progress.batch) if progress.batch else state.loader
        for batch in batches:
            of_batches.append(train_step(state, batch))
            progress.batch += 1
            if not accelerator.sync_gradients:
                continue
            losses = {name: torch.stack([each[name] for each in of_batches]).mean() for name in of_batches[0]}
            of_batches = []
            progress.step += 1
            bar.update()
            if progress.batch == len(state.loader):
                progress.epoch, progress.batch = progress.epoch + 1, 0
            if progress.step % args.logging_steps == 0 or progress.step == state.total_steps:
                log_step(state, losses, bar)
            # Before the checkpoint: a run that is killed in between evaluates again when it is resumed.
            evaluate_if_due(state, evaluate)
            if args.save_steps and progress.step % args.save_steps == 0:
                require_finite_weights(state)
                folder, needed = Path(args.output_dir), checkpoint_bytes(state.model)
                if isinstance(state.rows, StreamRows):
                    progress.stream = gather_object([state.rows.position(progress.epoch)])
                save_checkpoint(accelerator, state.model, folder, progress, state.fixed, args.save_total_limit, needed)
                if on_save:
                    on_save(progress.step)
            if progress.step == state.total_steps:
                break
    return losses


def evaluate_if_due(state: TrainingState, evaluate: Callable[[], dict] | None) -> None:
    """
    Evaluate and log the metrics, but not after the last update.

    This is done every `eval_steps` updates; without them after an epoch, if a tenth of the run has passed since the
    last time. Of little data an epoch is a few updates, and hundreds of evaluations would take longer than training.
    """
    progress, args = state.progress, state.args
    if args.eval_steps:
        due = progress.step % args.eval_steps == 0
    else:
        passed = progress.step - progress.evaluated_step
        due = progress.batch == 0 and passed * MOST_EVALUATIONS >= state.total_steps
    if not evaluate or not due or progress.step in (progress.evaluated_step, state.total_steps):
        return
    require_finite_weights(state)
    log_evaluation(state, evaluate())
    progress.evaluated_step = progress.step
    state.model.train()


def train_step(state: TrainingState, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Train on one batch and, at the end of an accumulation, update. Return the loss and its terms."""
    accelerator, args = state.accelerator, state.args
    for group in state.optimizer.param_groups:
        group["lr"] = state.learning_rate(state.progress.step)
    with accelerator.accumulate(state.model):
        output = state.model(**batch, return_loss=True)
        # accelerate divides by gradient_accumulation_steps, also in the last group of an epoch, which may be smaller.
        accelerator.backward(output.loss * (args.gradient_accumulation_steps / batches_of_update(state)))
        if accelerator.sync_gradients and args.max_grad_norm:
            accelerator.clip_grad_norm_(state.model.parameters(), args.max_grad_norm)
        state.optimizer.step()
        state.optimizer.zero_grad()
        if accelerator.sync_gradients:
            inner = unwrap_lora(accelerator.unwrap_model(state.model))
            inner.clamp_logit_scale()
            if uses_deepspeed(accelerator):
                keep_value(inner.logit_scale)
    return {name: output[name].detach() for name in LOSSES if output.get(name) is not None}


def batches_of_update(state: TrainingState) -> int:
    """Return how many batches the current update averages: fewer at the end of an epoch if they do not divide it."""
    full = state.args.gradient_accumulation_steps
    return min(full, len(state.loader) - state.progress.batch // full * full)


def require_finite_weights(state: TrainingState) -> None:
    """
    Raises:
        UsageError: training diverged, so the weights are worth neither a checkpoint nor a model.
    """
    # All processes have the same weights and therefore stop together.
    if not all(parameter.isfinite().all() for parameter in state.model.parameters() if parameter.requires_grad):
        raise UsageError(f"The weights are not finite after step {state.progress.step}: {likely_remedy(state)}.")


def likely_remedy(state: TrainingState) -> str:
    """Return what most likely helps against a loss or weights that are not finite."""
    args = state.args
    if args.adam_epsilon < SMALLEST_EPSILON:
        return f"raise --adam_epsilon {args.adam_epsilon}, which is likely too small (the default is 1e-08)"
    if state.accelerator.mixed_precision == "fp16":
        return "use --bf16 in place of --fp16, or lower --learning_rate"
    return "lower --learning_rate" + ("" if args.max_grad_norm else ", or set --max_grad_norm 1.0")


def log_step(state: TrainingState, losses: dict[str, torch.Tensor], bar: tqdm) -> None:
    values = {f"train/{name}": value.item() for name, value in losses.items()}
    if not math.isfinite(values["train/loss"]):
        step, remedy = state.progress.step, likely_remedy(state)
        # The weights of this loss are those that the model was loaded with.
        if step == 1:
            remedy = "the preprocessing (image_mean, image_std) is likely at fault, or --fp16, if it is on"
        raise UsageError(f"The loss is {values['train/loss']} at step {step}: {remedy}.")
    model = unwrap_lora(state.accelerator.unwrap_model(state.model))
    values["train/logit_scale"] = model.logit_scale.item()
    values["train/learning_rate"] = state.learning_rate(state.progress.step - 1)
    if state.steps_per_epoch:
        values["train/epoch"] = state.progress.step / state.steps_per_epoch
    log_values(state.accelerator, values, state.progress.step)
    bar.set_postfix(loss=f"{values['train/loss']:.4f}")


def log_evaluation(state: TrainingState, metrics: dict) -> None:
    values = {f"eval/{name}": metric["value"] for name, metric in metrics.items()}
    log_values(state.accelerator, values, state.progress.step)
    scores = ", ".join(
        f"{name} {metric['value']:.2%} (n={metric['count']:,}, chance {metric['chance']:.2%})"
        for name, metric in metrics.items()
    )
    if state.accelerator.is_main_process:
        tqdm.write(f"step {state.progress.step}: {scores}")
