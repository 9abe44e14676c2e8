"""
Tune a CLIP to understand negation (CoN-CLIP, arXiv 2403.20312), on one process or many.

The embedded default, a small CLIP on drawn scenes, about five minutes on two cores:

    accelerate launch train_accelerate.py

The paper's recipe, on CC-Neg (`python -m dataset_scripts.ccneg` writes the folder):

    accelerate launch --multi_gpu --mixed_precision fp16 train_accelerate.py \\
        --model_name_or_path openai/clip-vit-base-patch32 --dataset_name ccneg --output_dir conclip-vit-base-patch32

Writes to --output_dir the model, results.json, scores.png, README.md (the model card) and metrics.jsonl.
"""

import os
import shlex
import sys
import traceback
from dataclasses import asdict
from functools import partial
from pathlib import Path

from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import set_seed
from datasets import Dataset
from peft import LoraConfig

from conclip.atomic_write import writable_folder
from conclip.data import load_split
from conclip.embedding.images import ImageEmbedder, embedding_cache_dir
from conclip.embedding.texts import cached_tokens
from conclip.errors import UsageError
from conclip.hub import create_repository, push, use_cache_without_network
from conclip.models.clip import add_lora, load_model, save_model, text_tokenizer, unwrap_lora
from conclip.runtime import end_failed_run, return_large_blocks, software_versions, use_all_cores
from conclip.training.arguments import Arguments, parse_arguments
from conclip.training.checkpoints import find_checkpoint, list_checkpoints, require_no_checkpoints
from conclip.training.collator import PairCollator
from conclip.training.evaluator import Evaluator
from conclip.training.loop import compiles, prepare_training, require_full_batch, train
from conclip.training.pair_dataset import PairRows
from conclip.training.report import format_table, table_rows, verdict, write_report
from conclip.training.scenes_base import base_clip
from conclip.training.trackers import JsonlTracker
from dataset_scripts.scenes import load_scenes

MODEL_CARD = Path(__file__).with_name("model_card.md")


def main(argv: list[str] | None = None) -> int:
    return_large_blocks()
    accelerator = output_dir = None
    try:
        arguments = parse_arguments(argv)
        output_dir = writable_folder(arguments.training.output_dir)
        accelerator = make_accelerator(arguments, output_dir)
        run(arguments, accelerator, output_dir)
    except UsageError as error:
        return end_failed_run(f"Error: {error}", 1, accelerator)
    except KeyboardInterrupt:
        again = "the same command"
        if output_dir and list_checkpoints(output_dir):
            again += " with --resume_from_checkpoint latest"
        # It reaches all processes.
        message = f"\nInterrupted. Nothing half written; {again} goes on from here."
        return end_failed_run(message, 130, accelerator, main_process_only=True)
    except Exception:
        # The main process may only have lost its peer, which says why.
        if accelerator and accelerator.num_processes > 1:
            end_failed_run(traceback.format_exc(), 1, accelerator, wait=True)
        raise
    accelerator.end_training()
    return 0


def make_accelerator(arguments: Arguments, output_dir: Path) -> Accelerator:
    training = arguments.training
    trackers = [JsonlTracker(output_dir / "metrics.jsonl") if name == "jsonl" else name for name in training.report_to]
    accelerator = Accelerator(
        mixed_precision=training.mixed_precision,
        log_with=trackers,
        project_dir=output_dir,
        # The schedule counts updates, whatever the number of processes.
        step_scheduler_with_optimizer=False,
        dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True, non_blocking=True),
    )
    if arguments.model.model_name_or_path is not None:
        use_all_cores(accelerator)
    # The simple launcher gives its one process an address to meet others at, but no number of processes.
    if accelerator.num_processes == 1 and "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ:
        accelerator.print(
            "Warning: one process runs, though the launcher was asked for several (`accelerate launch --cpu` does "
            "that); on CPU use `torchrun --nproc_per_node N train_accelerate.py`."
        )
    return accelerator


