"""ITT and TOT: SugarCrepe++'s image-to-text and text-only accuracy over two true captions and a false one.

The arithmetic is the plain function `itt_tot`; `IttTot` lets `evaluate.load` find it.
"""

from __future__ import annotations

import datasets
import evaluate
import numpy as np

from .checks import check_rows, finite_scores, rows_by_category

# Of three random scores one given score is the lowest (ITT), or the highest (TOT), in a third of their orders.
CHANCE = 1 / 3

_DESCRIPTION = """
SugarCrepe++'s two accuracies over items of an image, two true captions and a false one. ITT, image-to-text: both true
captions score higher with the image than the false one. TOT, text-only: the true captions are more similar to each
other than either is to the false one. Comparisons are strict, and items with a tie are counted. Overall and, with a
category for each item, per category.
"""

_KWARGS_DESCRIPTION = """
Args:
    image_scores (three `float` per item): the scores of caption, caption2 and negative_caption with the image.
    text_scores (three `float` per item, optional): the similarities of caption and caption2, of caption and
        negative_caption, and of caption2 and negative_caption; for all items or for none.
    categories (one `str` per item, optional): the category the item belongs to; for all items or for none.
    return_items (`bool`, default False, `compute` only): return the outcomes of each item too.

Returns:
    itt (`float`): itt_correct / count, from 0 to 1.
    itt_correct (`int`): items in which both true captions score strictly higher than the false one.
    itt_ties (`int`): items in which a true caption scores as high as the false one; all errors.
    tot, tot_correct, tot_ties (with text_scores): the same for the text-only task.
    count (`int`): all items.
    chance (`float`): 1/3, the value of random scores in either task.
    categories (`dict`, with categories): name -> the values above, without chance, for that category, sorted by name.
    macro_itt, macro_tot (`float`, with categories): the means of the categories' values.
    items (`dict`, with return_items): itt_correct, itt_tie and so on, one `bool` per item each, in order.

Examples:
    In the folder `evaluate/` of a clone:

    >>> import evaluate
    >>> metric = evaluate.load("./itt_tot")
    >>> metric.compute(image_scores=[[0.3, 0.2, 0.1], [0.3, 0.1, 0.2]])
    {'itt': 0.5, 'itt_correct': 1, 'itt_ties': 0, 'count': 2, 'chance': 0.3333333333333333}
"""

_CITATION = """
@inproceedings{dumpala2024sugarcrepe,
  title={SUGARCREPE++ Dataset: Vision-Language Model Sensitivity to Semantic and Lexical Alterations},
  author={Dumpala, Sri Harsha and Jaiswal, Aman and Sastry, Chandramouli and Milios, Evangelos and Oore, Sageev and
    Sajjad, Hassan},
  booktitle={Advances in Neural Information Processing Systems},
  year={2024}
}
"""


def itt_tot(image_scores, text_scores=None, categories=None, return_items=False) -> dict:
    """ITT and TOT accuracy of SugarCrepe++ (arXiv 2406.11171; the comparisons of its authors' `VLMs/test_*.py`).

    Args:
        image_scores: (N, 3) numbers, the scores of caption, caption2 and negative_caption with the image; any unit,
            the higher the better. Lists, an array or a tensor; compared as float64.
        text_scores: (N, 3) numbers, the similarities caption ~ caption2, caption ~ negative_caption and
            caption2 ~ negative_caption; or None for a model that does not compare texts, such as a cross-encoder.
        categories: (N,) non-empty str, the category of each item, or None for no categories.
        return_items: return the outcomes of each item too.

    Returns:
        A dict of plain Python numbers, ready for JSON: `itt` (float, itt_correct / count), `itt_correct`, `itt_ties`
        (int, items in which a comparison that the task needs is an equality), with `text_scores` the same three for
        `tot`, `count` (int) and `chance` (float, 1/3 for either). With categories also `categories`, a dict name ->
        the same without chance, sorted by name, and `macro_itt`, `macro_tot` (float), the plain means of the
        categories' values. With `return_items` also `items`: {`itt_correct`, `itt_tie`, …}, lists of N bool in the
        order of the items.

        ITT: image_scores[0] > image_scores[2] and image_scores[1] > image_scores[2].
        TOT: text_scores[0] > text_scores[1] and text_scores[0] > text_scores[2].

    Raises:
        ValueError: columns differ in length or shape or are empty, a score is not a finite number, or a category is
            missing. The message names the row, counted from 0.

    Example:
        >>> result = itt_tot([[0.3, 0.2, 0.1], [0.3, 0.1, 0.2]], [[0.9, 0.8, 0.8], [0.9, 0.7, 0.9]], ["att", "obj"])
        >>> result["itt"], result["tot"], result["tot_ties"]
        (0.5, 0.5, 1)
        >>> result["categories"]["att"]
        {'itt': 1.0, 'itt_correct': 1, 'itt_ties': 0, 'tot': 1.0, 'tot_correct': 1, 'tot_ties': 0, 'count': 1}
    """
    image_scores, text_scores, categories = _columns(image_scores, text_scores, categories)
    outcomes = {"itt": _outcomes(image_scores[:, :2], image_scores[:, 2:])}
    if text_scores is not None:
        outcomes["tot"] = _outcomes(text_scores[:, :1], text_scores[:, 1:])
    result = _entry(outcomes, slice(None)) | {"chance": CHANCE}
    if categories is not None:
        entries = {name: _entry(outcomes, rows) for name, rows in rows_by_category(categories).items()}
        result["categories"] = entries
        for task in outcomes:
            result[f"macro_{task}"] = sum(entry[task] for entry in entries.values()) / len(entries)
    if return_items:
        result["items"] = {}
        for task, (correct, ties) in outcomes.items():
            result["items"] |= {f"{task}_correct": correct.tolist(), f"{task}_tie": ties.tolist()}
    return result


