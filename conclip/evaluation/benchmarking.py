"""Score models on benchmarks, from Python; `conclip evaluate` calls the same functions."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from accelerate import Accelerator
from transformers import PreTrainedModel, ProcessorMixin

from conclip.atomic_write import reporting_write_errors, written_beside
from conclip.embedding.images import check_cache_dir, embedding_cache_dir
from conclip.errors import UsageError
from conclip.evaluation.arguments import PREPROCESSINGS
from conclip.evaluation.items import ItemReader
from conclip.evaluation.query_encoder import ANCHOR_WEIGHT, BETA, RULES, QueryEncoder
from conclip.evaluation.results import BenchmarkReport
from conclip.evaluation.score import Record, Score
from conclip.evaluation.scorers import EmbeddingScorer, MatchingScorer, Scorer
from conclip.evaluation.scoring import can_score, score_benchmark
from conclip.evaluation.table import ScoreRow
from conclip.hub import cache_alone, use_cache_without_network
from conclip.models.loading import LoadedModel, load_encoders, wrap_encoders
from conclip.public_names import public_name
from conclip.runtime import software_versions
from dataset_scripts.benchmarks.registry import choose_benchmarks
from dataset_scripts.benchmarks.schema import Benchmark

# A folder or Hub id, or a model in memory with its processor.
Model = str | tuple[PreTrainedModel, ProcessorMixin]


def evaluate_model(
    model: PreTrainedModel | str,
    processor: ProcessorMixin | None = None,
    benchmarks: Sequence[str] = ("scenes",),
    data_dir: str = "data",
    *,
    name: str = "model",
    **settings,
) -> BenchmarkReport:
    """
    Score one model on benchmarks.

    Args:
        model: a CLIP or ConCLIP model (or SigLIP, ALIGN, Chinese-CLIP, …) in memory, or a folder or Hub id. A model in
            memory is moved to the GPU if there is one; its training mode is restored afterwards.
        processor: the processor of a model in memory.
        benchmarks: names of benchmarks or beginnings of names, as `--benchmarks` takes them.
        data_dir: folder with the annotation files and images of the benchmarks; the scenes need none.
        name: name of the model in the table.
        settings: further parameters of `evaluate_models`.

    Returns:
        The report: `print(report)` prints the table, `report.rows` are the scores.

    Raises:
        UsageError: an unknown benchmark, a missing file, or a model that cannot be loaded.

    Example:
        >>> model = ConCLIPModel.from_pretrained("outputs/conclip-scenes")
        >>> processor = AutoProcessor.from_pretrained("outputs/conclip-scenes")
        >>> print(evaluate_model(model, processor, benchmarks=["scenes"]))
    """
    if isinstance(model, str):
        return evaluate_models({name: model}, benchmarks, data_dir, **settings)
    if processor is None:
        raise UsageError("A model in memory needs its processor: evaluate_model(model, processor).")
    was_training = model.training
    try:
        return evaluate_models({name: (model, processor)}, benchmarks, data_dir, **settings)
    finally:
        model.train(was_training)


def evaluate_models(
    models: Mapping[str, Model],
    benchmarks: Sequence[str] = ("scenes",),
    data_dir: str = "data",
    *,
    allow_missing_images: bool = False,
    preprocessing: str = "transformers",
    clean_text: bool = True,
    query_arithmetic: Sequence[str] = (),
    query_arithmetic_beta: float = BETA,
    query_arithmetic_anchor_weight: float = ANCHOR_WEIGHT,
    seed: int = 0,
    revision: str | None = None,
    batch_size: int = 256,
    num_workers: int = 0,
    cache_dir: str | None = None,
    samples_dir: Path | None = None,
    command: str = "",
    accelerator: Accelerator | None = None,
) -> BenchmarkReport:
    """
    Score models on benchmarks, one model after the other.

    Args:
        models: label in the table -> a folder or Hub id, or a model in memory with its processor.
        benchmarks, data_dir: see `evaluate_model`.
        allow_missing_images: skip items whose image is missing.
        preprocessing: "transformers" for the image processor of each model; "openai" for the pixels of OpenAI's code,
            bit for bit, which needs CLIP models. Images are then not turned by their EXIF orientation.
        clean_text: clean the texts for CLIP models as OpenAI's tokenizer does.
        query_arithmetic: rules by which texts with negation are embedded, "ours" or "spacevlm", see `QueryEncoder`;
            each adds a column to each model.
        query_arithmetic_beta, query_arithmetic_anchor_weight: of the rule "ours", see `QueryArithmetic`.
        seed: seed of the benchmarks that sample.
        revision: branch, tag or commit of the models on the Hub.
        batch_size: number of images, or texts, per batch and process.
        num_workers: number of processes that decode and preprocess images, per process.
        cache_dir: folder that caches embeddings; by default conclip/embeddings in Hugging Face's cache.
        samples_dir: folder for the scores or ranks of single items and queries, one file per model and benchmark.
        command: the command that repeats the run, for the report.
        accelerator: decides device and precision; by default a new one.

    Raises:
        UsageError: an unknown benchmark or preprocessing, a missing file, a model that cannot be loaded, or an
            unwritable folder.
    """
    if preprocessing not in PREPROCESSINGS:
        raise UsageError(f"preprocessing={preprocessing!r}: it has to be one of {', '.join(PREPROCESSINGS)}.")
    if isinstance(query_arithmetic, str) or not set(query_arithmetic) <= set(RULES):
        raise UsageError(f"query_arithmetic={query_arithmetic!r}: it has to be a list of {', '.join(RULES)}.")
    rules = {
        rule: {"beta": query_arithmetic_beta, "anchor_weight": query_arithmetic_anchor_weight}
        if rule == "ours"
        else {}
        for rule in query_arithmetic
    }
    check_cache_dir(cache_dir)
    started = time.perf_counter()
    accelerator = accelerator or Accelerator()
    encoding = {
        "batch_size": batch_size,
        "num_workers": num_workers,
        "cache_dir": embedding_cache_dir(cache_dir),
        "preprocessing": preprocessing,
        "clean_text": clean_text,
    }
    use_cache_without_network([model for model in models.values() if isinstance(model, str)])
    readers = [
        ItemReader(benchmark, Path(data_dir), allow_missing_images, seed, as_stored=preprocessing == "openai")
        for benchmark in choose_benchmarks([*benchmarks])
    ]
    if [*benchmarks] == ["all"]:
        readers = [reader for reader in readers if has_items(reader, accelerator)]
    check_files(readers)
    rows: dict[tuple, ScoreRow] = {}
    descriptions: dict[str, dict] = {}
    for model_label, model in models.items():
        if isinstance(model, str):
            loaded = load_encoders(model, accelerator, revision=revision, **encoding)
        else:
            loaded = wrap_encoders(*model, accelerator, **encoding)
        for label, scorer in scorers_of(loaded, model_label, rules).items():
            if label in descriptions:
                raise UsageError(
                    f"--model_name_or_path {model_label}: the table already has a column {label}; rename a folder."
                )
            descriptions[label] = _for_report(loaded.description) | settings_of(scorer)
            if warning := loaded.description.get("warning"):
                accelerator.print(f"Warning: {warning}")
            for reader in readers:
                accelerator.print(f"{label}: {reader.benchmark.title}")
                path = samples_path(samples_dir, label, reader.benchmark, scorer, accelerator)
                with writing_samples(path) if path else nullcontext() as record:
                    scores = score_benchmark(reader, scorer, record)
                add_scores(rows, reader.benchmark, label, scores)
    for row in rows.values():
        # A model without this score has no value.
        row.values.update({label: None for label in descriptions if label not in row.values})
    return BenchmarkReport(
        rows=[*rows.values()],
        models=descriptions,
        versions=software_versions(),
        seed=seed,
        arguments={
            "benchmarks": [*benchmarks],
            "data_dir": public_name(str(data_dir)),
            "allow_missing_images": allow_missing_images,
            "preprocessing": preprocessing,
            "clean_text": clean_text,
            "query_arithmetic": [*query_arithmetic],
            "revision": revision,
            "batch_size": batch_size,
            "mixed_precision": accelerator.mixed_precision,
        },
        command=command,
        seconds=time.perf_counter() - started,
    )


def scorers_of(loaded: LoadedModel, label: str, rules: Mapping[str, dict]) -> dict[str, Scorer]:
    """
    Return the ways to score with a model by their labels: one or, for BLIP, two, and the rules of query arithmetic.

    Args:
        rules: rule -> further parameters of `QueryEncoder`.
    """
    embedded, embedder = label if loaded.matcher is None else f"{label} (ITC)", loaded.encoder.embedder
    scorers: dict[str, Scorer] = {embedded: EmbeddingScorer(loaded.encoder)}
    for rule, parameters in rules.items():
        scorers[f"{embedded} + {RULES[rule]}"] = EmbeddingScorer(QueryEncoder(loaded.encoder, rule, **parameters))
    if loaded.matcher is not None:
        scorers[f"{label} (ITM)"] = MatchingScorer(
            loaded.matcher, embedder.accelerator, embedder.batch_size, embedder.num_workers
        )
    return scorers


def settings_of(scorer: Scorer) -> dict:
    """Return what a report says of query arithmetic, if the scorer uses it."""
    encoder = getattr(scorer, "encoder", None)
    if not isinstance(encoder, QueryEncoder):
        return {}
    return {"query_arithmetic": encoder.settings}


def has_items(reader: ItemReader, accelerator: Accelerator) -> bool:
    """Return whether the first item of a benchmark can be read; print what is missing if not."""
    try:
        # `--benchmarks all` runs what is there; it must not download ImageNet.
        with cache_alone():
            next(iter(reader))
    except UsageError as error:
        accelerator.print(f"Not run: {reader.benchmark.name}. {error}")
        return False
    return True


def check_files(readers: list[ItemReader]) -> None:
    """
    Check that all files exist, before a model is loaded.

    Raises:
        UsageError: a file or an image is missing.
    """
    for reader in readers:
        for item in reader:
            # Images that are stored in the annotation files exist.
            if all(isinstance(image, dict) for image in item["images"]):
                break


def samples_path(
    samples_dir: Path | None, label: str, benchmark: Benchmark, scorer: Scorer, accelerator: Accelerator
) -> Path | None:
    """Return the file for the samples of a model and benchmark, or `None` if this process writes none."""
    if samples_dir is None or not accelerator.is_main_process or not can_score(benchmark.kind, scorer):
        return None
    return samples_dir / folder_name(label) / f"{benchmark.name}.jsonl"


def folder_name(label: str) -> str:
    """Return a file name that is unique for each label."""
    return label.replace("%", "%25").replace("/", "%2F")


@contextmanager
def writing_samples(path: Path) -> Iterator[Record]:
    """Give a function that appends samples as JSON lines; the file appears when it is complete."""
    with written_beside(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:

        def record(samples: Iterable[dict]) -> None:
            # Here too: the metrics that give the samples write to a folder of their own.
            with reporting_write_errors(path):
                file.writelines(json.dumps(sample) + "\n" for sample in samples)

        yield record


def add_scores(rows: dict[tuple, ScoreRow], benchmark: Benchmark, label: str, scores: list[Score]) -> None:
    """Add the scores of one model to the rows of all models."""
    for score in scores:
        row = rows.setdefault(
            (benchmark.name, score.metric, score.part),
            ScoreRow(
                benchmark=benchmark.name,
                title=benchmark.title,
                split=benchmark.split,
                metric=score.metric,
                part=score.part,
                headline=score.headline,
                count=score.count,
                chance=score.chance,
                skipped=score.skipped,
                values={},
                ties={},
            ),
        )
        row.values[label], row.ties[label] = score.value, score.ties


def _for_report(description: dict) -> dict:
    """Return the description of a model without local paths, as a report and a card may publish it."""
    path = description["name_or_path"]
    texts = {name: value for name, value in description.items() if isinstance(value, str)}
    return description | {
        name: value.replace(path, public_name(path)) if name == "warning" else public_name(value)
        for name, value in texts.items()
        if name in ("name_or_path", "base_model", "warning") and path
    }
