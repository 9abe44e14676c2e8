"""
Score one model on one benchmark: each kind of benchmark with its metric.

In most benchmarks an item is scored by its own images and captions alone (`score_items`). In retrieval and zero-shot
classification every query is compared with one pool of images, captions or classes (`score_retrieval`,
`score_classes`).
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import evaluate
import numpy as np
import torch

from conclip.atomic_write import scratch_folder
from conclip.embedding.retrieval import (
    QUERIES_AT_A_TIME,
    first_image_true,
    image_to_text_recall,
    pool_images,
    text_to_image_recall,
)
from conclip.errors import UsageError, one_line
from conclip.evaluation.items import Chunk, ItemImages, ItemReader, distinct_images
from conclip.evaluation.probe import ProbeScorer, fit_probe_scorer
from conclip.evaluation.scorers import EmbeddingScorer, MatchingScorer, cosines
from conclip.evaluation.table import FIRST_WINS
from conclip.evaluation.ties import BothTieRules, chances_of, first_of_equals
from conclip.metrics.choice_accuracy.choice_accuracy import ChoiceAccuracy
from conclip.metrics.group_score.group_score import GroupScore
from conclip.metrics.itt_tot.itt_tot import IttTot
from conclip.metrics.pair_accuracy.pair_accuracy import PairAccuracy
from conclip.models.cached_encoder import CachedEncoder
from dataset_scripts.benchmarks.schema import Kind

Scorer = EmbeddingScorer | MatchingScorer | ProbeScorer
# Takes what is known of single items or queries, dicts that are ready for JSON.
Record = Callable[[Iterable[dict]], None]

KS = (1, 5, 10)
CEILING = "ceiling (probe on the image embeddings)"
# Kinds of benchmarks whose queries are compared with one pool; the others score each item alone.
POOLED = (Kind.RETRIEVAL, Kind.CLASSES)


@dataclass
class Score:
    """
    One score of one model.

    Args:
        metric: name of the metric, e.g. "pair accuracy".
        part: category, group or condition; "" for all items.
        value: the score, from 0 to 1; `None` if no category counts.
        count: number of items; for retrieval, of queries.
        chance: the score of random guessing.
        ties: number of items that are wrong because of equal scores.
        skipped: by how much `count` would grow if no image were missing.
        headline: whether this is the main score of the benchmark.
    """

    metric: str
    part: str
    value: float | None
    count: int
    chance: float
    ties: int
    skipped: int
    headline: bool = False


@contextmanager
def reporting_metric_errors(title: str) -> Iterator[None]:
    """
    Turn the error of a metric, e.g. about a score that is not a number, into one sentence.

    Raises:
        UsageError: in place of a `ValueError`.
    """
    try:
        yield
    except ValueError as error:
        raise UsageError(f"{title} cannot be scored: {one_line(error)}") from error


def score_benchmark(reader: ItemReader, scorer: Scorer, record: Record | None = None) -> list[Score]:
    """
    Score a model on a benchmark of any kind.

    Args:
        record: receives the samples: the scores of each item, or the rank of each query.

    Returns:
        The scores; none if the model cannot be scored on this benchmark.
    """
    kind = reader.benchmark.kind
    if not can_score(kind, scorer):
        return []
    if kind not in POOLED:
        return score_items(reader, scorer, record)
    return (score_retrieval if kind is Kind.RETRIEVAL else score_classes)(reader, scorer.encoder, record)


def can_score(kind: Kind, scorer: Scorer) -> bool:
    """Return whether a model can be scored: a pool is compared by embeddings."""
    return kind not in POOLED or isinstance(scorer, EmbeddingScorer)


# --- Items that are scored alone ---


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


def macro_score(metric: str, result: dict, reader: ItemReader) -> Score:
    """Return the mean over the categories that count; count, chance and ties cover the same categories."""
    benchmark = reader.benchmark
    counted = [
        entry
        for name, entry in result["categories"].items()
        if name not in benchmark.skipped_categories and entry["count"] >= benchmark.min_count
    ]
    chances = [entry.get("chance", result["chance"]) for entry in counted] or [result["chance"]]
    count, ties = (sum(entry[key] for entry in counted) for key in ("count", "ties"))
    skipped = sum(number for name, number in reader.skipped.items() if name not in benchmark.skipped_categories)
    chance = sum(chances) / len(chances)
    return Score(metric, "macro", result["macro_accuracy"], count, chance, ties, skipped, benchmark.macro)


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


# --- Retrieval ---


@dataclass
class Condition:
    """
    The captions of one condition, such as plain or negated, in the order of the files.

    Args:
        texts: the distinct captions, sorted.
        text_at: int, (captions,), the index of each caption in `texts`.
        item_at: int, (captions,), the number of each caption's item.
    """

    texts: list[str]
    text_at: np.ndarray
    item_at: np.ndarray


@dataclass
class Pool:
    """
    All images of a benchmark with their captions.

    Args:
        ids: the id of each item.
        images: the images.
        image_at: int, (items,), the index of each item's image in `images`.
        conditions: name -> its captions.
    """

    ids: list[str]
    images: ItemImages
    image_at: np.ndarray
    conditions: dict[str, Condition]


def score_retrieval(reader: ItemReader, encoder: CachedEncoder, record: Record | None = None) -> list[Score]:
    """Score text-to-image retrieval under every condition, and image-to-text retrieval under the first."""
    pool, scores = read_pool(reader), []
    image_embeddings = encoder.images(pool.images)
    images, content = pool_images(encoder.embedder.keys(pool.images))
    for number, (name, condition) in enumerate(pool.conditions.items()):
        part = name if len(pool.conditions) > 1 else ""
        own = content[pool.image_at[condition.item_at]]
        embedded = encoder.texts(condition.texts), condition.text_at, image_embeddings, images, own
        with reporting_metric_errors(reader.benchmark.title):
            result = text_to_image_recall(*embedded, KS)
        scores += recall_scores("text-to-image", part, result, reader.skipped_captions[name])
        if record:
            record(caption_samples(pool, name, result["items"]))
        if truth := reader.benchmark.truth:
            # Each image of the pool is named after its first item.
            _, first = np.unique(content[pool.image_at], return_index=True)
            true = np.asarray(truth(condition.texts, [pool.ids[item] for item in first]))[condition.text_at]
            with reporting_metric_errors(reader.benchmark.title):
                result = first_image_true(*embedded[:-1], true)
            scores.append(first_image_score(part, result, reader.skipped_captions[name]))
        if number == 0:
            with reporting_metric_errors(reader.benchmark.title):
                result = image_to_text_recall(*embedded, KS)
            scores += recall_scores("image-to-text", part, result, reader.skipped[name])
            if record:
                # The queries are the described images of the pool; each is named after its first item.
                _, first = np.unique(own, return_index=True)
                record(image_samples(pool, name, condition.item_at[first], result["items"]))
    return scores


def read_pool(reader: ItemReader) -> Pool:
    """Return all images, and the captions of each condition, in the order of the files."""
    ids: list[str] = []
    captions: dict[str, list[tuple[str, int]]] = {}
    items = collecting_captions(reader, ids, captions)
    images, image_at = distinct_images(items, reader.benchmark.title, reader.as_stored)
    conditions = {}
    for name, own in captions.items():
        texts = {text: at for at, text in enumerate(sorted({text for text, _ in own}))}
        text_at, item_at = np.array([(texts[text], item) for text, item in own]).T
        conditions[name] = Condition(list(texts), text_at, item_at)
    return Pool(ids, images, np.array([at for (at,) in image_at]), conditions)


def collecting_captions(
    reader: ItemReader, ids: list[str], captions: dict[str, list[tuple[str, int]]]
) -> Iterator[dict]:
    """Yield the items; add their ids to `ids` and to `captions` condition -> (caption, number of the item)."""
    for number, item in enumerate(reader):
        ids.append(item["id"])
        captions.setdefault(item["category"], []).extend((text, number) for text in item["captions"])
        yield item


def caption_samples(pool: Pool, name: str, items: dict[str, list[int]]) -> Iterator[dict]:
    """
    Yield the rank of its own image for each caption of a condition.

    Args:
        name: the condition.
        items: lists of the metric.
    """
    condition = pool.conditions[name]
    for text, item, rank, tied in zip(condition.text_at, condition.item_at, items["rank"], items["tied"], strict=True):
        query = {
            "id": pool.ids[item],
            "category": name,
            "direction": "text-to-image",
            "caption": condition.texts[text],
        }
        yield {**query, "rank": rank, "tied": tied}


def image_samples(pool: Pool, name: str, item_at: np.ndarray, items: dict[str, list[int]]) -> Iterator[dict]:
    """
    Yield the rank of the best of its own captions for each image.

    Args:
        item_at: the number of the first item of each image.
        items: lists of the metric.
    """
    for item, rank, tied in zip(item_at, items["rank"], items["tied"], strict=True):
        yield {"id": pool.ids[item], "category": name, "direction": "image-to-text", "rank": rank, "tied": tied}


def recall_scores(direction: str, part: str, result: dict, skipped: int) -> list[Score]:
    return [
        Score(
            f"{direction} recall@{k}",
            part,
            result[f"recall_at_{k}"],
            result["count"],
            result[f"chance_at_{k}"],
            result[f"ties_at_{k}"],
            skipped,
            headline=k == 1 and direction == "text-to-image",
        )
        for k in KS
    ]


def first_image_score(part: str, result: dict, skipped: int) -> Score:
    values = (result[name] for name in ("recall_at_1", "count", "chance_at_1", "ties_at_1"))
    return Score("first image true", part, *values, skipped)


# --- Zero-shot classification ---


def score_classes(reader: ItemReader, encoder: CachedEncoder, record: Record | None = None) -> list[Score]:
    """Score each condition: an image is compared with the mean embedding of each class's prompts."""
    classes = reader.benchmark.classes(reader.data_dir)
    if any(len(prompts) < 2 for prompts in classes.values()):
        raise UsageError(f"{reader.benchmark.title} has a single class; classification needs two or more.")
    embeddings = {condition: class_embeddings(prompts, encoder) for condition, prompts in classes.items()}
    same = {condition: equal_classes(prompts) for condition, prompts in classes.items()}
    shared = {condition: len(set(own)) < len(own) for condition, own in same.items()}
    chances = {
        condition: np.array([chances_of(own, answer) for answer in range(len(own))]) for condition, own in same.items()
    }
    with scratch_folder() as folder:
        modules = {condition: BothTieRules(folder, str(number)) for number, condition in enumerate(embeddings)}
        for chunk in reader.chunks():
            images, answers = encoder.images(chunk.images), np.array([item["answer"] for item in chunk.items])
            image_at = np.array(chunk.image_at)[:, 0]
            for start in range(0, len(image_at), QUERIES_AT_A_TIME):
                some = slice(start, start + QUERIES_AT_A_TIME)
                own = images[image_at[some]].double()
                for condition, module in modules.items():
                    cosine = (own @ embeddings[condition].T).float().numpy()
                    with reporting_metric_errors(reader.benchmark.title):
                        module.add_batch(
                            scores=cosine,
                            answers=answers[some],
                            categories=[str(answer) for answer in answers[some]],
                            chances=chances[condition][answers[some]],
                        )
                    if record:
                        by_rule = np.stack([first_of_equals(own) for own in cosine]) if shared[condition] else cosine
                        record(class_samples(chunk.items[some], condition, by_rule))
        results = {condition: module.compute() for condition, module in modules.items()}
    return class_scores(results, shared, reader)


