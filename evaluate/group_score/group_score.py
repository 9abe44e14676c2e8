"""Group score: two images and two captions, each caption true of one image; Winoground's text, image and group score.

The arithmetic is the plain function `group_score`; `GroupScore` lets `evaluate.load` find it.
"""

from __future__ import annotations

import datasets
import evaluate

from .checks import check_rows, finite_scores, rows_by_category

# Values of independent random scores without ties. Text, and likewise image: two comparisons that share no score.
# Group: of the 4! orders of the four scores, those in which the two true pairs come first, 2! * 2!.
CHANCE = {"text": 1 / 4, "image": 1 / 4, "group": 1 / 6}

_DESCRIPTION = """
Winoground's three scores over items of two captions and two images: text (for each image its own caption scores
higher), image (for each caption its own image scores higher) and group (both). Comparisons are strict, and items with
a tie are counted. Overall and, with a category for each item, per category.
"""

_KWARGS_DESCRIPTION = """
Args:
    scores (one 2 x 2 list of `float` per item): scores[c][i] is the score of caption c with image i; caption 0 belongs
        to image 0 and caption 1 to image 1.
    categories (one `str` per item, optional): the category the item belongs to; for all items or for none.
    return_items (`bool`, default False, `compute` only): return the outcomes of each item too.

Returns:
    text_score, image_score, group_score (`float`): the share of items that are correct, from 0 to 1.
    text_correct, image_correct, group_correct (`int`): items that are correct.
    text_ties, image_ties, group_ties (`int`): items in which two scores that have to differ are equal; all errors.
    count (`int`): all items.
    text_chance, image_chance, group_chance (`float`): 1/4, 1/4 and 1/6, the value of random scores.
    categories (`dict`, with categories): name -> the values above, without chance, for that category, sorted by name.
    items (`dict`, with return_items): text_correct, text_tie and so on, one `bool` per item each, in order.

Examples:
    In the folder `evaluate/` of a clone:

    >>> import evaluate
    >>> metric = evaluate.load("./group_score")
    >>> result = metric.compute(scores=[[[0.3, 0.1], [0.2, 0.4]], [[0.3, 0.3], [0.2, 0.4]]])
    >>> result["text_score"], result["image_score"], result["group_score"], result["image_ties"], result["count"]
    (1.0, 0.5, 0.5, 1, 2)
"""

_CITATION = """
@inproceedings{thrush2022winoground,
  title={Winoground: Probing Vision and Language Models for Visio-Linguistic Compositionality},
  author={Thrush, Tristan and Jiang, Ryan and Bartolo, Max and Singh, Amanpreet and Williams, Adina and
    Kiela, Douwe and Ross, Candace},
  booktitle={Conference on Computer Vision and Pattern Recognition},
  year={2022}
}
"""


def group_score(scores, categories=None, return_items=False) -> dict:
    """Text, image and group score of Winoground (Thrush et al. 2022, equations 1 to 3), and of any 2 x 2 set.

    Args:
        scores: (N, 2, 2) numbers, scores[n][c][i] the score of caption c with image i; caption i belongs to image i.
            Any unit, the higher the better. Lists, an array or a tensor; compared as float64.
        categories: (N,) non-empty str, the category of each item, or None for no categories.
        return_items: return the outcomes of each item too.

    Returns:
        A dict of plain Python numbers, ready for JSON. For each of text, image and group: `<name>_score` (float,
        correct / count), `<name>_correct`, `<name>_ties` (int, items in which a comparison that the score needs is an
        equality) and `<name>_chance` (float); and `count` (int). With categories also `categories`, a dict name -> the
        same without chance, sorted by name. With `return_items` also `items`: {`<name>_correct`, `<name>_tie`}, lists
        of N bool in the order of the items.

        text: s00 > s10 and s11 > s01; image: s00 > s01 and s11 > s10; group: both.

    Raises:
        ValueError: columns differ in length or shape or are empty, a score is not a finite number, or a category is
            missing. The message names the row, counted from 0.

    Example:
        >>> result = group_score([[[0.3, 0.1], [0.2, 0.4]], [[0.3, 0.1], [0.35, 0.4]]], ["object", "relation"])
        >>> result["text_score"], result["image_score"], result["group_score"]
        (0.5, 1.0, 0.5)
    """
    scores, categories = _columns(scores, categories)
    matching = scores[:, [0, 1], [0, 1]]  # (N, 2): image i with its own caption
    rivals = {"text": scores[:, [1, 0], [0, 1]], "image": scores[:, [0, 1], [1, 0]]}  # (N, 2) each
    items = {}
    for name, rival in rivals.items():
        items[f"{name}_correct"] = (matching > rival).all(axis=1)
        items[f"{name}_tie"] = (matching == rival).any(axis=1)
    items["group_correct"] = items["text_correct"] & items["image_correct"]
    items["group_tie"] = items["text_tie"] | items["image_tie"]

    result = _entry(items, slice(None)) | {f"{name}_chance": chance for name, chance in CHANCE.items()}
    if categories is not None:
        result["categories"] = {name: _entry(items, rows) for name, rows in rows_by_category(categories).items()}
    if return_items:
        result["items"] = {name: column.tolist() for name, column in items.items()}
    return result


def _entry(items, rows) -> dict:
    entry = {}
    for name in CHANCE:
        correct = items[f"{name}_correct"][rows]
        entry[f"{name}_score"] = int(correct.sum()) / len(correct)
        entry[f"{name}_correct"] = int(correct.sum())
        entry[f"{name}_ties"] = int(items[f"{name}_tie"][rows].sum())
    return entry | {"count": len(correct)}


def _columns(scores, categories, first_row=0):
    """Check the columns; return (N, 2, 2) float64 and a list of N str or None.

    `first_row`: number of rows in earlier batches, added to the row numbers in messages.
    """
    scores = finite_scores("scores", scores, (2, 2), "two captions by two images an item, (N, 2, 2)", first_row)
    return scores, check_rows({"scores": scores}, categories, first_row=first_row)


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class GroupScore(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            # No `format="numpy"`: it returns float64 columns as float32, which turns close scores into ties.
            features=datasets.Features(
                {
                    "scores": datasets.Sequence(datasets.Sequence(datasets.Value("float64"), length=2), length=2),
                    "categories": datasets.Value("string"),
                }
            ),
            reference_urls=["https://arxiv.org/abs/2204.03162"],
        )

    def add(self, *, scores, categories=None):
        """Add one item: its 2 x 2 scores and, optionally, its category."""
        self.add_batch(scores=[scores], categories=None if categories is None else [categories])

    def add_batch(self, *, scores, categories=None):
        """Add a batch of items; a faulty batch raises ValueError and is not added."""
        scores, categories = _columns(scores, categories, first_row=len(self))
        # The library has no optional columns and stores no None in a string column. The empty string, which cannot be
        # a category, means "no categories".
        super().add_batch(scores=scores.tolist(), categories=categories or [""] * len(scores))

    def _compute(self, scores, categories, return_items=False):
        return group_score(scores, categories if any(categories) else None, return_items)
