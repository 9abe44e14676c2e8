"""The metrics, and random columns for each: coarse scores, so that ties are common, in categories of unequal size."""

import numpy as np

from conclip.metrics.choice_accuracy.choice_accuracy import ChoiceAccuracy, choice_accuracy
from conclip.metrics.group_score.group_score import GroupScore, group_score
from conclip.metrics.itt_tot.itt_tot import IttTot, itt_tot
from conclip.metrics.pair_accuracy.pair_accuracy import PairAccuracy, pair_accuracy
from conclip.metrics.retrieval_recall.retrieval_recall import RetrievalRecall, retrieval_recall

METRICS = {
    "choice_accuracy": (ChoiceAccuracy, choice_accuracy),
    "group_score": (GroupScore, group_score),
    "itt_tot": (IttTot, itt_tot),
    "pair_accuracy": (PairAccuracy, pair_accuracy),
    "retrieval_recall": (RetrievalRecall, retrieval_recall),
}
SHAPES = {
    "choice_accuracy": {"scores": (4,)},
    "group_score": {"scores": (2, 2)},
    "itt_tot": {"image_scores": (3,), "text_scores": (3,)},
    "pair_accuracy": {"true_scores": (), "false_scores": ()},
    "retrieval_recall": {"scores": (23,)},
}
CATEGORIES = ("swap", "add", "replace", "negate")


def random_columns(name, count, seed=0) -> dict:
    """Scores are multiples of 1/16 from 0 to 15/16, which bfloat16 holds exactly; categories are a list of str."""
    rng = np.random.default_rng(seed)
    columns = {column: rng.integers(0, 16, (count, *shape)) / 16 for column, shape in SHAPES[name].items()}
    if name == "choice_accuracy":
        columns["answers"] = rng.integers(0, 4, count)
    if name == "retrieval_recall":
        columns["positives"] = [rng.permutation(23)[: rng.integers(1, 6)].tolist() for _ in range(count)]
    columns["categories"] = rng.choice(CATEGORIES, count, p=[0.6, 0.25, 0.1, 0.05]).tolist()
    return columns


def rows(columns, chosen) -> dict:
    """The chosen rows of all columns, in that order."""
    return {
        name: column[chosen] if isinstance(column, np.ndarray) else [column[row] for row in chosen]
        for name, column in columns.items()
    }
