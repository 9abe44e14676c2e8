"""Pair accuracy: how often an image scores higher with its true caption than with a false one.

The arithmetic is the plain function `pair_accuracy`; `PairAccuracy` lets `evaluate.load` find it.
"""

from __future__ import annotations

import numbers

import datasets
import evaluate
import numpy as np

CHANCE = 0.5

_DESCRIPTION = """
Accuracy over pairs of captions: a pair is correct if the score of the true caption is strictly greater than the score
of the false one. A tie is an error, and ties are counted. Overall and, with a category for each pair, per category.
"""

_KWARGS_DESCRIPTION = """
Args:
    true_scores (one `float` a pair): the score of the true caption, e.g. its cosine similarity with the image.
    false_scores (one `float` a pair): the score of the false caption with the same image.
    categories (one `str` a pair, optional): the category the pair belongs to; for all pairs or for none.

Returns:
    accuracy (`float`): correct / count, from 0 to 1.
    correct (`int`): pairs whose true caption scores strictly higher.
    ties (`int`): pairs whose two scores are equal; they are errors.
    count (`int`): all pairs.
    chance (`float`): 0.5, what a random score gets.
    categories (`dict`, with categories): name -> accuracy, correct, ties and count of that category, sorted by name.
    macro_accuracy (`float`, with categories): the mean of the categories' accuracies.

Examples:
    >>> import evaluate
    >>> metric = evaluate.load("./evaluate/pair_accuracy")
    >>> metric.compute(true_scores=[0.31, 0.27, 0.22, 0.25], false_scores=[0.19, 0.27, 0.24, 0.11])
    {'accuracy': 0.5, 'correct': 2, 'ties': 1, 'count': 4, 'chance': 0.5}
"""

_CITATION = """
@article{singh2024learn,
  title={Learn "No" to Say "Yes" Better: Improving Vision-Language Models via Negations},
  author={Singh, Jaisidh and Shrivastava, Ishaan and Vatsa, Mayank and Singh, Richa and Bharati, Aparna},
  journal={arXiv preprint arXiv:2403.20312},
  year={2024}
}
@inproceedings{yuksekgonul2023when,
  title={When and why vision-language models behave like bags-of-words, and what to do about it?},
  author={Yuksekgonul, Mert and Bianchi, Federico and Kalluri, Pratyusha and Jurafsky, Dan and Zou, James},
  booktitle={International Conference on Learning Representations},
  year={2023}
}
"""


def pair_accuracy(true_scores, false_scores, categories=None) -> dict:
    """Strict accuracy of true over false captions: the score of CC-Neg, SugarCrepe, ARO's pairs and VALSE.

    Args:
        true_scores: (N,) numbers, the score of each pair's true caption; any unit, the higher the better. A list, an
            array or a tensor; compared as float64, which holds every float16, bfloat16 and float32 exactly.
        false_scores: (N,) numbers, the score of each pair's false caption, in the same unit.
        categories: (N,) non-empty str, the category of each pair, or None for no categories.

    Returns:
        A dict of plain Python numbers, ready for JSON: `accuracy` (float, correct / count), `correct`, `ties`, `count`
        (int) and `chance` (float, 0.5). With categories also `categories`, a dict name -> {`accuracy`, `correct`,
        `ties`, `count`} sorted by name, and `macro_accuracy` (float), the plain mean of the categories' accuracies.

    Raises:
        ValueError: columns of different lengths, no pairs, a score that is not a finite number, or a category that is
            missing. Infinities are refused as well: no cosine or logit is infinite, and two overflows would look like
            a tie. The message names the first such row, counted from 0.

    Example:
        >>> result = pair_accuracy([0.31, 0.27, 0.22], [0.19, 0.27, 0.24], ["object", "object", "verb"])
        >>> result["accuracy"], result["ties"]
        (0.3333333333333333, 1)
        >>> result["categories"]["object"]
        {'accuracy': 0.5, 'correct': 1, 'ties': 1, 'count': 2}
        >>> result["macro_accuracy"]
        0.25
    """
    true_scores, false_scores, categories = _columns(true_scores, false_scores, categories)
    correct = true_scores > false_scores
    ties = true_scores == false_scores
    result = _entry(np.count_nonzero(correct), np.count_nonzero(ties), len(correct)) | {"chance": CHANCE}
    if categories is None:
        return result

    names = sorted(set(categories))
    index = {name: i for i, name in enumerate(names)}
    group = np.fromiter((index[category] for category in categories), dtype=np.intp, count=len(categories))  # (N,)
    counts = [np.bincount(group[rows], minlength=len(names)) for rows in (correct, ties, slice(None))]
    result["categories"] = {name: _entry(*row) for name, *row in zip(names, *counts, strict=True)}
    result["macro_accuracy"] = sum(entry["accuracy"] for entry in result["categories"].values()) / len(names)
    return result


