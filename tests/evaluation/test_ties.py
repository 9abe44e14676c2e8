"""Two rules for ties: an argmax by NumPy, and the strict rule, over whole numbers with many ties."""

import random

import numpy as np
import pytest

from conclip.evaluation.ties import BothTieRules, chances_of, first_of_equals


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_first_of_equals_becomes_the_strict_maximum(dtype):
    for scores in ([1, 3, 3, 2], [0.1, 0.1, 0.1], [-2, -5], [0, 0], [3, 1, 3]):
        scores = np.array(scores, dtype)
        kept = scores.copy()
        found = first_of_equals(scores)
        [highest] = np.flatnonzero(found == found.max())
        assert highest == kept.argmax() and np.array_equal(scores, kept)
        assert found == pytest.approx(kept, abs=1e-6) and found.dtype == dtype


def test_both_rules_against_argmax_and_a_loop(tmp_path):
    rng = np.random.default_rng(0)
    # Whole numbers from 0 to 3, so that half of the items tie; batches of other lengths than the categories.
    scores = rng.integers(0, 4, (300, 4)).astype(np.float32)
    answers, categories = rng.integers(0, 4, 300), [f"class {number % 7}" for number in range(300)]
    rules = BothTieRules(str(tmp_path))
    for start in range(0, 300, 128):
        some = slice(start, start + 128)
        rules.add_batch(scores[some], answers[some], categories[some], [(0.5, 0.25)] * len(answers[some]))
    first, strict = rules.compute()
    argmax = scores.argmax(axis=1) == answers
    alone = [own[answer] > max(np.delete(own, answer)) for own, answer in zip(scores, answers, strict=True)]
    assert first["accuracy"] == argmax.mean() and first["ties"] == 0 and first["count"] == 300
    assert strict["accuracy"] == np.mean(alone) < argmax.mean() and strict["ties"] > 50
    recalls = [argmax[[category == name for category in categories]].mean() for name in sorted(set(categories))]
    assert first["macro_accuracy"] == pytest.approx(np.mean(recalls))
    assert (first["chance"], strict["chance"]) == (0.5, 0.25)
    assert {entry["chance"] for entry in first["categories"].values()} == {0.5}


def test_chance_is_the_score_of_random_numbers():
    """One random number for each distinct option: what the rules give on average."""
    rng = random.Random(0)
    for options in (["a", "b", "c", "d"], ["a", "a", "b", "c"], ["b", "a", "a", "c"], ["a", "a", "a"]):
        for answer in range(len(options)):
            first = strict = 0
            for _ in range(4_000):
                score = {option: rng.random() for option in options}
                scores = [score[option] for option in options]
                first += scores.index(max(scores)) == answer
                strict += scores[answer] == max(scores) and scores.count(max(scores)) == 1
            assert chances_of(options, answer) == pytest.approx((first / 4_000, strict / 4_000), abs=0.03)
    assert chances_of(["a", "a", "b"], 0) == (0.5, 0.0) and chances_of(["a", "a", "b"], 1) == (0.0, 0.0)