def run(arguments: Arguments, accelerator: Accelerator, output_dir: Path) -> None:
    training = arguments.training
    check_folder_and_hub(arguments, accelerator, output_dir)
    with accelerator.main_process_first():
        train_split, eval_split = load_splits(arguments)
    base = arguments.model.model_name_or_path or str(
        base_clip(accelerator, output_dir.parent, arguments.data.dataloader_num_workers)
    )
    set_seed(training.seed)
    model, processor = load_model(
        base,
        arguments.model.revision,
        image_to_text_weight=arguments.model.image_to_text_weight,
        text_to_image_weight=arguments.model.text_to_image_weight,
        distractor_weight=arguments.model.distractor_weight,
        freeze_image_encoder=not arguments.model.train_image_encoder,
    )
    if arguments.model.use_lora:
        lora = arguments.model
        model = add_lora(
            model,
            LoraConfig(
                r=lora.lora_rank,
                lora_alpha=lora.lora_alpha,
                lora_dropout=lora.lora_dropout,
                target_modules=lora.lora_target_modules,
            ),
        )
    cache_dir = embedding_cache_dir(arguments.data.embedding_cache_dir)
    tokenize = cached_tokens(text_tokenizer(unwrap_lora(model), processor), cache_dir / "texts")
    collator = PairCollator(
        processor.image_processor, training.mini_batch_size, static_shapes=compiles(training, accelerator)
    )
    rows = PairRows(train_split, arguments, tokenize)
    require_full_batch(rows, arguments, accelerator)
    model.to(accelerator.device)
    embedder = ImageEmbedder(
        processor.image_processor,
        accelerator,
        training.per_device_eval_batch_size,
        arguments.data.dataloader_num_workers,
        cache_dir,
    )
    evaluator = before = None
    if eval_split is not None:
        evaluator = Evaluator(eval_split, arguments, embedder, tokenize)
        # Adapters start as nothing: this is the base model's score.
        before = evaluator(unwrap_lora(model))
    if unwrap_lora(model).image_encoder_is_frozen:
        # CLIP's preprocessing has no randomness: an image has the same embedding in every epoch.
        rows.use_tensors("image_embeds", partial(embedder, unwrap_lora(model).eval()))
    accelerator.init_trackers("conclip", config=tracker_config(arguments))
    state = prepare_training(model, rows, collator, arguments, accelerator)
    announce(arguments, accelerator, state.total_steps, len(rows))
    statistics = train(state, evaluator)
    model = accelerator.unwrap_model(state.model, keep_fp32_wrapper=False)
    after = evaluator(unwrap_lora(model)) if evaluator else None
    if accelerator.is_main_process:
        saved = save_model(model, processor, output_dir)
        accelerator.print(f"Model: {output_dir}")
        if evaluator:
            report(arguments, accelerator, base, processor, before, after, statistics)
        if training.push_to_hub:
            push(training.hub_model_id, output_dir, type(saved).__name__)
    accelerator.wait_for_everyone()


def check_folder_and_hub(arguments: Arguments, accelerator: Accelerator, output_dir: Path) -> None:
    """
    Raises:
        UsageError: nothing to resume from, or what another run left in the way; no right to push.
    """
    training = arguments.training
    if training.resume_from_checkpoint:
        find_checkpoint(output_dir, training.resume_from_checkpoint)
    else:
        require_no_checkpoints(output_dir)
    use_cache_without_network([arguments.model.model_name_or_path, arguments.data.dataset_name])
    if training.push_to_hub and accelerator.is_main_process:
        create_repository(training.hub_model_id)


def load_splits(arguments: Arguments) -> tuple[Dataset, Dataset | None]:
    data = arguments.data

    def load(split: str, max_samples: int | None) -> Dataset:
        if data.dataset_name is None:
            dataset = load_scenes(split)
            return dataset if max_samples is None else dataset.select(range(min(max_samples, len(dataset))))
        return load_split(data.dataset_name, data.dataset_config_name, split, max_samples)

    train_split = load(data.train_split_name, data.max_train_samples)
    if data.eval_split_name == "none":
        return train_split, None
    return train_split, load(data.eval_split_name, data.max_eval_samples)


def tracker_config(arguments: Arguments) -> dict:
    """Flat, of the types every tracker takes."""
    values = {name: value for part in vars(arguments).values() for name, value in asdict(part).items()}
    return {name: value if isinstance(value, int | float | str) else str(value) for name, value in values.items()}


def announce(arguments: Arguments, accelerator: Accelerator, total_steps: int, num_rows: int) -> None:
    training = arguments.training
    batch = training.per_device_train_batch_size * accelerator.num_processes
    accelerator.print(
        f"Tuning with the {arguments.model.loss} loss: {num_rows:,} rows, {total_steps:,} updates, "
        f"{batch} rows a loss on {accelerator.num_processes} process(es), "
        f"mixed precision {accelerator.mixed_precision}."
    )
    if training.gradient_accumulation_steps > 1:
        accelerator.print(
            f"An update sums {training.gradient_accumulation_steps} losses; each still has the negatives of its own "
            f"{batch} rows only."
        )


def report(arguments, accelerator, base, processor, before, after, statistics) -> None:
    output_dir = Path(arguments.training.output_dir)
    dataset = arguments.data.dataset_name or "scenes"
    (before, margins_before), (after, margins_after) = before, after
    rows = table_rows(before, after)
    launcher = f"--num_processes {accelerator.num_processes} " if accelerator.num_processes > 1 else ""
    results = {
        "title": f"{dataset}, {arguments.data.eval_split_name} split: before and after {arguments.model.loss} loss",
        "base_model": base,
        "dataset": dataset,
        "split": arguments.data.eval_split_name,
        "before": before,
        "after": after,
        "verdict": verdict(rows, arguments.model.loss),
        "training": statistics,
        "num_processes": accelerator.num_processes,
        "mixed_precision": accelerator.mixed_precision,
        "image_processor": type(processor.image_processor).__name__,
        "command": f"accelerate launch {launcher}{shlex.join(sys.argv)}",
        "arguments": {name: asdict(part) for name, part in vars(arguments).items()},
        "versions": software_versions(),
    }
    write_report(results, {"before": margins_before, "after": margins_after}, MODEL_CARD, output_dir)
    accelerator.print(f"\n{format_table(rows, results['title'])}\n\n{results['verdict']}")
    accelerator.print(f"A tie counts as an error. Scores: {output_dir / 'scores.png'}, {output_dir / 'results.json'}")


if __name__ == "__main__":
    sys.exit(main())
