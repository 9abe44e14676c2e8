"""`conclip reproduce`: train and score the models of the paper's tables, and compare with the published numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from conclip.atomic_write import writable_folder, write_atomically
from conclip.cli import Parser, option
from conclip.errors import UsageError
from conclip.evaluation.paper_tables import (
    BASES,
    CCNEG,
    LOSSES,
    TABLES,
    Row,
    Scores,
    Table,
    compare,
    format_comparison,
)
from conclip.folder_lock import in_use
from conclip.runtime import run_command

REPORT_FILE, STEPS_FILE = "reproduction.json", "steps.json"


@dataclass
class ReproduceArguments:
    tables: list[str] = option(
        ["ablation"],
        "tables to make; ablation: terms of the loss; sugarcrepe: its parts, and CC-Neg; zero-shot: gain over CLIP",
        choices=tuple(TABLES),
    )
    data_dir: str = option(
        "data", "folder with ccneg (of `conclip ccneg --strip_commas`) and the files of the benchmarks"
    )
    output_dir: str = option("outputs/reproduction", "folder for the models, their scores and reproduction.json")
    clip_b32: str = option(BASES["clip_b32"], "CLIP ViT-B/32, by folder or Hub id")
    clip_b16: str = option(BASES["clip_b16"], "CLIP ViT-B/16")
    clip_l14: str = option(BASES["clip_l14"], "CLIP ViT-L/14")
    per_device_train_batch_size: int = option(200, "training rows per batch; the paper's is 200", at_least=1)
    max_steps: int | None = option(None, "end each training after so many updates, to try the command", at_least=1)
    check: bool = option(False, "only say what is missing and what would run")


PARSER = Parser(
    {"Options": ReproduceArguments},
    prog="conclip reproduce",
    description=(
        "Train and score the models of CoN-CLIP's paper and print its tables beside the published numbers. The same "
        "command continues an interrupted run. ACCELERATE_MIXED_PRECISION=fp16 trains as the paper does."
    ),
    example="conclip reproduce --tables ablation sugarcrepe --data_dir data",
)


@dataclass(frozen=True)
class Step:
    """
    A command to run.

    Args:
        name: what it makes, below the output folder.
        words: the command, without `conclip`.
        result: the file whose existence shows that it was run.
    """

    name: str
    words: list[str]
    result: Path


def main(argv: list[str] | None = None) -> int:
    interrupted = "Interrupted. The same command continues after the steps that are finished."
    return run_command(lambda: run(*PARSER.parse(argv)), interrupted)


def run(arguments: ReproduceArguments, run_step: Callable[[list[str]], int] | None = None) -> None:
    """
    Run all steps that are not finished, and print and write the tables.

    Args:
        run_step: runs the words of a command and returns its exit status; by default in a new process.

    Raises:
        UsageError: files or weights are missing, a step fails, or the folder holds a run with other settings.
    """
    steps = list(steps_of(arguments))
    tables = {name: TABLES[name] for name in dict.fromkeys(arguments.tables)}
    if missing := list(missing_inputs(tables, arguments)):
        print("Missing:", *(f"- {sentence}" for sentence in missing), sep="\n", flush=True)
        raise UsageError(f"{len(missing)} files, datasets or models are missing: get them as the lines above say.")
    if arguments.check:
        print("Nothing is missing. Steps:", *(f"conclip {' '.join(step.words)}" for step in steps), sep="\n")
        return
    output_dir = writable_folder(arguments.output_dir)
    with in_use(output_dir):
        run_steps(steps, output_dir, run_step or in_new_process)
        report = {}
        for name, table in tables.items():
            scores = {row.model: read_scores(scores_file(output_dir, name, row)) for row in table.models}
            report[name] = compare(table, scores)
            print(f"\n{format_comparison(f'{name}: {table.title}, %', report[name])}")
        content = json.dumps({"settings": vars(arguments), "tables": report}, indent=2) + "\n"
        write_atomically(output_dir / REPORT_FILE, content.encode())
    print(f"\nWritten: {output_dir / REPORT_FILE}")


def steps_of(arguments: ReproduceArguments) -> Iterator[Step]:
    """Yield the trainings and evaluations of the tables in their order; a model of two tables is trained once."""
    output_dir, trained = Path(arguments.output_dir), set()
    for name in dict.fromkeys(arguments.tables):
        for row in TABLES[name].models:
            if row.loss is not None and row.model not in trained:
                trained.add(row.model)
                folder = output_dir / "models" / row.model
                yield Step(f"models/{row.model}", training(row, arguments, folder), folder / "results.json")
            result = scores_file(output_dir, name, row)
            model = weights_of(row, arguments) if row.loss is None else str(output_dir / "models" / row.model)
            words = ["evaluate", "--model_name_or_path", model, "--benchmarks", *TABLES[name].benchmarks]
            words += ["--data_dir", arguments.data_dir, "--output_dir", str(result.parent)]
            # The published numbers were computed with OpenAI's code.
            words += ["--preprocessing", "openai"]
            yield Step(f"scores/{name}/{row.model}", words, result)


def training(row: Row, arguments: ReproduceArguments, folder: Path) -> list[str]:
    """Return the command that trains the model of a row by the paper's recipe."""
    options = dict(
        zip(("image_to_text_weight", "text_to_image_weight", "distractor_weight"), LOSSES[row.loss], strict=True)
    )
    options |= {"dataset_name": str(Path(arguments.data_dir) / "ccneg"), "output_dir": str(folder)}
    options |= {"eval_split": "none", "per_device_train_batch_size": arguments.per_device_train_batch_size}
    if arguments.max_steps:
        options["max_steps"] = arguments.max_steps
    words = ["train", "--loss", "conclip", "--model_name_or_path", weights_of(row, arguments)]
    return words + [word for name, value in options.items() for word in (f"--{name}", str(value))]


