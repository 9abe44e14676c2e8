"""Choice accuracy: how often the right one of several options scores higher than every other.

The arithmetic is the plain function `choice_accuracy`; `ChoiceAccuracy` lets `evaluate.load` find it.
"""

from __future__ import annotations

import math

import datasets
import evaluate
import numpy as np

from .checks import check_rows, finite_scores, plain, rows_by_category

# Scores compared at once: 8 MB as float64, however many items there are.
BLOCK = 2**20

RIGHT, TIE, WRONG = 1, 0, -1

# What is written to disk between batches. The scores would fill the disk (a thousand per item for ImageNet), so each
# item is stored as its outcome, in the column "scores", and its number of options, in the column "answers".
STORED = datasets.Features(
    {
        "scores": datasets.Value("int8"),
        "answers": datasets.Value("int64"),
        "categories": datasets.Value("string"),
    }
)

_DESCRIPTION = """
Accuracy over choices between two or more options: an item is correct if the score of the right option is strictly
greater than the score of every other. A tie for the first place is an error, and ties are counted. Overall and, with a
category for each item, per category.
"""

_KWARGS_DESCRIPTION = """
Args:
    scores (one list of `float` per item): the scores of the item's options. The number of options may differ.
    answers (one `int` per item): the index of the right option, counted from 0.
    categories (one `str` per item, optional): the category the item belongs to; for all items or for none.
    return_items (`bool`, default False, `compute` only): return the outcome of each item too.

Returns:
    accuracy (`float`): correct / count, from 0 to 1.
    correct (`int`): items whose right option scores strictly higher than every other.
    ties (`int`): items whose right option shares the highest score with another; they are errors.
    count (`int`): all items.
    chance (`float`): the value of random scores, the mean of 1 / number of options.
    categories (`dict`, with categories): name -> the five values above for that category, sorted by name.
    macro_accuracy (`float`, with categories): the mean of the categories' accuracies.
    items (`dict`, with return_items): correct and tie, one `bool` per item each, in order.

Examples:
    In the folder `evaluate/` of a clone:

    >>> import evaluate
    >>> metric = evaluate.load("./choice_accuracy")
    >>> metric.compute(scores=[[0.3, 0.1, 0.2, 0.0], [0.2, 0.2, 0.1, 0.0], [0.1, 0.2]], answers=[0, 0, 1])
    {'accuracy': 0.6666666666666666, 'correct': 2, 'ties': 1, 'count': 3, 'chance': 0.3333333333333333}
"""

_CITATION = """
@inproceedings{alhamoud2025vision,
  title={Vision-Language Models Do Not Understand Negation},
  author={Alhamoud, Kumail and Alshammari, Shaden and Tian, Yonglong and Li, Guohao and Torr, Philip and Kim, Yoon and
    Ghassemi, Marzyeh},
  booktitle={Conference on Computer Vision and Pattern Recognition},
  year={2025}
}
@inproceedings{yuksekgonul2023when,
  title={When and why vision-language models behave like bags-of-words, and what to do about it?},
  author={Yuksekgonul, Mert and Bianchi, Federico and Kalluri, Pratyusha and Jurafsky, Dan and Zou, James},
  booktitle={International Conference on Learning Representations},
  year={2023}
}
"""


def choice_accuracy(scores, answers, categories=None, return_items=False) -> dict:
    """Strict accuracy of the right option over all others.

    The score of NegBench's multiple choice, of ARO's orders (there called precision@1), of NegRefCOCOg (the options
    are crops) and of zero-shot classification (the options are classes; top-1).

    Args:
        scores: (N, K) numbers, the scores of each item's options, K >= 2; any unit; higher is better. An array or
            a tensor, or a list of N rows, which may differ in length. Compared as float64, some rows at a time.
        answers: (N,) int, the index of each item's right option, 0 <= answer < K.
        categories: (N,) non-empty str, the category of each item, or None for no categories.
        return_items: return the outcome of each item too.

    Returns:
        A dict of plain Python numbers, ready for JSON: `accuracy` (float, correct / count), `correct`, `ties` (items
        whose right option shares the highest score), `count` (int) and `chance` (float, the mean of 1 / K over the
        items). With categories also `categories`, a dict name -> the same five values, sorted by name, and
        `macro_accuracy` (float), the plain mean of the categories' accuracies. With `return_items` also `items`:
        {`correct`, `tie`}, lists of N bool in the order of the items.

    Raises:
        ValueError: columns of different lengths, no items, an item with fewer than two options, an answer that is none
            of its options, a score that is not a finite number, or a category that is missing. The message names the
            row, counted from 0.

    Example:
        >>> result = choice_accuracy([[0.3, 0.1], [0.2, 0.2], [0.1, 0.4, 0.2, 0.3]], [0, 0, 1], ["a", "a", "b"])
        >>> result["accuracy"], result["ties"]
        (0.6666666666666666, 1)
        >>> result["categories"]["b"]
        {'accuracy': 1.0, 'correct': 1, 'ties': 0, 'count': 1, 'chance': 0.25}
        >>> result["macro_accuracy"]
        0.75
    """
    return _result(*_outcomes(scores, answers, categories), return_items)


