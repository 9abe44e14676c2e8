"""Score zero-shot classification: every image is compared with the prompts of all classes."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from conclip.atomic_write import scratch_folder
from conclip.embedding.retrieval import QUERIES_AT_A_TIME
from conclip.errors import UsageError
from conclip.evaluation.items import ItemReader
from conclip.evaluation.score import Record, Score, macro_score, reporting_metric_errors
from conclip.evaluation.table import FIRST_WINS
from conclip.evaluation.ties import BothTieRules, chances_of, first_of_equals
from conclip.models.cached_encoder import CachedEncoder


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
