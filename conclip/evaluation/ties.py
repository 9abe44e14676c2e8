"""
Accuracy under two rules for ties. Here a tie is an error. Some published protocols take an argmax instead, so that the
first of equal scores wins; where two options are the same text, this decides the result.
"""

from collections.abc import Sequence

import numpy as np

from conclip.metrics.choice_accuracy.choice_accuracy import ChoiceAccuracy


class BothTieRules:
    """
    Choice accuracy under both rules.

    Args:
        cache_dir: folder for the files of the metric.
        name: unique for each metric in this folder.
    """

    def __init__(self, cache_dir: str, name: str = "items"):
        self.first = ChoiceAccuracy(cache_dir=cache_dir, experiment_id=f"{name}-first")
        self.strict = ChoiceAccuracy(cache_dir=cache_dir, experiment_id=f"{name}-strict")
        self.chances: dict[str, list[tuple[float, float]]] = {}

    def add_batch(
        self,
        scores: Sequence[np.ndarray],
        answers: Sequence[int],
        categories: Sequence[str],
        chances: Sequence[tuple[float, float]],
    ) -> None:
        """
        Add items.

        Args:
            scores: for each item float, (options,).
            answers: for each item the index of the right option.
            categories: for each item its category.
            chances: for each item what `chances_of` returns.

        Raises:
            ValueError: a score is not a finite number.
        """
        self.strict.add_batch(scores=scores, answers=answers, categories=categories)
        self.first.add_batch(scores=[first_of_equals(own) for own in scores], answers=answers, categories=categories)
        for category, own in zip(categories, chances, strict=True):
            self.chances.setdefault(category, []).append(tuple(own))

    def compute(self) -> tuple[dict, dict]:
        """Return the results of `choice_accuracy` if the first of equals wins, and with ties as errors."""
        results = self.first.compute(), self.strict.compute()
        for rule, result in enumerate(results):
            own = {name: [chance[rule] for chance in chances] for name, chances in self.chances.items()}
            for name, entry in result["categories"].items():
                entry["chance"] = float(np.mean(own[name]))
            result["chance"] = float(np.mean(np.concatenate([*own.values()])))
        return results


def first_of_equals(scores: np.ndarray) -> np.ndarray:
    """Return scores, float, (options,), whose strict maximum is the option that argmax takes."""
    scores = np.array(scores)
    highest = scores.argmax()
    others = np.flatnonzero(scores == scores[highest])[1:]
    scores[others] = np.nextafter(scores[highest], -np.inf, dtype=scores.dtype)
    return scores


def chances_of(options: Sequence[object], answer: int) -> tuple[float, float]:
    """
    Return the chance that the right option wins if different options have random scores and equal options equal ones:
    under the rule that the first of equals wins, and with ties as errors.

    Args:
        options: what the options are; equal values are equal options.
        answer: index of the right option.
    """
    share = 1 / len(set(options))
    is_first = options.index(options[answer]) == answer
    is_alone = options.count(options[answer]) == 1
    return share * is_first, share * is_alone