def _outcomes(higher, lower) -> tuple[np.ndarray, np.ndarray]:
    """Whether each of `higher` beats each of `lower`, and whether two of them are equal: (N,) bool each."""
    return (higher > lower).all(axis=1), (higher == lower).any(axis=1)


def _entry(outcomes, rows) -> dict:
    entry = {}
    for task, (correct, ties) in outcomes.items():
        hits, count = int(correct[rows].sum()), len(correct[rows])
        entry |= {task: hits / count, f"{task}_correct": hits, f"{task}_ties": int(ties[rows].sum())}
    return entry | {"count": count}


def _columns(image_scores, text_scores, categories, first_row=0):
    """Check the columns; return (N, 3) float64, (N, 3) float64 or None, and a list of N str or None.

    `first_row`: number of rows in earlier batches, added to the row numbers in messages.
    """
    columns = {"image_scores": image_scores}
    if text_scores is not None:
        columns["text_scores"] = text_scores
    columns = {
        name: finite_scores(name, values, (3,), "three scores an item, (N, 3)", first_row)
        for name, values in columns.items()
    }
    categories = check_rows(columns, categories, first_row=first_row)
    return columns["image_scores"], columns.get("text_scores"), categories


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class IttTot(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            # No `format="numpy"`: it returns float64 columns as float32, which turns close scores into ties.
            features=datasets.Features(
                {
                    "image_scores": datasets.Sequence(datasets.Value("float64"), length=3),
                    "text_scores": datasets.Sequence(datasets.Value("float64"), length=3),
                    "categories": datasets.Value("string"),
                }
            ),
            reference_urls=["https://arxiv.org/abs/2406.11171", "https://github.com/Sri-Harsha/scpp"],
        )

    def add(self, *, image_scores, text_scores=None, categories=None):
        """Add one item: its three scores with the image and, optionally, its three between texts and its category."""
        text_scores = None if text_scores is None else [text_scores]
        categories = None if categories is None else [categories]
        self.add_batch(image_scores=[image_scores], text_scores=text_scores, categories=categories)

    def add_batch(self, *, image_scores, text_scores=None, categories=None):
        """Add a batch of items; a faulty batch raises ValueError and is not added."""
        columns = _columns(image_scores, text_scores, categories, first_row=len(self))
        image_scores, text_scores, categories = columns
        # The library has no optional columns. NaN, which cannot be a score, means "no text scores", and the empty
        # string, which cannot be a category, means "no categories".
        super().add_batch(
            image_scores=image_scores,
            text_scores=np.full_like(image_scores, np.nan) if text_scores is None else text_scores,
            categories=categories or [""] * len(image_scores),
        )

    def _compute(self, image_scores, text_scores, categories, return_items=False):
        missing = np.isnan(text_scores).any(axis=1)
        if missing.any() and not missing.all():
            row = int(np.flatnonzero(missing)[0])
            raise ValueError(f"Row {row} of text_scores is missing: give text scores for all items or for none.")
        text_scores = None if missing.all() else text_scores
        return itt_tot(image_scores, text_scores, categories if any(categories) else None, return_items)
