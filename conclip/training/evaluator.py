"""Scores a model on held-out rows: negation pairs, true negations, retrieval."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from datasets import Dataset

from conclip.data import require_columns, text_lists
from conclip.embedding.image_column import ImageColumn
from conclip.embedding.images import ImageEmbedder
from conclip.embedding.retrieval import recall
from conclip.embedding.texts import embed_texts
from conclip.embedding.tokens import TextTokens
from conclip.errors import UsageError
from conclip.metrics.pair_accuracy.pair_accuracy import pair_accuracy
from conclip.training.arguments import Arguments
from modeling_conclip import ConCLIPModel


@dataclass
class Pairs:
    """Captions of which the first is true of the image of its row and the second is not."""

    rows: list[int]
    true: list[str]
    false: list[str]
    kinds: list[str] | None


def negation_pairs(dataset: Dataset, arguments: Arguments, captions: list[str]) -> Pairs | None:
    """Each caption with each of its negated captions; `None` if the data has none."""
    column, split = arguments.data.negated_caption_column, arguments.data.eval_split_name
    if column not in dataset.column_names:
        return None
    negated = text_lists(dataset, column, split)
    rows = [row for row, texts in enumerate(negated) for _ in texts]
    true = [captions[row] for row in rows]
    return Pairs(rows, true, [*chain.from_iterable(negated)], kinds_of(dataset, "negation_kinds", rows))


def true_negation_pairs(dataset: Dataset, arguments: Arguments) -> Pairs | None:
    """True negations with their foils, columns of the project's schema; `None` if the data has none."""
    split = arguments.data.eval_split_name
    if not {"true_negations", "true_negation_foils"} <= set(dataset.column_names):
        return None
    true = text_lists(dataset, "true_negations", split, may_be_empty=True)
    rows = [row for row, texts in enumerate(true) for _ in texts]
    if not rows:
        return None
    false = text_lists(dataset, "true_negation_foils", split, may_be_empty=True)
    for index, (texts, foils) in enumerate(zip(true, false, strict=True)):
        if len(texts) != len(foils):
            raise UsageError(
                f"Split {split!r}, row {index}: {len(texts)} true_negations, but {len(foils)} true_negation_foils."
            )
    flat = [[*chain.from_iterable(texts)] for texts in (true, false)]
    return Pairs(rows, *flat, kinds_of(dataset, "true_negation_kinds", rows))


def kinds_of(dataset: Dataset, column: str, rows: list[int]) -> list[str] | None:
    if column not in dataset.column_names:
        return None
    kinds = [kind for kinds in dataset[column] for kind in kinds or ()]
    return kinds if len(kinds) == len(rows) and all(kinds) else None


def recall_at_1(text_embeds: torch.Tensor, image_embeds: torch.Tensor, groups: np.ndarray) -> dict:
    """
    Text-to-image recall@1.

    Args:
        text_embeds, image_embeds: float32, (N, d), unit rows; text i describes image i.
        groups: int, (N,). Images of the same group as the text are all right answers (rows with the same caption).

    Returns:
        `value`, `count`, `ties`, `chance`.
    """
    members = [[] for _ in range(groups.max() + 1)]
    for row, group in enumerate(groups):
        members[group].append(row)
    result = recall(text_embeds, np.arange(len(groups)), image_embeds, [members[group] for group in groups], ks=[1])
    return {
        "value": result["recall_at_1"],
        "count": result["count"],
        "ties": result["ties_at_1"],
        "chance": result["chance_at_1"],
    }


class Evaluator:
    """
    Scores models on one split. Every distinct image and text is embedded once; image embeddings are kept for the next
    call while the image tower is frozen.

    Args:
        dataset: the rows to score.
        arguments: columns.
        embedder: for images.
        tokenize: takes all texts, gives their tokens.
    """

    def __init__(
        self,
        dataset: Dataset,
        arguments: Arguments,
        embedder: ImageEmbedder,
        tokenize: Callable[[list[str]], TextTokens],
    ):
        data = arguments.data
        columns = {"--image_column": data.image_column, "--caption_column": data.caption_column}
        require_columns(dataset, columns, data.eval_split_name)
        self.embedder, self.images = embedder, ImageColumn(dataset, data.image_column, data.eval_split_name)
        self.captions = [texts[0] for texts in text_lists(dataset, data.caption_column, data.eval_split_name)]
        self.pairs = {
            "negation pair accuracy": negation_pairs(dataset, arguments, self.captions),
            "true negation accuracy": true_negation_pairs(dataset, arguments),
        }
        self.image_embeds = None
        texts = self.captions + [text for pairs in self.pairs.values() if pairs for text in pairs.true + pairs.false]
        self.text_index = {text: at for at, text in enumerate(dict.fromkeys(texts))}
        self.tokens = tokenize(list(self.text_index))

    def __call__(self, model: ConCLIPModel) -> tuple[dict, dict[str, np.ndarray]]:
        """
        Returns:
            Metrics (name -> value, count, ties, chance, and by category), and for each pair metric the margins:
            float64, cosine of the true minus cosine of the false caption.
        """
        training = model.training
        model.eval()
        frozen = model.image_encoder_is_frozen
        images = self.image_embeds if frozen else None
        if images is None:
            images = self.embedder(model, self.images, "images")[:]
        self.image_embeds = images
        embeds = embed_texts(model, self.tokens, self.embedder.accelerator, self.embedder.batch_size)
        model.train(training)

        metrics, margins = {}, {}
        for name, pairs in self.pairs.items():
            if pairs is None:
                continue
            rows = images[pairs.rows]
            scores = [
                (rows * embeds[[self.text_index[text] for text in side]]).sum(dim=1).double().numpy()
                for side in (pairs.true, pairs.false)
            ]
            result = pair_accuracy(*scores, categories=pairs.kinds)
            metrics[name] = {"value": result.pop("accuracy"), **result}
            margins[name] = scores[0] - scores[1]
        at = np.array([self.text_index[caption] for caption in self.captions])
        metrics["text-to-image recall@1"] = recall_at_1(embeds[at], images, at)
        return metrics, margins
