"""Group score against a loop and literal cases; test_metric_inputs.py has what holds of every metric."""

import itertools

import numpy as np
import pytest

from conclip.metrics.group_score.group_score import group_score


def reference(scores, categories=None):
    """The definition, item by item, with no numpy and no code of the metric."""

    def entry(items):
        correct = {"text": 0, "image": 0, "group": 0}
        ties = dict(correct)
        for (c0_i0, c0_i1), (c1_i0, c1_i1) in items:
            text = c0_i0 > c1_i0 and c1_i1 > c0_i1
            image = c0_i0 > c0_i1 and c1_i1 > c1_i0
            text_tie = c0_i0 == c1_i0 or c1_i1 == c0_i1
            image_tie = c0_i0 == c0_i1 or c1_i1 == c1_i0
            for name, right, tie in (
                ("text", text, text_tie),
                ("image", image, image_tie),
                ("group", text and image, text_tie or image_tie),
            ):
                correct[name] += bool(right)
                ties[name] += bool(tie)
        result = {"count": len(items)}
        for name in correct:
            result[f"{name}_score"] = pytest.approx(correct[name] / len(items), abs=1e-9)
            result[f"{name}_correct"], result[f"{name}_ties"] = correct[name], ties[name]
        return result

    items = np.asarray(scores, dtype=float).tolist()
    result = entry(items) | {"text_chance": 0.25, "image_chance": 0.25, "group_chance": pytest.approx(1 / 6)}
    if categories is not None:
        result["categories"] = {
            name: entry([item for item, category in zip(items, categories, strict=True) if category == name])
            for name in set(categories)
        }
    return result


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("levels", [4, 1000])
def test_equals_the_independent_loop(seed, levels):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (500, 2, 2)) / 8
    categories = rng.choice(["object", "relation", "both"], 500).tolist()
    expected = reference(scores, categories)
    assert group_score(scores, categories) == expected
    assert 0 < expected["group_correct"] < min(expected["text_correct"], expected["image_correct"])


def test_literal_case():
    scores = [
        [[4, 1], [2, 3]],  # all right
        [[4, 1], [2, 4]],  # all right; the two true pairs need not differ
        [[2, 1], [3, 4]],  # image 0 prefers caption 1: text wrong, image right
        [[2, 3], [1, 4]],  # caption 0 prefers image 1: text right, image wrong
        [[1, 2], [2, 1]],  # all wrong
        [[4, 1], [4, 5]],  # image 0 cannot choose: tie in text
        [[4, 4], [1, 5]],  # caption 0 cannot choose: tie in image
        [[1, 1], [1, 1]],  # ties everywhere
        [[1, 1], [2, 1]],  # text: one wrong, one equal
    ]
    result = group_score(scores, return_items=True)
    assert result["items"] == {
        "text_correct": [True, True, False, True, False, False, True, False, False],
        "text_tie": [False, False, False, False, False, True, False, True, True],
        "image_correct": [True, True, True, False, False, True, False, False, False],
        "image_tie": [False, False, False, False, False, False, True, True, True],
        "group_correct": [True, True, False, False, False, False, False, False, False],
        "group_tie": [False, False, False, False, False, True, True, True, True],
    }
    assert {key: value for key, value in result.items() if key != "items"} == {
        "text_score": 4 / 9,
        "text_correct": 4,
        "text_ties": 3,
        "image_score": 4 / 9,
        "image_correct": 4,
        "image_ties": 3,
        "group_score": 2 / 9,
        "group_correct": 2,
        "group_ties": 4,
        "count": 9,
        "text_chance": 1 / 4,
        "image_chance": 1 / 4,
        "group_chance": 1 / 6,
    }


def test_rows_are_captions_and_columns_images():
    scores = np.array([[[2, 1], [3, 4]]])
    assert (group_score(scores)["text_score"], group_score(scores)["image_score"]) == (0.0, 1.0)
    transposed = group_score(scores.transpose(0, 2, 1))
    assert (transposed["text_score"], transposed["image_score"]) == (1.0, 0.0)


def test_chance_is_what_all_orders_of_four_scores_give():
    result = group_score(np.array(list(itertools.permutations(range(4)))).reshape(24, 2, 2))
    for name in ("text", "image", "group"):
        assert result[f"{name}_score"] == pytest.approx(result[f"{name}_chance"], abs=1e-12)


def test_images_of_different_numbers_are_refused():
    with pytest.raises(ValueError, match="scores must be two captions by two images an item.*different shapes"):
        group_score([[[1, 2], [3, 4]], [[1, 2], [3]]])
    with pytest.raises(ValueError, match=r"Row 1 of scores is nan at \[1, 0\]"):
        group_score([[[1, 2], [3, 4]], [[1, 2], [float("nan"), 3]]])
