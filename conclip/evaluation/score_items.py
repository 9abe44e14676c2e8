"""Score benchmarks whose items are scored by their own images and captions alone."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import evaluate
import numpy as np

from conclip.atomic_write import scratch_folder
from conclip.evaluation.items import Chunk, ItemReader
from conclip.evaluation.probe import fit_probe_scorer
from conclip.evaluation.score import Record, Score, macro_score, reporting_metric_errors
from conclip.evaluation.scorers import EmbeddingScorer, Scorer, cosines
from conclip.evaluation.table import FIRST_WINS
from conclip.evaluation.ties import BothTieRules, chances_of
from conclip.metrics.choice_accuracy.choice_accuracy import ChoiceAccuracy
from conclip.metrics.group_score.group_score import GroupScore
from conclip.metrics.itt_tot.itt_tot import IttTot
from conclip.metrics.pair_accuracy.pair_accuracy import PairAccuracy
from conclip.models.cached_encoder import CachedEncoder
from dataset_scripts.benchmarks.schema import Kind

CEILING = "ceiling (probe on the image embeddings)"


def score_items(reader: ItemReader, scorer: Scorer, record: Record | None = None) -> list[Score]:
    """Score a benchmark whose items are scored by their own images and captions alone."""
    benchmark = reader.benchmark
    if benchmark.kind is Kind.TWO_BY_TWO:
        result = accumulate(GroupScore, group_columns, reader, scorer, record)
        return [score for name in ("group", "text", "image") for score in group_scores(name, result, reader)]
    if benchmark.kind is Kind.TWO_TRUE:
        result = accumulate(IttTot, itt_tot_columns, reader, scorer, record)
        return [score for name in ("itt", "tot") for score in itt_tot_scores(name, result, reader)]
    if benchmark.first_wins:
        return first_wins_scores(*accumulate(BothTieRules, both_rules_columns, reader, scorer, record), reader)
    if benchmark.kind is Kind.CAPTIONS and not benchmark.choice and len(next(iter(reader))["captions"]) == 2:
        macro = {"skipped_categories": sorted(benchmark.skipped_categories), "min_count": benchmark.min_count}
        result = accumulate(PairAccuracy, pair_columns, reader, scorer, record, **macro)
        return accuracy_scores("pair accuracy", result, reader)
    result = accumulate(ChoiceAccuracy, choice_columns, reader, scorer, record, return_items=bool(benchmark.joint))
    scores = accuracy_scores("accuracy", result, reader)
    if benchmark.joint:
        scores += joint_scores(result["items"], reader)
    # The probe reads images alone, so query arithmetic has the same.
    if benchmark.probe and isinstance(scorer, EmbeddingScorer) and isinstance(scorer.encoder, CachedEncoder):
        probed = fit_probe_scorer(benchmark.probe, benchmark.title, scorer.encoder)
        result = accumulate(ChoiceAccuracy, choice_columns, reader, probed, None)
        scores += [replace(own, headline=False) for own in accuracy_scores(CEILING, result, reader)]
    return scores


def accumulate(
    metric: type[evaluate.Metric] | type[BothTieRules],
    columns: Callable[[Chunk, list[np.ndarray], Scorer], dict],
    reader: ItemReader,
    scorer: Scorer,
    record: Record | None,
    **settings,
) -> dict | tuple[dict, dict]:
    """Return the result of the metric over all items; only one chunk of items is in memory at a time."""
    with scratch_folder() as folder:
        module = metric(cache_dir=folder)
        for chunk in reader.chunks():
            scores = item_scores(chunk, scorer)
            categories = [item["category"] for item in chunk.items]
            batch = {"categories": categories} if any(categories) else {}
            batch |= columns(chunk, scores, scorer)
            with reporting_metric_errors(reader.benchmark.title):
                module.add_batch(**batch)
            if record:
                record(item_samples(chunk.items, scores, batch.get("text_scores")))
        with reporting_metric_errors(reader.benchmark.title):
            return module.compute(**settings)


def item_samples(items: list[dict], scores: list[np.ndarray], text_scores: np.ndarray | None) -> Iterator[dict]:
    """
    Yield what is known of each item.

    Args:
        scores: for each item float64, (images, captions).
        text_scores: for items of two true captions and a false one float64, (items, 3): the score of the true captions
            with each other, and of each with the false one.
    """
    for at, (item, own) in enumerate(zip(items, scores, strict=True)):
        sample = {"id": item["id"], "category": item["category"], "answer": item["answer"], "scores": own.tolist()}
        yield sample if text_scores is None else {**sample, "text_scores": text_scores[at].tolist()}


def item_scores(chunk: Chunk, scorer: Scorer) -> list[np.ndarray]:
    """Return for each item float64, (images, captions)."""
    own = list(zip(chunk.image_at, chunk.text_at, strict=True))
    image_at = np.concatenate([np.repeat(images, len(texts)) for images, texts in own])
    text_at = np.concatenate([np.tile(texts, len(images)) for images, texts in own])
    scores = scorer.pairs(chunk.images, image_at, chunk.texts, text_at)
    parts = np.split(scores, np.cumsum([len(images) * len(texts) for images, texts in own])[:-1])
    return [part.reshape(len(images), len(texts)) for part, (images, texts) in zip(parts, own, strict=True)]


def pair_columns(chunk: Chunk, scores: list[np.ndarray], scorer: Scorer) -> dict:
    answers = [item["answer"] for item in chunk.items]
    return {
        "true_scores": [own[0, answer] for own, answer in zip(scores, answers, strict=True)],
        "false_scores": [own[0, 1 - answer] for own, answer in zip(scores, answers, strict=True)],
    }


def choice_columns(chunk: Chunk, scores: list[np.ndarray], scorer: Scorer) -> dict:
    # An item has either one image or one caption, so the options form one row.
    return {"scores": [own.ravel() for own in scores], "answers": [item["answer"] for item in chunk.items]}


def both_rules_columns(chunk: Chunk, scores: list[np.ndarray], scorer: Scorer) -> dict:
    own = zip(chunk.text_at, chunk.items, strict=True)
    return {
        **choice_columns(chunk, scores, scorer),
        "categories": [item["category"] or "all" for item in chunk.items],
        "chances": [chances_of(texts, item["answer"]) for texts, item in own],
    }


def group_columns(chunk: Chunk, scores: list[np.ndarray], scorer: Scorer) -> dict:
    return {"scores": np.stack(scores).transpose(0, 2, 1)}


def itt_tot_columns(chunk: Chunk, scores: list[np.ndarray], scorer: Scorer) -> dict:
    columns = {"image_scores": np.concatenate(scores)}
    if isinstance(scorer, EmbeddingScorer):
        embeddings, at = scorer.encoder.texts(chunk.texts), np.array(chunk.text_at)
        pairs = [(0, 1), (0, 2), (1, 2)]
        columns["text_scores"] = np.stack(
            [cosines(embeddings, at[:, a], embeddings, at[:, b]) for a, b in pairs], axis=1
        )
    return columns


def skipped_items(reader: ItemReader, part: str) -> int:
    """Return the number of skipped items of a category or group, or of all for ""."""
    members = (reader.benchmark.groups or {}).get(part, [part])
    return sum(reader.skipped[member] for member in members) if part else reader.skipped.total()


def parts_of(result: dict, reader: ItemReader, correct: str, share: str, ties: str) -> dict[str, dict]:
    """
    Return the results of all items (""), of the benchmark's groups and of the categories, by name.

    Args:
        correct, share, ties: keys of these values in the result of a category.
    """
    categories = result.get("categories", {})
    parts = {"": result}
    for name, members in (reader.benchmark.groups or {}).items():
        if own := [categories[member] for member in members if member in categories]:
            sums = {key: sum(part[key] for part in own) for key in (correct, ties, "count")}
            parts[name] = {**sums, share: sums[correct] / sums["count"]}
    return {**parts, **categories}


def accuracy_scores(metric: str, result: dict, reader: ItemReader) -> list[Score]:
    """Return the scores of all items, the mean over categories, and those of groups and categories."""
    benchmark, scores = reader.benchmark, []
    for part, entry in parts_of(result, reader, "correct", "accuracy", "ties").items():
        chance, skipped = entry.get("chance", result["chance"]), skipped_items(reader, part)
        headline = not (part or benchmark.macro)
        scores.append(Score(metric, part, entry["accuracy"], entry["count"], chance, entry["ties"], skipped, headline))
    if "categories" in result:
        scores[1:1] = [macro_score(metric, result, reader), *mean_group_scores(metric, result, reader)]
    return scores


def mean_group_scores(metric: str, result: dict, reader: ItemReader) -> list[Score]:
    """Return the scores of `Benchmark.mean_groups`; a category or list without items does not count."""
    categories, scores = result["categories"], []
    for part, lists in (reader.benchmark.mean_groups or {}).items():
        names = [name for members in lists for name in members]
        found = [[categories[name]["accuracy"] for name in members if name in categories] for members in lists]
        if means := [sum(own) / len(own) for own in found if own]:
            own = [categories[name] for name in names if name in categories]
            count, ties = (sum(entry[key] for entry in own) for key in ("count", "ties"))
            skipped = sum(reader.skipped[name] for name in names)
            scores.append(Score(metric, part, sum(means) / len(means), count, result["chance"], ties, skipped))
    return scores


def joint_scores(outcomes: dict[str, list[bool]], reader: ItemReader) -> list[Score]:
    """
    Return the scores of `Benchmark.joint`.

    Args:
        outcomes: "correct" and "tie" of each item, in their order.
    """
    items, scores = [(item["id"], len(item["captions"])) for item in reader], []
    for name, joint in reader.benchmark.joint.items():
        sets: dict[str, list[int]] = {}
        for at, (item_id, _) in enumerate(items):
            sets.setdefault(joint.set_of(item_id), []).append(at)
        whole = [members for members in sets.values() if len(members) == joint.size]
        if not whole:
            continue
        right = sum(all(outcomes["correct"][at] for at in members) for members in whole)
        right_or_tied = sum(all(outcomes["correct"][at] or outcomes["tie"][at] for at in members) for members in whole)
        chance = sum(math.prod(1 / items[at][1] for at in members) for members in whole) / len(whole)
        skipped = (len(items) + reader.skipped.total()) // joint.size - len(whole)
        scores.append(Score(name, "", right / len(whole), len(whole), chance, right_or_tied - right, skipped))
    return scores


def first_wins_scores(first: dict, strict: dict, reader: ItemReader) -> list[Score]:
    """Return the scores of the published rule, by category, and that of all items with ties as errors."""
    metric = "pair accuracy" if len(next(iter(reader))["captions"]) == 2 else "accuracy"
    parts = first["categories"] if len(first["categories"]) > 1 else {}
    scores = []
    for name, part, entry in (
        *((f"{metric}, {FIRST_WINS}", part, entry) for part, entry in {"": first, **parts}.items()),
        (metric, "", strict),
    ):
        values = entry["accuracy"], entry["count"], entry["chance"], entry["ties"], skipped_items(reader, part)
        scores.append(Score(name, part, *values, headline=not scores))
    return scores


def group_scores(name: str, result: dict, reader: ItemReader) -> list[Score]:
    share, ties, chance = f"{name}_score", f"{name}_ties", result[f"{name}_chance"]
    return [
        Score(
            f"{name} score",
            part,
            entry[share],
            entry["count"],
            chance,
            entry[ties],
            skipped_items(reader, part),
            headline=not part,
        )
        for part, entry in {"": result, **result.get("categories", {})}.items()
    ]


def itt_tot_scores(name: str, result: dict, reader: ItemReader) -> list[Score]:
    # A model without text embeddings has no TOT.
    if name not in result:
        return []
    ties, chance = f"{name}_ties", result["chance"]
    return [
        Score(
            name.upper(),
            part,
            entry[name],
            entry["count"],
            chance,
            entry[ties],
            skipped_items(reader, part),
            headline=not part,
        )
        for part, entry in parts_of(result, reader, f"{name}_correct", name, ties).items()
    ]