def weights_of(row: Row, arguments: ReproduceArguments) -> str:
    return getattr(arguments, row.base)


def scores_file(output_dir: Path, table: str, row: Row) -> Path:
    return output_dir / "scores" / table / row.model / "benchmarks.json"


def missing_inputs(tables: dict[str, Table], arguments: ReproduceArguments) -> Iterator[str]:
    """Yield a sentence for each benchmark, dataset or model that cannot be read, before anything is run."""
    from conclip.evaluation.benchmarking import check_files
    from conclip.evaluation.items import ItemReader
    from conclip.hub import cache_alone, use_cache_without_network
    from dataset_scripts.benchmarks.registry import choose_benchmarks
    from dataset_scripts.benchmarks.scenes_and_ccneg import commas_are_stripped

    data_dir = Path(arguments.data_dir)
    bases = dict.fromkeys(row.base for table in tables.values() for row in table.models)
    use_cache_without_network([getattr(arguments, base) for base in bases])
    for base in bases:
        name = getattr(arguments, base)
        if not Path(name).is_dir() and (reason := absent_from_hub(name)):
            yield f"--{base} {name}: there is no such folder, and the Hub does not give it ({reason})."
    ccneg = data_dir / "ccneg"
    has_ccneg = any((ccneg / "data").glob("*train*.parquet"))
    if not has_ccneg:
        yield f"{ccneg} has no rows to train on: write it with `conclip ccneg --strip_commas`."
    elif not commas_are_stripped(ccneg):
        yield f"{ccneg} holds captions with commas, unlike the paper's: write it with `conclip ccneg --strip_commas`."
    for benchmark in choose_benchmarks(
        [*dict.fromkeys(name for table in tables.values() for name in table.benchmarks)]
    ):
        # It is said above; `datasets` would look for a dataset "ccneg" on the Hub and in its cache.
        if benchmark.name == CCNEG and not has_ccneg:
            continue
        try:
            # Nothing is downloaded before all is known.
            with cache_alone():
                check_files([ItemReader(benchmark, data_dir)])
        except UsageError as error:
            yield f"{benchmark.title}: {error}"


def absent_from_hub(name: str) -> str:
    """Return why the Hub, or its cache, does not give a model; "" if it does."""
    import huggingface_hub

    from conclip.errors import one_line

    try:
        huggingface_hub.hf_hub_download(name, "config.json")
    except Exception as error:  # the Hub's client and its HTTP library raise a dozen types
        return one_line(error)
    return ""


def run_steps(steps: list[Step], output_dir: Path, run_step: Callable[[list[str]], int]) -> None:
    """
    Run the steps that are not finished.

    Raises:
        UsageError: a step fails, or was run with another command.
    """
    path = output_dir / STEPS_FILE
    finished = read_finished(path)
    for number, step in enumerate(steps, start=1):
        if finished.get(step.name, step.words) != step.words:
            raise UsageError(
                f"--output_dir {output_dir}: {step.name} was made with other settings (conclip "
                f"{' '.join(finished[step.name])}); choose another folder."
            )
        if step.name in finished and step.result.is_file():
            continue
        words = step.words
        if step.words[0] == "train" and any(step.result.parent.glob("checkpoint-*")):
            words = [*words, "--resume_from_checkpoint", "latest"]
        print(f"Step {number} of {len(steps)}: conclip {' '.join(words)}", flush=True)
        if status := run_step(words):
            raise UsageError(f"{step.name} ended with exit status {status}; the same command tries it again.")
        finished[step.name] = step.words
        write_atomically(path, (json.dumps(finished, indent=2) + "\n").encode())


def read_finished(path: Path) -> dict[str, list[str]]:
    """Return name of a finished step -> its command; no step if there is no file."""
    try:
        finished = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError, RecursionError):
        finished = None
    if not isinstance(finished, dict) or not all(isinstance(words, list) for words in finished.values()):
        raise UsageError(f"{path} is damaged; delete it to run all steps again.")
    return finished


def in_new_process(words: list[str]) -> int:
    """Run a command of `conclip` in a new process, which ends with this one; return its exit status."""
    process = subprocess.Popen([sys.executable, "-m", "conclip", *words])
    try:
        return process.wait()
    except KeyboardInterrupt:
        # Ctrl-C reaches the process as well, which tidies up.
        process.wait()
        raise
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def read_scores(path: Path) -> Scores:
    """
    Return the scores of the one model of a report, per cent: the headline of each benchmark, and its parts.

    Raises:
        UsageError: the file is not a report of one model.
    """
    from conclip.evaluation.results import read_report

    try:
        report = read_report(path)
        (label,) = report.labels
    except ValueError as error:
        raise UsageError(f"{path} is damaged; delete it to score the model again.") from error
    headlines = {row.benchmark: row for row in report.headlines}
    scores = {
        (row.benchmark, row.part): row.values[label] * 100
        for row in report.rows
        if row.metric == headlines[row.benchmark].metric
    }
    return scores | {(name, ""): row.values[label] * 100 for name, row in headlines.items()}