def class_scores(results: dict[str, tuple[dict, dict]], shared: dict[str, bool], reader: ItemReader) -> list[Score]:
    """
    Return top-1 and its mean over classes for each condition.

    Args:
        results: condition -> what `BothTieRules.compute` returns; the categories are the classes.
        shared: condition -> whether classes have the same prompts. If so, the first of them wins, as in CLIP's
            protocol, and top-1 with ties as errors is added.
    """
    scores = []
    for number, (condition, (first, strict)) in enumerate(results.items()):
        rule, result = (f", {FIRST_WINS}", first) if shared[condition] else ("", strict)
        for metric, own, headline in (
            (f"top-1{rule}", result, number == 0),
            *([("top-1", strict, False)] if shared[condition] else []),
        ):
            value, count, chance, ties = (own[key] for key in ("accuracy", "count", "chance", "ties"))
            scores.append(Score(metric, condition, value, count, chance, ties, reader.skipped.total(), headline))
        mean = macro_score(f"mean per class{rule}", result, reader)
        scores.append(replace(mean, part=condition, headline=False))
    return scores


def class_samples(items: list[dict], condition: str, scores: np.ndarray) -> Iterator[dict]:
    """
    Yield the predicted class and the rank of the right class for each image.

    Args:
        scores: float, (items, classes). Of classes with equal scores, wrong ones rank before the right one.
    """
    rows, answers = np.arange(len(items)), np.array([item["answer"] for item in items])
    right = scores[rows, answers]
    wrong = scores.copy()
    wrong[rows, answers] = -np.inf
    ranks = 1 + np.count_nonzero(wrong >= right[:, None], axis=1)
    predictions = np.where(ranks == 1, answers, wrong.argmax(axis=1))
    for item, prediction, rank in zip(items, predictions.tolist(), ranks.tolist(), strict=True):
        sample = {"id": item["id"], "category": condition, "answer": item["answer"]}
        yield {**sample, "prediction": prediction, "rank": rank}


def equal_classes(prompts: list[list[str]]) -> list[int]:
    """Return for each class the first class with the same prompts; CLIP reads them in lower case."""
    first: dict[tuple, int] = {}
    return [first.setdefault(tuple(map(str.lower, own)), number) for number, own in enumerate(prompts)]


def class_embeddings(prompts: list[list[str]], encoder: CachedEncoder) -> torch.Tensor:
    """Return the mean embedding of each class's prompts, float64, (classes, d), unit rows."""
    texts = {text: at for at, text in enumerate(sorted({text for own in prompts for text in own}))}
    embeddings = encoder.texts(list(texts))
    means = torch.stack([embeddings[[texts[text] for text in own]].double().mean(dim=0) for own in prompts])
    return torch.nn.functional.normalize(means, dim=1)
