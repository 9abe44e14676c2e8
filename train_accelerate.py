"""
Tune a CLIP to understand negation (CoN-CLIP, arXiv 2403.20312), on one process or many.

The embedded default, a small CLIP on drawn scenes, about six minutes on two cores:

    accelerate launch train_accelerate.py

The paper's recipe, on CC-Neg (`python -m dataset_scripts.ccneg` writes the folder):

    accelerate launch --multi_gpu --mixed_precision fp16 train_accelerate.py \\
        --model_name_or_path openai/clip-vit-base-patch32 --dataset_name ccneg --output_dir conclip-vit-base-patch32

Writes to --output_dir the model, results.json, scores.png, README.md (the model card) and metrics.jsonl.
"""

import shlex
import sys
from dataclasses import asdict
from pathlib import Path

from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import set_seed
from huggingface_hub import HfApi

from conclip_training.arguments import Arguments, UsageError, parse_arguments
from conclip_training.base_clip import base_clip
from conclip_training.checkpoints import list_checkpoints
from conclip_training.data import PairRows, load_split
from conclip_training.evaluation import Evaluator
from conclip_training.loop import prepare_training, train
from conclip_training.models import add_lora, conclip_of, load_model, max_text_length, save_model
from conclip_training.report import format_table, software_versions, table_rows, verdict, write_report
from conclip_training.trackers import JsonlTracker
from dataset_scripts.collate import PairCollator

MODEL_CARD = Path(__file__).with_name("model_card.md")


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    output_dir = Path(arguments.training.output_dir)
    accelerator = make_accelerator(arguments, output_dir)
    try:
        run(arguments, accelerator, output_dir)
    except UsageError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        checkpoints = list_checkpoints(output_dir)
        advice = "the same command with --resume_from_checkpoint latest" if checkpoints else "the same command"
        accelerator.print(f"\nInterrupted. Nothing half written; {advice} goes on from here.", file=sys.stderr)
        return 130
    finally:
        accelerator.end_training()
    return 0


def make_accelerator(arguments: Arguments, output_dir: Path) -> Accelerator:
    output_dir.mkdir(parents=True, exist_ok=True)
    training = arguments.training
    trackers = [JsonlTracker(output_dir / "metrics.jsonl") if name == "jsonl" else name for name in training.report_to]
    return Accelerator(
        mixed_precision=training.mixed_precision,
        log_with=trackers,
        project_dir=output_dir,
        # The schedule counts updates, whatever the number of processes.
        step_scheduler_with_optimizer=False,
        dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True, data_seed=training.seed),
    )


def run(arguments: Arguments, accelerator: Accelerator, output_dir: Path) -> None:
    data, training = arguments.data, arguments.training
    with accelerator.main_process_first():
        train_split = load_split(data, data.train_split_name, data.max_train_samples)
        eval_split = None
        if data.eval_split_name != "none":
            eval_split = load_split(data, data.eval_split_name, data.max_eval_samples)
    base = arguments.model.model_name_or_path or str(
        base_clip(accelerator, train_split, output_dir.parent, data.dataloader_num_workers)
    )
    set_seed(training.seed)
    model, processor = load_model(arguments.model, base)
    collator = PairCollator(processor, max_text_length(model))
    rows = PairRows(train_split, arguments)
    evaluator = before = None
    if eval_split is not None:
        evaluator = Evaluator(eval_split, collator, arguments, accelerator)
        model.to(accelerator.device)
        before = evaluator(model)
    if arguments.model.use_lora:
        model = add_lora(model, arguments.model)
    accelerator.init_trackers("conclip", config=tracker_config(arguments))
    state = prepare_training(model, rows, collator, arguments, accelerator)
    announce(arguments, accelerator, state.total_steps, len(rows))
    statistics = train(state, evaluator)
    model = accelerator.unwrap_model(state.model, keep_fp32_wrapper=False)
    after = evaluator(conclip_of(model)) if evaluator else None
    if accelerator.is_main_process:
        saved = save_model(model, processor, output_dir)
        accelerator.print(f"Model: {output_dir}")
        if evaluator:
            report(arguments, accelerator, base, processor, before, after, statistics)
        if training.push_to_hub:
            push(training.hub_model_id, output_dir, saved)
    accelerator.wait_for_everyone()


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


def push(hub_model_id: str, output_dir: Path, model) -> None:
    """Uploads what `from_pretrained` needs, the card and the results; no checkpoint."""
    api = HfApi()
    api.create_repo(hub_model_id, exist_ok=True)
    api.upload_folder(
        repo_id=hub_model_id,
        folder_path=output_dir,
        ignore_patterns=["checkpoint-*", "unfinished-*", "conclip/*", "metrics.jsonl"],
        commit_message=f"Upload {type(model).__name__}",
    )
    print(f"Pushed to https://huggingface.co/{hub_model_id}")


if __name__ == "__main__":
    sys.exit(main())
