"""Retrieval and zero-shot classification: every query against one pool of images, captions or classes."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from conclip.embedding.retrieval import QUERIES_AT_A_TIME, recall
from conclip.errors import UsageError
from conclip.evaluation.items import ITEMS_AT_A_TIME, ItemImages, ItemReader, distinct_images
from conclip.evaluation.scorers import EmbeddingScorer
from conclip.evaluation.scoring import Score, metric_of
from conclip.metrics.choice_accuracy.choice_accuracy import ChoiceAccuracy

KS = (1, 5, 10)


@dataclass
class Condition:
    """
    The captions under one condition.

    Args:
        texts: distinct, sorted.
        images: for each text, the images it describes, ascending.
        queries: one entry a caption of an image: the index of its text.
    """

    texts: list[str]
    images: list[list[int]]
    queries: np.ndarray


def score_retrieval(reader: ItemReader, scorer: EmbeddingScorer) -> list[Score]:
    """Text to image under every condition, image to text under the first."""
    images, conditions = read_pool(reader)
    image_embeds = scorer.images(images)
    scores = []
    for number, (name, condition) in enumerate(conditions.items()):
        part = name if len(conditions) > 1 else ""
        text_embeds = scorer.texts(condition.texts)
        with metric_of(reader.benchmark.title):
            result = recall(text_embeds, condition.queries, image_embeds, condition.images, KS)
        scores += recall_scores("text-to-image", part, result, reader.left_out_captions[name])
        if number == 0:
            captions = [[] for _ in range(len(images))]
            for text, own in enumerate(condition.images):
                for image in own:
                    captions[image].append(text)
            queries = np.array([image for image, own in enumerate(captions) if own])
            with metric_of(reader.benchmark.title):
                result = recall(image_embeds, queries, text_embeds, captions, KS)
            scores += recall_scores("image-to-text", part, result, reader.left_out[name])
    return scores


def read_pool(reader: ItemReader) -> tuple[ItemImages, dict[str, Condition]]:
    """All images, and the captions by condition, in the order of the files."""
    pairs: dict[str, list[tuple[str, int]]] = {}
    images, image_at = distinct_images(noting_captions(reader, pairs), reader.benchmark.title)
    conditions = {}
    for name, captions in pairs.items():
        texts = {text: at for at, text in enumerate(sorted({text for text, _ in captions}))}
        own = [set() for _ in texts]
        for text, item in captions:
            own[texts[text]].update(image_at[item])
        queries = np.array([texts[text] for text, _ in captions])
        conditions[name] = Condition(list(texts), [sorted(some) for some in own], queries)
    return images, conditions


def noting_captions(reader: ItemReader, pairs: dict[str, list[tuple[str, int]]]) -> Iterator[dict]:
    """Passes the items on and puts down their captions: condition -> (caption, number of the item)."""
    for number, item in enumerate(reader):
        pairs.setdefault(item["category"], []).extend((text, number) for text in item["captions"])
        yield item


def recall_scores(direction: str, part: str, result: dict, left_out: int) -> list[Score]:
    return [
        Score(
            f"{direction} recall@{k}",
            part,
            result[f"recall_at_{k}"],
            result["count"],
            result[f"chance_at_{k}"],
            result[f"ties_at_{k}"],
            left_out,
            headline=k == 1 and direction == "text-to-image",
        )
        for k in KS
    ]


def score_classes(reader: ItemReader, scorer: EmbeddingScorer) -> list[Score]:
    """Top-1 under each condition: an image against the mean of the embeddings of each class's prompts."""
    classes = reader.benchmark.classes(reader.data_dir)
    if any(len(prompts) < 2 for prompts in classes.values()):
        raise UsageError(f"{reader.benchmark.title} has a single class: there is nothing to choose from.")
    embeds = {condition: class_embeds(prompts, scorer) for condition, prompts in classes.items()}
    scores = []
    with tempfile.TemporaryDirectory() as folder:
        modules = {
            condition: ChoiceAccuracy(cache_dir=folder, experiment_id=str(number))
            for number, condition in enumerate(embeds)
        }
        for chunk in reader.chunks(ITEMS_AT_A_TIME):
            images, answers = scorer.images(chunk.images), np.array([item["answer"] for item in chunk.items])
            image_at = np.array(chunk.image_at)[:, 0]
            for start in range(0, len(image_at), QUERIES_AT_A_TIME):
                some = slice(start, start + QUERIES_AT_A_TIME)
                own = images[image_at[some]].double()
                for condition, module in modules.items():
                    found = (own @ embeds[condition].T).float().numpy()
                    with metric_of(reader.benchmark.title):
                        module.add_batch(scores=found, answers=answers[some])
        for number, (condition, module) in enumerate(modules.items()):
            result = module.compute()
            scores.append(
                Score(
                    "top-1",
                    condition,
                    result["accuracy"],
                    result["count"],
                    result["chance"],
                    result["ties"],
                    reader.left_out.total(),
                    headline=number == 0,
                )
            )
    return scores


def class_embeds(prompts: list[list[str]], scorer: EmbeddingScorer) -> torch.Tensor:
    """float64, (classes, d), unit rows."""
    texts = {text: at for at, text in enumerate(sorted({text for own in prompts for text in own}))}
    embeds = scorer.texts(list(texts))
    means = torch.stack([embeds[[texts[text] for text in own]].double().mean(dim=0) for own in prompts])
    return torch.nn.functional.normalize(means, dim=1)
