"""ITT and TOT against a loop and literal cases; test_metric_inputs.py has what holds of every metric."""

import itertools

import numpy as np
import pytest

from conclip.metrics.itt_tot.itt_tot import IttTot, itt_tot


@pytest.fixture
def metric(tmp_path):
    return IttTot(cache_dir=str(tmp_path))


def reference(image_scores, text_scores, categories):
    """The definition, item by item, with no numpy and no code of the metric."""

    def entry(items):
        counts = dict.fromkeys(["itt_correct", "itt_ties", "tot_correct", "tot_ties"], 0)
        for (first, second, false), (same, first_false, second_false) in items:
            counts["itt_correct"] += 1 if min(first, second) > false else 0
            counts["itt_ties"] += 1 if false in (first, second) else 0
            counts["tot_correct"] += 1 if same > max(first_false, second_false) else 0
            counts["tot_ties"] += 1 if same in (first_false, second_false) else 0
        shares = {name: pytest.approx(counts[f"{name}_correct"] / len(items), abs=1e-9) for name in ("itt", "tot")}
        return counts | shares | {"count": len(items)}

    items = list(zip(image_scores.tolist(), text_scores.tolist(), strict=True))
    result = entry(items) | {"chance": 1 / 3}
    grouped = {name: [item for item, other in zip(items, categories, strict=True) if other == name] for name in "abc"}
    result["categories"] = {name: entry(group) for name, group in grouped.items()}
    for name in ("itt", "tot"):
        values = [entry(group)[f"{name}_correct"] / len(group) for group in grouped.values()]
        result[f"macro_{name}"] = pytest.approx(sum(values) / 3, abs=1e-9)
    return result


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("levels", [5, 10**6])
def test_equals_the_independent_loop(seed, levels):
    rng = np.random.default_rng(seed)
    image_scores, text_scores = rng.integers(0, levels, (2, 500, 3)) / 8
    categories = rng.choice(list("abc"), 500, p=[0.7, 0.2, 0.1]).tolist()
    expected = reference(image_scores, text_scores, categories)
    assert expected["itt_correct"] != expected["tot_correct"]
    assert itt_tot(image_scores, text_scores, categories) == expected


def test_literal_case(metric):
    image_scores = [[3, 2, 1], [2, 3, 1], [3, 1, 2], [1, 3, 2], [1, 2, 3], [3, 2, 2], [2, 3, 2], [1, 2, 2], [2, 2, 1]]
    text_scores = [[3, 2, 1], [3, 1, 2], [2, 3, 1], [2, 1, 3], [1, 2, 3], [3, 3, 1], [3, 1, 3], [2, 2, 3], [3, 1, 1]]
    result = metric.compute(image_scores=image_scores, text_scores=text_scores, return_items=True)
    correct = [True, True, False, False, False, False, False, False, True]
    ties = [False, False, False, False, False, True, True, True, False]
    assert result == {
        "itt": 3 / 9,
        "itt_correct": 3,
        "itt_ties": 3,
        "tot": 3 / 9,
        "tot_correct": 3,
        "tot_ties": 3,
        "count": 9,
        "chance": 1 / 3,
        "items": {"itt_correct": correct, "itt_tie": ties, "tot_correct": correct, "tot_tie": ties},
    }


def test_without_text_scores_there_is_no_tot(metric):
    columns = {"image_scores": [[3, 2, 1], [1, 2, 2]], "categories": ["a", "b"]}
    expected = {
        "itt": 0.5,
        "itt_correct": 1,
        "itt_ties": 1,
        "count": 2,
        "chance": 1 / 3,
        "categories": {
            "a": {"itt": 1.0, "itt_correct": 1, "itt_ties": 0, "count": 1},
            "b": {"itt": 0.0, "itt_correct": 0, "itt_ties": 1, "count": 1},
        },
        "macro_itt": 0.5,
        "items": {"itt_correct": [True, False], "itt_tie": [False, True]},
    }
    assert itt_tot(**columns, return_items=True) == expected
    assert metric.compute(**columns, return_items=True) == expected


def test_chance_is_what_all_orders_of_three_scores_give():
    orders = list(itertools.permutations(range(3)))
    result = itt_tot(orders, orders)
    assert (result["itt"], result["tot"]) == (pytest.approx(result["chance"]), pytest.approx(result["chance"]))


def test_text_scores_for_some_batches_only_are_refused(metric):
    metric.add_batch(image_scores=[[3, 2, 1], [3, 2, 1]], text_scores=[[3, 2, 1], [3, 2, 1]])
    metric.add(image_scores=[3, 2, 1])
    metric.add(image_scores=[3, 2, 1])
    with pytest.raises(
        ValueError, match="Row 2 of text_scores is missing: give text scores for all items or for none"
    ):
        metric.compute()
