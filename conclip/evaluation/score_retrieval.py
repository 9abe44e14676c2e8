"""Score retrieval: every caption is compared with all images of a benchmark, and every image with all captions."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from conclip.embedding.retrieval import (
    first_image_true,
    image_to_text_recall,
    pool_images,
    text_to_image_recall,
)
from conclip.evaluation.items import ItemImages, ItemReader, distinct_images
from conclip.evaluation.score import Record, Score, reporting_metric_errors
from conclip.models.cached_encoder import CachedEncoder

KS = (1, 5, 10)


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