def _entry(correct, ties, count) -> dict:
    correct, ties, count = int(correct), int(ties), int(count)
    return {"accuracy": correct / count, "correct": correct, "ties": ties, "count": count}


def _columns(true_scores, false_scores, categories, first_row=0):
    """Check the three columns; return (N,) float64, (N,) float64 and a list of N str or None.

    `first_row` is added to the row numbers in messages: the rows that came in earlier batches.
    """
    true_scores = _scores("true_scores", true_scores, first_row)
    false_scores = _scores("false_scores", false_scores, first_row)
    lengths = {"true_scores": len(true_scores), "false_scores": len(false_scores)}
    if categories is not None:
        # str() drops numpy's own string type, which JSON and Arrow would take but a reader of the result would see.
        categories = [str(value) if isinstance(value, str) else value for value in categories]
        lengths["categories"] = len(categories)
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{count} {name}" for name, count in lengths.items())
        raise ValueError(f"Every pair needs one value in each column, got {counts}.")
    if not len(true_scores):
        raise ValueError("There are no pairs to score: true_scores and false_scores are empty.")
    for row, value in enumerate(categories or (), start=first_row):
        if not isinstance(value, str) or not value:
            raise ValueError(f"Row {row} of categories is {value!r}: a category must be a non-empty string.")
    return true_scores, false_scores, categories


def _scores(name, values, first_row) -> np.ndarray:
    if values is None:
        raise ValueError(f"{name} is missing.")
    if hasattr(values, "detach"):
        # A torch tensor may carry a gradient, lie on an accelerator or hold bfloat16: numpy takes none of these.
        values = values.detach().cpu().double().numpy()
    scores = np.asarray(values)
    if scores.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, one score a pair, got shape {scores.shape}.")
    if scores.dtype.kind not in "biuf":
        # numpy would read "0.5" as a number and None as NaN.
        for row, value in enumerate(scores.tolist(), start=first_row):
            if not isinstance(value, numbers.Real):
                raise ValueError(f"Row {row} of {name} is {value!r}: a score must be a finite number.")
    scores = scores.astype(np.float64)
    refused = np.flatnonzero(~np.isfinite(scores))
    if len(refused):
        row = int(refused[0])
        raise ValueError(f"Row {first_row + row} of {name} is {scores[row]}: a score must be a finite number.")
    return scores


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class PairAccuracy(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            # No `format="numpy"`: it hands float64 columns back as float32, which turns close scores into ties.
            features=datasets.Features(
                {
                    "true_scores": datasets.Value("float64"),
                    "false_scores": datasets.Value("float64"),
                    "categories": datasets.Value("string"),
                }
            ),
            reference_urls=["https://arxiv.org/abs/2403.20312", "https://arxiv.org/abs/2210.01936"],
        )

    def add(self, *, true_scores, false_scores, categories=None):
        """Add one pair: two numbers and, optionally, its category."""
        categories = None if categories is None else [categories]
        self.add_batch(true_scores=[true_scores], false_scores=[false_scores], categories=categories)

    def add_batch(self, *, true_scores, false_scores, categories=None):
        """Add a batch of pairs; a batch with a fault raises ValueError and leaves what was added before as it was."""
        # The library has no optional columns and stores no None in a string column. The empty string, which is no
        # category, stands for "none given".
        true_scores, false_scores, categories = _columns(true_scores, false_scores, categories, first_row=len(self))
        categories = categories or [""] * len(true_scores)
        super().add_batch(true_scores=true_scores, false_scores=false_scores, categories=categories)

    def _compute(self, true_scores, false_scores, categories):
        return pair_accuracy(true_scores, false_scores, categories if any(categories) else None)
