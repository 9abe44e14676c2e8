"""From a benchmark and a model to numbers: each kind of benchmark with its metric."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import evaluate
import numpy as np

from conclip.errors import UsageError, one_line
from conclip.evaluation.items import Chunk, ItemReader
from conclip.evaluation.scorers import EmbeddingScorer, cosines
from conclip.metrics.choice_accuracy.choice_accuracy import ChoiceAccuracy
from conclip.metrics.group_score.group_score import GroupScore
from conclip.metrics.itt_tot.itt_tot import IttTot
from conclip.metrics.pair_accuracy.pair_accuracy import PairAccuracy
from dataset_scripts.benchmarks.schema import Kind

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
        count: items it is made of; of a retrieval, queries.
        chance: what random scores get.
        ties: items lost by equal scores.
        left_out: how many more `count` would be if no image were missing.
        headline: the number the benchmark is known by.
    """

    metric: str
    part: str
    value: float | None
    count: int
    chance: float
    ties: int
    left_out: int
    headline: bool = False


@contextmanager
def metric_of(title: str) -> Iterator[None]:
    """
    Raises:
        UsageError: for what a metric finds wrong with what it is given, such as a score that is no number.
    """
    try:
        yield
    except ValueError as error:
        raise UsageError(f"{title} cannot be scored: {one_line(error)}") from error


def score_items(reader: ItemReader, scorer: EmbeddingScorer, record: Record | None = None) -> list[Score]:
    """Of every kind but `RETRIEVAL` and `CLASSES`: an item is scored by its own images and captions alone."""
    benchmark = reader.benchmark
    if benchmark.kind is Kind.TWO_BY_TWO:
        result = accumulate(GroupScore, group_columns, reader, scorer, record)
        return [score for name in ("group", "text", "image") for score in group_scores(name, result, reader)]
    if benchmark.kind is Kind.TWO_TRUE:
        result = accumulate(IttTot, itt_tot_columns, reader, scorer, record)
        return [score for name in ("itt", "tot") for score in itt_tot_scores(name, result, reader)]
    if benchmark.kind is Kind.CAPTIONS and len(next(iter(reader))["captions"]) == 2:
        macro = {"left_out": sorted(benchmark.left_out), "min_count": benchmark.min_count}
        result = accumulate(PairAccuracy, pair_columns, reader, scorer, record, **macro)
        return accuracy_scores("pair accuracy", result, reader)
    result = accumulate(ChoiceAccuracy, choice_columns, reader, scorer, record)
    return accuracy_scores("accuracy", result, reader)


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
            given |= columns(chunk, scores, scorer)
            with metric_of(reader.benchmark.title):
                module.add_batch(**given)
            if record:
                record(chunk.items, scores)
        with metric_of(reader.benchmark.title):
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


def left_out(reader: ItemReader, part: str) -> int:
    """Items of a category, of a group of them, or of all."""
    members = (reader.benchmark.groups or {}).get(part, [part])
    return sum(reader.left_out[member] for member in members) if part else reader.left_out.total()


def parts_of(result: dict, reader: ItemReader, correct: str, share: str, ties: str) -> dict[str, dict]:
    """All items, the benchmark's groups, the categories: part -> as of a category, with these names."""
    categories = result.get("categories", {})
    parts = {"": result}
    for name, members in (reader.benchmark.groups or {}).items():
        if own := [categories[member] for member in members if member in categories]:
            sums = {key: sum(part[key] for part in own) for key in (correct, ties, "count")}
            parts[name] = {**sums, share: sums[correct] / sums["count"]}
    return {**parts, **categories}


def accuracy_scores(metric: str, result: dict, reader: ItemReader) -> list[Score]:
    """All items, the mean over categories, the benchmark's groups, the categories."""
    benchmark, scores = reader.benchmark, []
    for part, entry in parts_of(result, reader, "correct", "accuracy", "ties").items():
        chance, absent = entry.get("chance", result["chance"]), left_out(reader, part)
        headline = not (part or benchmark.macro)
        scores.append(Score(metric, part, entry["accuracy"], entry["count"], chance, entry["ties"], absent, headline))
    if "categories" in result:
        scores.insert(1, macro_score(metric, result, reader))
    return scores


def macro_score(metric: str, result: dict, reader: ItemReader) -> Score:
    """The mean over the categories that count; count, chance and ties are theirs."""
    benchmark = reader.benchmark
    counted = [
        entry
        for name, entry in result["categories"].items()
        if name not in benchmark.left_out and entry["count"] >= benchmark.min_count
    ]
    chances = [entry.get("chance", result["chance"]) for entry in counted] or [result["chance"]]
    count, ties = (sum(entry[key] for entry in counted) for key in ("count", "ties"))
    absent = sum(number for name, number in reader.left_out.items() if name not in benchmark.left_out)
    chance = sum(chances) / len(chances)
    return Score(metric, "macro", result["macro_accuracy"], count, chance, ties, absent, benchmark.macro)


def group_scores(name: str, result: dict, reader: ItemReader) -> list[Score]:
    share, ties, chance = f"{name}_score", f"{name}_ties", result[f"{name}_chance"]
    return [
        Score(
            f"{name} score", part, entry[share], entry["count"], chance, entry[ties], left_out(reader, part), not part
        )
        for part, entry in {"": result, **result.get("categories", {})}.items()
    ]


def itt_tot_scores(name: str, result: dict, reader: ItemReader) -> list[Score]:
    # Of a model that compares no texts.
    if name not in result:
        return []
    ties, chance = f"{name}_ties", result["chance"]
    return [
        Score(name.upper(), part, entry[name], entry["count"], chance, entry[ties], left_out(reader, part), not part)
        for part, entry in parts_of(result, reader, f"{name}_correct", name, ties).items()
    ]
