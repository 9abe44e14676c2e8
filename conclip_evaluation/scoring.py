"""From a benchmark and a model to numbers: each kind of benchmark with its metric."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import evaluate
import numpy as np

from conclip_evaluation.items import Chunk, ItemReader
from conclip_evaluation.scorer import EmbeddingScorer, cosines
from conclip_metrics.choice_accuracy.choice_accuracy import ChoiceAccuracy
from conclip_metrics.group_score.group_score import GroupScore
from conclip_metrics.itt_tot.itt_tot import IttTot
from conclip_metrics.pair_accuracy.pair_accuracy import PairAccuracy
from dataset_scripts.benchmark_schema import Benchmark, Kind

# Takes items and, for each, the scores of its images, in rows, with its captions, in columns.
Record = Callable[[list[dict], list[np.ndarray]], None]


@dataclass
class Score:
    """
    One number of one model.

    Args:
        metric: e.g. "pair accuracy".
        part: category, group or condition; "" for all items.
        value: a share of 1, `None` if no category counts.
        chance: what random scores get.
        ties: items lost by equal scores.
        headline: the number the benchmark is known by.
    """

    metric: str
    part: str
    value: float | None
    count: int
    chance: float
    ties: int
    headline: bool = False


def score_items(reader: ItemReader, scorer: EmbeddingScorer, record: Record | None = None) -> list[Score]:
    """Of every kind but `RETRIEVAL` and `CLASSES`: an item is scored by its own images and captions alone."""
    benchmark = reader.benchmark
    if benchmark.kind is Kind.TWO_BY_TWO:
        result = accumulate(GroupScore, group_columns, reader, scorer, record)
        return [score for name in ("group", "text", "image") for score in group_scores(name, result)]
    if benchmark.kind is Kind.TWO_TRUE:
        result = accumulate(IttTot, itt_tot_columns, reader, scorer, record)
        return [score for name in ("itt", "tot") for score in itt_tot_scores(name, result)]
    if benchmark.kind is Kind.CAPTIONS and len(next(iter(reader))["captions"]) == 2:
        macro = {"left_out": sorted(benchmark.left_out), "min_count": benchmark.min_count}
        result = accumulate(PairAccuracy, pair_columns, reader, scorer, record, **macro)
        return accuracy_scores("pair accuracy", result, benchmark)
    result = accumulate(ChoiceAccuracy, choice_columns, reader, scorer, record)
    return accuracy_scores("accuracy", result, benchmark)


def accumulate(
    metric: type[evaluate.Metric],
    columns: Callable[[Chunk, list[np.ndarray], EmbeddingScorer], dict],
    reader: ItemReader,
    scorer: EmbeddingScorer,
    record: Record | None,
    **settings,
) -> dict:
    """The metric's result over all items, of which no more than a chunk is held in memory."""
    with tempfile.TemporaryDirectory() as folder:
        module = metric(cache_dir=folder)
        for chunk in reader.chunks():
            scores = item_scores(chunk, scorer)
            categories = [item["category"] for item in chunk.items]
            given = {"categories": categories} if any(categories) else {}
            module.add_batch(**columns(chunk, scores, scorer), **given)
            if record:
                record(chunk.items, scores)
        return module.compute(**settings)


def item_scores(chunk: Chunk, scorer: EmbeddingScorer) -> list[np.ndarray]:
    """Of each item, float64, (images, captions)."""
    own = list(zip(chunk.image_at, chunk.text_at, strict=True))
    image_at = np.concatenate([np.repeat(images, len(texts)) for images, texts in own])
    text_at = np.concatenate([np.tile(texts, len(images)) for images, texts in own])
    scores = scorer.pairs(chunk.images, image_at, chunk.texts, text_at)
    parts = np.split(scores, np.cumsum([len(images) * len(texts) for images, texts in own])[:-1])
    return [part.reshape(len(images), len(texts)) for part, (images, texts) in zip(parts, own, strict=True)]


def pair_columns(chunk: Chunk, scores: list[np.ndarray], scorer: EmbeddingScorer) -> dict:
    answers = [item["answer"] for item in chunk.items]
    return {
        "true_scores": [own[0, answer] for own, answer in zip(scores, answers, strict=True)],
        "false_scores": [own[0, 1 - answer] for own, answer in zip(scores, answers, strict=True)],
    }


def choice_columns(chunk: Chunk, scores: list[np.ndarray], scorer: EmbeddingScorer) -> dict:
    # One image or one caption: either way the options in a line.
    return {"scores": [own.ravel() for own in scores], "answers": [item["answer"] for item in chunk.items]}


def group_columns(chunk: Chunk, scores: list[np.ndarray], scorer: EmbeddingScorer) -> dict:
    return {"scores": np.stack(scores).transpose(0, 2, 1)}


def itt_tot_columns(chunk: Chunk, scores: list[np.ndarray], scorer: EmbeddingScorer) -> dict:
    columns = {"image_scores": np.concatenate(scores)}
    if isinstance(scorer, EmbeddingScorer):
        embeds, at = scorer.texts(chunk.texts), np.array(chunk.text_at)
        pairs = [(0, 1), (0, 2), (1, 2)]
        columns["text_scores"] = np.stack([cosines(embeds, at[:, a], embeds, at[:, b]) for a, b in pairs], axis=1)
    return columns


def accuracy_scores(metric: str, result: dict, benchmark: Benchmark) -> list[Score]:
    """All items, the mean over categories, the benchmark's groups, the categories."""

    def score(part: str, entry: dict, headline: bool = False) -> Score:
        chance = entry.get("chance", result["chance"])
        return Score(metric, part, entry["accuracy"], entry["count"], chance, entry["ties"], headline)

    scores = [score("", result, not benchmark.macro)]
    categories = result.get("categories", {})
    if categories:
        macro = {**result, "accuracy": result["macro_accuracy"]}
        scores.append(score("macro", macro, benchmark.macro))
    for name, members in (benchmark.groups or {}).items():
        parts = [categories[member] for member in members if member in categories]
        if parts:
            count = sum(part["count"] for part in parts)
            correct, ties = (sum(part[key] for part in parts) for key in ("correct", "ties"))
            scores.append(score(name, {"accuracy": correct / count, "count": count, "ties": ties}))
    return scores + [score(name, entry) for name, entry in categories.items()]


def group_scores(name: str, result: dict) -> list[Score]:
    parts = {"": result, **result.get("categories", {})}
    chance, ties = result[f"{name}_chance"], f"{name}_ties"
    return [
        Score(f"{name} score", part, entry[f"{name}_score"], entry["count"], chance, entry[ties], not part)
        for part, entry in parts.items()
    ]


def itt_tot_scores(name: str, result: dict) -> list[Score]:
    parts = {"": result, **result.get("categories", {})}
    return [
        Score(name.upper(), part, entry[name], entry["count"], result["chance"], entry[f"{name}_ties"], not part)
        for part, entry in parts.items()
        if name in entry
    ]
