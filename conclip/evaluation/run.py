"""Scores models on benchmarks: the work of `evaluate/run_benchmarks.py`."""

import json
import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from conclip.atomic_write import WriteError, reporting_write_errors, writable_folder, write_atomically
from conclip.errors import UsageError
from conclip.evaluation.arguments import EvaluationArguments, parse_arguments
from conclip.evaluation.card import fill_card_with_benchmarks
from conclip.evaluation.items import ItemReader
from conclip.evaluation.models import Loaded, load_scorers
from conclip.evaluation.plots import draw_benchmarks
from conclip.evaluation.pools import score_classes, score_retrieval
from conclip.evaluation.results import PICTURE_FILE, RESULTS_FILE, BenchmarkReport, Line
from conclip.evaluation.scorers import EmbeddingScorer
from conclip.evaluation.scoring import Record, Score, score_items
from conclip.evaluation.table import format_table, model_labels
from conclip.hub import cache_alone, use_cache_without_network
from conclip.model_cards import BENCHMARKS_END, BENCHMARKS_START, read_card, replace_section
from conclip.runtime import end_failed_run, return_large_blocks, software_versions, use_all_cores
from dataset_scripts.benchmarks.registry import choose_benchmarks, list_benchmarks
from dataset_scripts.benchmarks.schema import Kind


def main(argv: list[str] | None = None) -> int:
    return_large_blocks()
    accelerator = None
    try:
        arguments = parse_arguments(argv)
        if arguments.benchmarks == ["list"]:
            print(list_benchmarks())
            return 0
        accelerator = Accelerator(mixed_precision=arguments.mixed_precision)
        use_all_cores(accelerator)
        run(arguments, accelerator)
    except (UsageError, WriteError) as error:
        return end_failed_run(f"Error: {error}", 1, accelerator)
    except KeyboardInterrupt:
        # What is left to be done is to end: a second Ctrl-C would only break that off with a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        message = "\nInterrupted. The embeddings computed so far are kept; the same command goes on from them."
        return end_failed_run(message, 130, accelerator, main_process_only=True)
    except Exception:
        # The main process may only have lost its peer, which says why.
        if accelerator and accelerator.num_processes > 1:
            end_failed_run(traceback.format_exc(), 1, accelerator, wait=True)
        raise
    accelerator.end_training()
    return 0


def run(arguments: EvaluationArguments, accelerator: Accelerator) -> None:
    started, data_dir = time.perf_counter(), Path(arguments.data_dir)
    output_dir = writable_folder(arguments.output_dir)
    if arguments.model_card:
        # Found now, not after all the work.
        checked_card(Path(arguments.model_card))
    use_cache_without_network([*arguments.model])
    readers = [
        ItemReader(benchmark, data_dir, arguments.allow_missing, arguments.seed)
        for benchmark in choose_benchmarks(arguments.benchmarks)
    ]
    if arguments.benchmarks == ["all"]:
        readers = [reader for reader in readers if is_there(reader, accelerator)]
    check_files(readers)
    lines, told = {}, {}
    for name, label in zip(arguments.model, model_labels(arguments.model), strict=True):
        for loaded in load_scorers(name, label, arguments, accelerator):
            if loaded.label in told:
                raise UsageError(f"--model {name}: the table has a column {loaded.label} already; rename a folder.")
            told[loaded.label] = loaded.told
            if warning := loaded.told.get("warning"):
                accelerator.print(f"Warning: {warning}")
            for reader in readers:
                accelerator.print(f"{loaded.label}: {reader.benchmark.title}")
                path = output_dir / "items" / folder_name(loaded.label) / f"{reader.benchmark.name}.jsonl"
                wanted = arguments.save_items and accelerator.is_main_process
                add_scores(lines, reader, loaded.label, score(reader, loaded, path if wanted else None))
    if not accelerator.is_main_process:
        return
    for line in lines.values():
        # Of a model that has no such score.
        line.values.update({label: None for label in told if label not in line.values})
    report = BenchmarkReport(
        lines=[*lines.values()],
        models=told,
        versions=software_versions(),
        seed=arguments.seed,
        arguments=asdict(arguments),
        command=command_line(accelerator),
        seconds=time.perf_counter() - started,
    )
    print(f"\n{format_table(report.lines, list(told))}\n")
    write_report(report, output_dir)
    print(f"A tie counts as an error. Written: {output_dir / 'benchmarks.json'}, {output_dir / 'benchmarks.png'}")
    if arguments.model_card:
        card = Path(arguments.model_card)
        write_atomically(card, fill_card_with_benchmarks(checked_card(card), report, list(told)[-1]).encode())
        print(f"Results of {list(told)[-1]} written into {arguments.model_card}")


