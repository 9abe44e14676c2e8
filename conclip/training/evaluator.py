"""Scores of a model on held-out rows: negation pairs, true negations, multiple choice and retrieval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedModel

from conclip.data import pair_captions, require_columns, source_row, text_lists
from conclip.embedding.images import ImageEmbedder, open_images
from conclip.embedding.retrieval import first_image_true, image_to_text_recall, pool_images, text_to_image_recall
from conclip.embedding.texts import embed_texts
from conclip.embedding.tokens import TextTokens
from conclip.errors import UsageError
from conclip.metrics.choice_accuracy.choice_accuracy import choice_accuracy
from conclip.metrics.pair_accuracy.pair_accuracy import pair_accuracy
from conclip.negation.arithmetic import embed_negations
from conclip.negation.query import Query
from conclip.negation.questions import QUESTION_KINDS, Question, make_questions
from conclip.training.arguments import DISTILLATION, ConCLIPTrainingArguments
from conclip.training.model_checks import require_fitting_images
from modeling_conclip import ConCLIPModel

Truth = Callable[[list[str], list[list[str]]], np.ndarray]
MULTIPLE_CHOICE = "multiple choice accuracy"
# How many of the best count in retrieval.
RECALL_AT = (1, 5)


@dataclass
class Pairs:
    """
    A true and a false caption for an image, N times.

    Args:
        rows: row of the image of each pair.
        true, false: the captions.
        kinds: category of each pair, or `None`.
    """

    rows: list[int]
    true: list[str]
    false: list[str]
    kinds: list[str] | None


def negation_pairs(dataset: Dataset, captions: list[list[str]], column: str, split: str) -> Pairs | None:
    """
    Pair the captions of each row with its negated captions, see `pair_captions`.

    Returns:
        The pairs; `None` if the data has no negated captions.
    """
    if column not in dataset.column_names:
        return None
    negated = text_lists(dataset, column, split)
    at = [
        (row, caption, place)
        for row, (own, texts) in enumerate(zip(captions, negated, strict=True))
        for caption, place in pair_captions(len(own), len(texts))
    ]
    return Pairs(
        rows=[row for row, _, _ in at],
        true=[captions[row][caption] for row, caption, _ in at],
        false=[negated[row][place] for row, _, place in at],
        kinds=kinds_of(dataset, "negation_kinds", negated, [(row, place) for row, _, place in at]),
    )


def true_negation_pairs(dataset: Dataset, split: str) -> Pairs | None:
    """
    Pair each true negation with its foil, a false caption that differs in as few words as possible.

    Reads the columns `true_negations` and `true_negation_foils`; returns `None` if the data has none.
    """
    if not {"true_negations", "true_negation_foils"} <= set(dataset.column_names):
        return None
    true = text_lists(dataset, "true_negations", split, may_be_empty=True)
    at = [(row, place) for row, texts in enumerate(true) for place in range(len(texts))]
    if not at:
        return None
    false = text_lists(dataset, "true_negation_foils", split, may_be_empty=True)
    for index, (texts, foils) in enumerate(zip(true, false, strict=True)):
        if len(texts) != len(foils):
            raise UsageError(
                f"Split {split!r}, row {source_row(dataset, index)}: {len(texts)} true_negations, but {len(foils)} "
                "true_negation_foils: each true negation needs a foil."
            )
    return Pairs(
        rows=[row for row, _ in at],
        true=[true[row][place] for row, place in at],
        false=[false[row][place] for row, place in at],
        kinds=kinds_of(dataset, "true_negation_kinds", true, at),
    )


def kinds_of(dataset: Dataset, column: str, texts: list[list[str]], at: list[tuple[int, int]]) -> list[str] | None:
    """
    Return the kinds of some texts.

    Args:
        texts: the texts of each row.
        at: row and position in the row of each text whose kind is returned.

    Returns:
        The kinds; `None` if the data does not have one for each text.
    """
    if column not in dataset.column_names:
        return None
    kinds = dataset[column][:]
    if any(
        not isinstance(own, list) or len(own) != len(some) or not all(own)
        for own, some in zip(kinds, texts, strict=True)
        if own or some
    ):
        return None
    return [kinds[row][place] for row, place in at]


def choices_on(captions: list[list[str]], content: np.ndarray) -> tuple[list[Question], str]:
    """
    Make multiple-choice questions on the distinct images.

    Args:
        captions: of each row.
        content: int64, (rows,), the number of each row's image.

    Returns:
        The questions; and, if there are none, a sentence that says why.
    """
    of_images: list[list[str]] = [[] for _ in range(content.max() + 1)]
    for image, own in zip(content, captions, strict=True):
        of_images[image] += own
    questions = make_questions(of_images)
    return questions, "" if questions else f"No {MULTIPLE_CHOICE}: the captions name too few things."


class Evaluator:
    """
    Score models on one dataset.

    Every distinct image and text is embedded once. While the image encoder is frozen, the image embeddings are reused
    in the next call. If a row has several captions, all of them are scored.

    Args:
        dataset: the rows to score.
        embedder: embeds the images.
        tokenize: takes all texts and returns their tokens.
        split: name of the split, for messages.
        image_column, caption_column, negated_caption_column: names of the columns.
        embeddings, parts: whether `image_column` holds embeddings, see `open_images`.
        truth: if it is known of which images a text is true: takes texts and the column "objects", returns bool,
            (texts, rows).
        questions: multiple-choice questions, whose images are numbers of rows. By default, they are made of the
            captions, unless the truth is known: what captions leave unsaid may be in the image.

    Attributes:
        not_scored: sentences that say what could not be scored, and why.

    Raises:
        UsageError: a missing column or a blank text.
    """

    def __init__(
        self,
        dataset: Dataset,
        embedder: ImageEmbedder,
        tokenize: Callable[[list[str]], TextTokens],
        split: str = "test",
        image_column: str = "image",
        caption_column: str = "caption",
        negated_caption_column: str = "negated_captions",
        embeddings: bool = False,
        parts: list[np.ndarray] | None = None,
        truth: Truth | None = None,
        questions: Sequence[Question] | None = None,
    ):
        option = "--image_embeds_column" if embeddings else "--image_column"
        require_columns(dataset, {option: image_column, "--caption_column": caption_column}, split)
        self.embedder, self.images = embedder, open_images(dataset, image_column, split, embeddings, parts)
        captions = text_lists(dataset, caption_column, split)
        self.captions = [text for own in captions for text in own]
        self.caption_rows = np.repeat(np.arange(len(captions)), [len(own) for own in captions])
        self.pairs = {
            "negation pair accuracy": negation_pairs(dataset, captions, negated_caption_column, split),
            "true negation accuracy": true_negation_pairs(dataset, split),
        }
        self.image_embeds, self.text_embeds = None, None
        self.pool, self.content = pool_images(self.embedder.keys(self.images))
        why = ""
        if questions is not None or truth:
            self.questions = [replace(asked, image=self.content[asked.image]) for asked in questions or []]
        else:
            self.questions, why = choices_on(captions, self.content)
        absent = {
            "negation pair accuracy": f"the data has no negated captions (column {negated_caption_column})",
            "true negation accuracy": "the data has no true negations with foils",
        }
        self.not_scored = [f"No {name}: {absent[name]}." for name, pairs in self.pairs.items() if pairs is None]
        self.not_scored += [why] if why else []
        # Name of the metric -> texts, each true of one image or more, and bool, (texts, rows), of which.
        self.queries: dict[str, tuple[list[str], np.ndarray]] = {}
        if truth:
            queries = {"captions": self.captions}
            if negations := self.pairs["true negation accuracy"]:
                # Both foils of a row have the same true negation.
                own = dict.fromkeys(zip(negations.rows, negations.true, strict=True))
                queries["true negations"] = [text for _, text in own]
            for name, texts in queries.items():
                self.queries[f"first image true, {name}"] = texts, truth(texts, dataset["objects"][:])
        texts = self.captions + [text for pairs in self.pairs.values() if pairs for text in pairs.true + pairs.false]
        texts += [text for question in self.questions for text in question.texts]
        # The queries are among these.
        distinct = list(dict.fromkeys(texts))
        self.tokens = tokenize(distinct)
        # Texts that are equal to the model share one embedding: two could differ by rounding, where they have to tie.
        first: dict[bytes, int] = {}
        tokens = np.split(self.tokens.ids, self.tokens.offsets[1:-1])
        self.text_index = {
            text: first.setdefault(own.tobytes(), at)
            for at, (text, own) in enumerate(zip(distinct, tokens, strict=True))
        }

    def __call__(self, model: ConCLIPModel) -> tuple[dict, dict[str, np.ndarray]]:
        """
        Score a model.

        Returns:
            Metrics by name, each a dict of value, count, ties, chance and, if the data has them, categories; and the
            margins of each pair metric: float64, (pairs,), cosine of the true minus cosine of the false caption.
        """
        training = model.training
        model.eval()
        frozen = model.image_encoder_is_frozen
        images = self.image_embeds if frozen else None
        if images is None:
            images = self.embedder(model, self.images, "images")[:]
        self.image_embeds = images
        self.text_embeds = embed_texts(model, self.tokens, self.embedder.accelerator, self.embedder.batch_size)
        model.train(training)
        return self._score(self.text_embeds, images)

    def query_arithmetic(self, arithmetic: Callable[[Sequence[Query]], torch.Tensor]) -> dict:
        """
        Score the model of the last call again, with query arithmetic in place of its embeddings of texts that negate.

        Args:
            arithmetic: takes n queries and returns unit embeddings, (n, d).

        Returns:
            Metrics by name, as `__call__`.
        """
        embeds = self.text_embeds.clone()
        embed_negations(embeds, ((at, text) for text, at in self.text_index.items()), arithmetic)
        return self._score(embeds, self.image_embeds)[0]

    def _score(self, embeds: torch.Tensor, images: torch.Tensor) -> tuple[dict, dict[str, np.ndarray]]:
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
        if self.questions:
            metrics[MULTIPLE_CHOICE] = self._choices(embeds, images)
        return metrics | self._retrieval(embeds, images), margins

    def _choices(self, embeds: torch.Tensor, images: torch.Tensor) -> dict:
        """Return how often the true text of a question is nearest to the image, and of each kind of question."""
        at = torch.tensor([[self.text_index[text] for text in question.texts] for question in self.questions])
        own = images[self.pool[[question.image for question in self.questions]]]
        scores = (embeds[at].double() * own[:, None].double()).sum(dim=2).float().numpy()
        result = choice_accuracy(scores, [0] * len(scores), [question.kind for question in self.questions])
        # In the order of what is asked, not of the alphabet.
        kinds = {kind: result["categories"][kind] for kind in QUESTION_KINDS if kind in result["categories"]}
        return (
            {"value": result["accuracy"]}
            | {name: result[name] for name in ("count", "ties", "chance")}
            | {"categories": kinds}
        )

    def _retrieval(self, text_embeds: torch.Tensor, image_embeds: torch.Tensor) -> dict[str, dict]:
        """
        Return how often a caption finds its own image among the first of the distinct images of all rows, how often an
        image finds one of its captions among the first and, if the truth is known, how often a text finds an image
        first of which it is true.
        """
        pool = self.pool

        def at(texts: list[str]) -> np.ndarray:
            return np.array([self.text_index[text] for text in texts])

        searched = text_embeds, at(self.captions), image_embeds, pool, self.content[self.caption_rows], RECALL_AT
        directions = {
            "text-to-image": text_to_image_recall(*searched),
            "image-to-text": image_to_text_recall(*searched),
        }
        results = {
            f"{direction} recall@{k}": metric_at(result, k)
            for direction, result in directions.items()
            for k in RECALL_AT
        }
        for name, (texts, true) in self.queries.items():
            found = first_image_true(text_embeds, at(texts), image_embeds, pool, true[:, pool])
            results[name] = metric_at(found, 1)
        return results


def make_evaluator(
    dataset: Dataset,
    args: ConCLIPTrainingArguments,
    columns: dict,
    model: PreTrainedModel,
    embedder: ImageEmbedder,
    tokenize: Callable[[list[str]], TextTokens],
    truth: Truth | None = None,
    questions: Sequence[Question] | None = None,
) -> Evaluator | None:
    """
    Return the evaluator of a model on images; `None` for texts without images, and for another family than CLIP.

    Args:
        columns: from `columns_of`.
        dataset, embedder, tokenize, truth, questions: as in `Evaluator`.

    Raises:
        UsageError: a missing column, a blank text, or images that do not fit the model.
    """
    column = columns["image_column"]
    has_images = column in dataset.column_names
    if has_images and not isinstance(model, ConCLIPModel):
        embedder.accelerator.print(
            f"The images in the column {column} are not read: a {model.config.model_type} model is scored on "
            "statements alone; `conclip evaluate` scores it on images."
        )
        return None
    if not has_images and args.loss == DISTILLATION:
        return None
    split = str(dataset.split or "test")
    evaluator = Evaluator(dataset, embedder, tokenize, split, truth=truth, questions=questions, **columns)
    require_fitting_images(evaluator.images, embedder.image_processor, model)
    return evaluator


def metric_at(result: dict, k: int) -> dict:
    """Return recall@k of a result of the metric `retrieval_recall`."""
    names = {"value": f"recall_at_{k}", "count": "count", "ties": f"ties_at_{k}", "chance": f"chance_at_{k}"}
    return {name: result[key] for name, key in names.items()}
