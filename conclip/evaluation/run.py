"""`conclip evaluate`: score models on benchmarks, print the table and write the results."""

from __future__ import annotations

import json
import signal
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from conclip.atomic_write import writable_folder
from conclip.evaluation.arguments import EvaluationArguments, OutputArguments, parse_arguments
from conclip.folder_lock import in_use
from conclip.models.arguments import EncodingArguments, start_accelerator
from conclip.runtime import command_line, end_failed_run, for_user, return_large_blocks

if TYPE_CHECKING:
    from accelerate import Accelerator

    from conclip.evaluation.results import BenchmarkReport


def main(argv: list[str] | None = None) -> int:
    return_large_blocks()
    accelerator = None
    try:
        evaluation, computation, output = parse_arguments(argv)
        if evaluation.benchmarks == ["list"]:
            from dataset_scripts.benchmarks.registry import list_benchmarks

            print(list_benchmarks())
            return 0
        accelerator = start_accelerator(computation.mixed_precision)
        command = command_line("evaluate", argv, accelerator.num_processes)
        with in_use(writable_folder(output.output_dir)):
            run(evaluation, computation, output, accelerator, command)
    except KeyboardInterrupt:
        # The process only has to end now: a second Ctrl-C would interrupt that with a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        message = "\nInterrupted. The embeddings computed so far are cached; the same command continues from them."
        return end_failed_run(message, 130, accelerator, main_process_only=True)
    except Exception as error:
        if found := for_user(error):
            return end_failed_run(f"Error: {found}", 1, accelerator)
        # In the main process this may be the consequence of another process's error, which is printed first.
        if accelerator and accelerator.num_processes > 1:
            end_failed_run(traceback.format_exc(), 1, accelerator, wait=True)
        raise
    accelerator.end_training()
    return 0


def run(
    evaluation: EvaluationArguments,
    computation: EncodingArguments,
    output: OutputArguments,
    accelerator: Accelerator,
    command: str,
) -> None:
    # Imported late: --help and a mistyped option are answered without these libraries.
    from conclip.atomic_write import write_atomically
    from conclip.evaluation.benchmarking import evaluate_models
    from conclip.evaluation.card import checked_card, fill_card_with_benchmarks
    from conclip.evaluation.results import FIGURE_FILE, RESULTS_FILE
    from conclip.evaluation.table import model_labels

    output_dir = Path(output.output_dir)
    card = Path(output.model_card) if output.model_card else None
    if card:
        # A damaged card is found now, not after all the work.
        checked_card(card)
    names = evaluation.model_name_or_path
    report = evaluate_models(
        dict(zip(model_labels(names), names, strict=True)),
        evaluation.benchmarks,
        evaluation.data_dir,
        allow_missing_images=evaluation.allow_missing_images,
        preprocessing=evaluation.preprocessing,
        clean_text=evaluation.clean_text,
        query_arithmetic=evaluation.query_arithmetic or (),
        query_arithmetic_beta=evaluation.query_arithmetic_beta,
        query_arithmetic_anchor_weight=evaluation.query_arithmetic_anchor_weight,
        seed=evaluation.seed,
        revision=evaluation.revision,
        batch_size=computation.per_device_eval_batch_size,
        num_workers=computation.dataloader_num_workers,
        cache_dir=computation.embedding_cache_dir,
        samples_dir=output_dir / "samples" if output.log_samples else None,
        command=command,
        accelerator=accelerator,
    )
    if not accelerator.is_main_process:
        return
    print(f"\n{report}\n")
    write_report(report, output_dir)
    print(f"Written: {output_dir / RESULTS_FILE}, {output_dir / FIGURE_FILE}")
    if card:
        label = report.labels[-1]
        write_atomically(card, fill_card_with_benchmarks(checked_card(card), report, label).encode())
        print(f"Results of {label} written into {card}")


def write_report(report: BenchmarkReport, output_dir: Path) -> None:
    """
    Write benchmarks.json and benchmarks.png.

    Raises:
        WriteError: the folder cannot be made or written to.
        ValueError: a score is not finite.
    """
    from conclip.atomic_write import write_atomically
    from conclip.evaluation.plots import plot_benchmarks
    from conclip.evaluation.results import FIGURE_FILE, RESULTS_FILE

    content = json.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(output_dir / RESULTS_FILE, content.encode())
    plot_benchmarks(report, output_dir / FIGURE_FILE)