def write_report(report: BenchmarkReport, output_dir: Path) -> None:
    """
    benchmarks.json and benchmarks.png, each whole or not at all.

    Raises:
        WriteError: the folder cannot be made or written to.
        ValueError: a number is not finite.
    """
    content = json.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(output_dir / RESULTS_FILE, content.encode())
    draw_benchmarks(report, output_dir / PICTURE_FILE)


def checked_card(path: Path) -> str:
    """
    Its text.

    Raises:
        UsageError: results cannot be written into it.
    """
    try:
        text = path.read_text("utf-8")
        read_card(text)
        if BENCHMARKS_START in text:
            replace_section(text, BENCHMARKS_START, BENCHMARKS_END, "")
    except (OSError, ValueError) as error:
        raise UsageError(f"--model_card {path}: {error}") from error
    return text


def folder_name(label: str) -> str:
    """Another for each label, below whatever folder it is put."""
    return label.replace("%", "%25").replace("/", "%2F")


def command_line(accelerator: Accelerator) -> str:
    launcher = f"accelerate launch --num_processes {accelerator.num_processes}"
    return f"{launcher if accelerator.num_processes > 1 else 'python'} {shlex.join(sys.argv)}"


def is_there(reader: ItemReader, accelerator: Accelerator) -> bool:
    """Whether it has an item to begin with; says what is missing where it has none."""
    try:
        # ImageNet and its like are not fetched because somebody wants to see what there is.
        with cache_alone():
            next(iter(reader))
    except UsageError as error:
        accelerator.print(f"Not run: {reader.benchmark.name}. {error}")
        return False
    return True


def check_files(readers: list[ItemReader]) -> None:
    """
    Before a model is loaded.

    Raises:
        UsageError: a file or image that is missing.
    """
    for reader in readers:
        for item in reader:
            # Images that came with their annotations are there.
            if not any(isinstance(image, str) for image in item["images"]):
                break


def score(reader: ItemReader, loaded: Loaded, items_path: Path | None) -> list[Score]:
    """
    Args:
        items_path: where to put down what each item scored; `None` for nowhere.
    """
    kind, scorer = reader.benchmark.kind, loaded.scorer
    if kind in (Kind.RETRIEVAL, Kind.CLASSES):
        if not isinstance(scorer, EmbeddingScorer):
            return []
        return score_retrieval(reader, scorer) if kind is Kind.RETRIEVAL else score_classes(reader, scorer)
    if items_path is None:
        return score_items(reader, scorer)
    with writing_items(items_path) as record:
        return score_items(reader, scorer, record)


@contextmanager
def writing_items(path: Path) -> Iterator[Record]:
    """A file of JSON lines, there whole or not at all."""
    unfinished = path.with_name(f"unfinished-{path.name}")
    with reporting_write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = unfinished.open("w", encoding="utf-8")

    def record(items: list[dict], scores: list[np.ndarray]) -> None:
        with reporting_write_errors(path.parent):
            for item, own in zip(items, scores, strict=True):
                line = {"id": item["id"], "category": item["category"], "answer": item["answer"]}
                file.write(json.dumps({**line, "scores": own.tolist()}) + "\n")

    try:
        yield record
        with reporting_write_errors(path.parent):
            file.close()
            os.replace(unfinished, path)
    finally:
        with suppress(OSError):
            file.close()
        unfinished.unlink(missing_ok=True)


def add_scores(lines: dict[tuple, Line], reader: ItemReader, label: str, scores: list[Score]) -> None:
    """Beside those of other models."""
    benchmark = reader.benchmark
    for score in scores:
        line = lines.setdefault(
            (benchmark.name, score.metric, score.part),
            Line(
                benchmark=benchmark.name,
                title=benchmark.title,
                split=benchmark.split,
                metric=score.metric,
                part=score.part,
                headline=score.headline,
                count=score.count,
                chance=score.chance,
                left_out=score.left_out,
                values={},
                ties={},
            ),
        )
        line.values[label], line.ties[label] = score.value, score.ties
