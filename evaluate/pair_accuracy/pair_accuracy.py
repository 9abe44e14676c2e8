"""Pair accuracy: how often an image scores higher with its true caption than with a false one.

The arithmetic is the plain function `pair_accuracy`; `PairAccuracy` lets `evaluate.load` find it.
"""

from __future__ import annotations

import datasets
import evaluate

from .checks import check_rows, finite_scores, rows_by_category

CHANCE = 0.5

_DESCRIPTION = """
Accuracy over pairs of captions: a pair is correct if the score of the true caption is strictly greater than the score
of the false one. A tie is an error, and ties are counted. Overall and, with a category for each pair, per category.
"""

_KWARGS_DESCRIPTION = """
Args:
    true_scores (one `float` per pair): the score of the true caption, e.g. its cosine similarity with the image.
    false_scores (one `float` per pair): the score of the false caption with the same image.
    categories (one `str` per pair, optional): the category the pair belongs to; for all pairs or for none.
    skipped_categories (names of categories, optional, `compute` only): categories that the macro mean skips.
    min_count (`int`, default 1, `compute` only): the macro mean also skips a category with fewer pairs.
    return_items (`bool`, default False, `compute` only): return the outcome of each pair too.

Returns:
    accuracy (`float`): correct / count, from 0 to 1.
    correct (`int`): pairs whose true caption scores strictly higher.
    ties (`int`): pairs whose two scores are equal; they are errors.
    count (`int`): all pairs.
    chance (`float`): 0.5, what a random score gets.
    categories (`dict`, with categories): name -> accuracy, correct, ties and count of that category, sorted by name.
    macro_accuracy (`float`, with categories): the mean of the accuracies of the categories that count; None if none
        does.
    macro_categories (`int`, with categories): how many count.
    items (`dict`, with return_items): correct and tie, one `bool` per pair each, in order.

Examples:
    In the folder `evaluate/` of a clone:

    >>> import evaluate
    >>> metric = evaluate.load("./pair_accuracy")
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


def pair_accuracy(
    true_scores, false_scores, categories=None, *, skipped_categories=(), min_count=1, return_items=False
) -> dict:
    """Strict accuracy of true over false captions: the score of CC-Neg, SugarCrepe, ARO's pairs and VALSE.

    Args:
        true_scores: (N,) numbers, the score of each pair's true caption; any unit; higher is better. A list, an
            array or a tensor; compared as float64, which holds every float16, bfloat16 and float32 exactly.
        false_scores: (N,) numbers, the score of each pair's false caption, in the same unit.
        categories: (N,) non-empty str, the category of each pair, or None for no categories.
        skipped_categories: names of categories that the macro mean skips, as ARO VG-Relation skips the symmetric
            relations; a name that does not occur is not an error.
        min_count: the macro mean also skips a category with fewer pairs (ARO VG-Attribution: 25).
        return_items: return the outcome of each pair too.

    Returns:
        A dict of plain Python numbers, ready for JSON: `accuracy` (float, correct / count), `correct`, `ties`, `count`
        (int) and `chance` (float, 0.5). With categories also `categories`, a dict name -> {`accuracy`, `correct`,
        `ties`, `count`} of all of them, sorted by name; `macro_accuracy`, the plain mean of the accuracies of the
        categories that count (float; None if none does); and `macro_categories`, how many count (int). With
        `return_items` also `items`: {`correct`, `tie`}, lists of N bool in the order of the pairs.

    Raises:
        ValueError: columns differ in length or are empty, a score is not a finite number, or a category is missing.
            Infinities are refused because no cosine or logit is infinite, and two overflows would look like a tie.
            The message names the first such row, counted from 0.

    Example:
        >>> result = pair_accuracy([0.31, 0.27, 0.22], [0.19, 0.27, 0.24], ["object", "object", "verb"])
        >>> result["accuracy"], result["ties"]
        (0.3333333333333333, 1)
        >>> result["categories"]["object"]
        {'accuracy': 0.5, 'correct': 1, 'ties': 1, 'count': 2}
        >>> result["macro_accuracy"], result["macro_categories"]
        (0.25, 2)
    """
    if isinstance(skipped_categories, str):
        raise ValueError(f"skipped_categories is {skipped_categories!r}: give a list of category names.")
    skipped_categories = set(skipped_categories)
    true_scores, false_scores, categories = _columns(true_scores, false_scores, categories)
    correct = true_scores > false_scores
    ties = true_scores == false_scores
    result = _entry(correct, ties) | {"chance": CHANCE}
    if categories is not None:
        entries = {name: _entry(correct[rows], ties[rows]) for name, rows in rows_by_category(categories).items()}
        counted = [
            entry["accuracy"]
            for name, entry in entries.items()
            if name not in skipped_categories and entry["count"] >= min_count
        ]
        result["categories"] = entries
        result["macro_accuracy"] = sum(counted) / len(counted) if counted else None
        result["macro_categories"] = len(counted)
    if return_items:
        result["items"] = {"correct": correct.tolist(), "tie": ties.tolist()}
    return result


def _entry(correct, ties) -> dict:
    hits, count = int(correct.sum()), len(correct)
    return {"accuracy": hits / count, "correct": hits, "ties": int(ties.sum()), "count": count}


def _columns(true_scores, false_scores, categories, first_row=0):
    """Check the three columns; return (N,) float64, (N,) float64 and a list of N str or None."""
    columns = {
        name: finite_scores(name, values, (), "one-dimensional, one score a pair", first_row)
        for name, values in (("true_scores", true_scores), ("false_scores", false_scores))
    }
    categories = check_rows(columns, categories, ("pair", "pairs"), first_row)
    return *columns.values(), categories


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class PairAccuracy(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            # No `format="numpy"`: it returns float64 columns as float32, which turns close scores into ties.
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
        """Add a batch of pairs; a faulty batch raises ValueError and is not added."""
        # The library has no optional columns and stores no None in a string column. The empty string, which cannot be
        # a category, means "no categories".
        true_scores, false_scores, categories = _columns(true_scores, false_scores, categories, first_row=len(self))
        categories = categories or [""] * len(true_scores)
        super().add_batch(true_scores=true_scores, false_scores=false_scores, categories=categories)

    def _compute(self, true_scores, false_scores, categories, skipped_categories=(), min_count=1, return_items=False):
        return pair_accuracy(
            true_scores,
            false_scores,
            categories if any(categories) else None,
            skipped_categories=skipped_categories,
            min_count=min_count,
            return_items=return_items,
        )