def _result(outcomes, options, categories, return_items) -> dict:
    result = _entry(outcomes, options)
    if categories is not None:
        rows = rows_by_category(categories)
        result["categories"] = {name: _entry(outcomes[row], options[row]) for name, row in rows.items()}
        result["macro_accuracy"] = sum(entry["accuracy"] for entry in result["categories"].values()) / len(rows)
    if return_items:
        result["items"] = {"correct": (outcomes == RIGHT).tolist(), "tie": (outcomes == TIE).tolist()}
    return result


def _entry(outcomes, options) -> dict:
    correct, count = int(np.count_nonzero(outcomes == RIGHT)), len(outcomes)
    return {
        "accuracy": correct / count,
        "correct": correct,
        "ties": int(np.count_nonzero(outcomes == TIE)),
        "count": count,
        # Rounded only once, so that the order of the items has no influence.
        "chance": math.fsum((1 / options).tolist()) / count,
    }


def _outcomes(scores, answers, categories, first_row=0):
    """Check the columns; return (N,) int8, the outcome of each item, (N,) int64, its number of options, and
    the categories, N str or None.

    `first_row`: number of rows in earlier batches, added to the row numbers in messages.
    """
    scores, options = _options(scores, first_row)
    answers = _indices(answers, first_row)
    categories = check_rows({"scores": scores, "answers": answers}, categories, first_row=first_row)
    astray = np.flatnonzero((answers < 0) | (answers >= options))
    if len(astray):
        row = astray[0]
        raise ValueError(
            f"Row {first_row + row} of answers is {answers[row]}: with {options[row]} options, an answer is an index "
            f"from 0 to {options[row] - 1}."
        )

    outcomes = np.empty(len(answers), dtype=np.int8)
    # Rows of different lengths do not form an array and are processed one at a time.
    step = max(1, BLOCK // options[0]) if (options == options[0]).all() else 1
    for start in range(0, len(answers), step):
        block = slice(start, start + step)
        values = finite_scores("scores", scores[block], (None,), "one list of scores an item", first_row + start)
        own = np.take_along_axis(values, answers[block, None], axis=1)  # (rows, 1)
        shared = np.where(np.count_nonzero(values == own, axis=1) > 1, TIE, RIGHT)
        outcomes[block] = np.where(values.max(axis=1) > own[:, 0], WRONG, shared)
    return outcomes, options, categories


def _options(scores, first_row):
    """The scores as something to slice rows from, and each item's number of options, (N,) int64."""
    if scores is None:
        raise ValueError("scores is missing.")
    if hasattr(scores, "shape"):
        if len(scores.shape) != 2:
            raise ValueError(f"scores must be one list of scores an item, got shape {tuple(scores.shape)}.")
        options = np.full(scores.shape[0], scores.shape[1], dtype=np.int64)
    else:
        scores = list(scores)
        for row, values in enumerate(scores, start=first_row):
            if not hasattr(values, "__len__") or isinstance(values, str) or not getattr(values, "shape", (0,)):
                raise ValueError(f"Row {row} of scores is {values!r}: an item needs a list with a score an option.")
        options = np.array([len(values) for values in scores], dtype=np.int64)
    few = np.flatnonzero(options < 2)
    if len(few):
        raise ValueError(f"Row {first_row + few[0]} of scores has {options[few[0]]} options: a choice needs two.")
    return scores, options


def _indices(answers, first_row) -> np.ndarray:
    if answers is None:
        raise ValueError("answers is missing.")
    answers = np.asarray(plain(answers))
    if answers.ndim != 1:
        raise ValueError(f"answers must be one-dimensional, one index an item, got shape {answers.shape}.")
    if answers.dtype.kind not in "iu":
        for row, value in enumerate(answers.tolist(), start=first_row):
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(f"Row {row} of answers is {value!r}: an answer is the index of an option, an int.")
    return answers.astype(np.int64)


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class ChoiceAccuracy(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "scores": datasets.Sequence(datasets.Value("float64")),
                    "answers": datasets.Value("int64"),
                    "categories": datasets.Value("string"),
                }
            ),
            reference_urls=["https://arxiv.org/abs/2501.09425", "https://arxiv.org/abs/2210.01936"],
        )

    def _infer_feature_from_batch(self, batch):
        return STORED

    def add(self, *, scores, answers, categories=None):
        """Add one item: the scores of its options, the index of the right one and, optionally, its category."""
        categories = None if categories is None else [categories]
        self.add_batch(scores=[scores], answers=[answers], categories=categories)

    def add_batch(self, *, scores, answers, categories=None):
        """Add a batch of items; a faulty batch raises ValueError and is not added."""
        outcomes, options, categories = _outcomes(scores, answers, categories, first_row=len(self))
        # The library has no optional columns and stores no None in a string column. The empty string, which cannot be
        # a category, means "no categories".
        super().add_batch(scores=outcomes, answers=options, categories=categories or [""] * len(options))

    def _compute(self, scores, answers, categories, return_items=False):
        categories = categories if any(categories) else None
        # Some batches may have come without categories.
        categories = check_rows({"scores": scores}, categories)
        return _result(np.array(scores), np.array(answers), categories, return_items)
