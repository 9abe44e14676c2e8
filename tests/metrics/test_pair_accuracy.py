"""Pair accuracy against a loop and literal cases; test_metric_inputs.py has what holds of every metric."""

import time

import numpy as np
import pytest

from conclip.metrics.pair_accuracy.pair_accuracy import PairAccuracy, pair_accuracy


@pytest.fixture
def metric(tmp_path):
    return PairAccuracy(cache_dir=str(tmp_path))


def reference(true_scores, false_scores, categories=None, skipped_categories=(), min_count=1):
    """The definition, pair by pair, with no numpy and no code of the metric."""

    def entry(pairs):
        correct = ties = 0
        for true, false in pairs:
            correct += 1 if true > false else 0
            ties += 1 if true == false else 0
        return {"accuracy": correct / len(pairs), "correct": correct, "ties": ties, "count": len(pairs)}

    pairs = [(float(true), float(false)) for true, false in zip(true_scores, false_scores, strict=True)]
    result = {**entry(pairs), "chance": 0.5}
    if categories is not None:
        grouped = {}
        for pair, category in zip(pairs, categories, strict=True):
            grouped.setdefault(str(category), []).append(pair)
        result["categories"] = {name: entry(group) for name, group in grouped.items()}
        accuracies = []
        for name, value in result["categories"].items():
            if name in skipped_categories or value["count"] < min_count:
                continue
            accuracies.append(value["accuracy"])
        mean = pytest.approx(sum(accuracies) / len(accuracies), abs=1e-9) if accuracies else None
        result |= {"macro_accuracy": mean, "macro_categories": len(accuracies)}
    return result


def random_pairs(count, seed=0):
    """Scores on a coarse grid, so that ties are common, and categories of unequal size."""
    rng = np.random.default_rng(seed)
    names = np.array(["swap", "add", "replace", "negate"])
    true_scores, false_scores = rng.integers(0, 20, (2, count)) / 16
    return true_scores, false_scores, names[rng.choice(4, count, p=[0.6, 0.25, 0.1, 0.05])]


# --- the plain function ---


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_independent_loop(seed):
    true_scores, false_scores, categories = random_pairs(500, seed)
    expected = reference(true_scores, false_scores, categories)
    assert 0 < expected["ties"] < expected["correct"]  # the data does tell the rules apart
    assert pair_accuracy(true_scores, false_scores, categories) == expected
    assert pair_accuracy(true_scores, false_scores) == reference(true_scores, false_scores)


def test_literal_case():
    result = pair_accuracy([3, 1, 2, 5, 0], [1, 3, 2, 4, 0], ["b", "b", "a", "b", "a"])
    assert result == {
        "accuracy": 0.4,
        "correct": 2,
        "ties": 2,
        "count": 5,
        "chance": 0.5,
        "categories": {
            "a": {"accuracy": 0.0, "correct": 0, "ties": 2, "count": 2},
            "b": {"accuracy": 2 / 3, "correct": 2, "ties": 0, "count": 3},
        },
        "macro_accuracy": 1 / 3,
        "macro_categories": 2,
    }
    assert list(result["categories"]) == ["a", "b"]


def test_without_categories_there_are_no_category_keys():
    assert pair_accuracy([1.0], [0.0]) == {"accuracy": 1.0, "correct": 1, "ties": 0, "count": 1, "chance": 0.5}


def test_all_ties_score_zero_both_ways_round():
    scores = [0.25, -1.0, 0.0]
    assert pair_accuracy(scores, scores) == {"accuracy": 0.0, "correct": 0, "ties": 3, "count": 3, "chance": 0.5}
    assert pair_accuracy([0.0], [-0.0])["ties"] == 1


def test_neighbouring_float64_scores_are_no_tie():
    false_scores = np.random.default_rng(0).random(100)
    true_scores = np.nextafter(false_scores, 2.0)
    assert (true_scores.astype(np.float32) == false_scores.astype(np.float32)).any()
    assert pair_accuracy(true_scores, false_scores)["correct"] == 100
    assert pair_accuracy(false_scores, true_scores) == reference(false_scores, true_scores)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_ties_of_a_coarser_type_remain_ties(dtype):
    scores = (np.random.default_rng(0).random(50) * 1000).astype(dtype)
    assert pair_accuracy(scores, scores.copy())["ties"] == 50


def test_items_are_each_pairs_outcome():
    result = pair_accuracy([3, 1, 2, 0], [1, 3, 2, 0], return_items=True)
    assert result["items"] == {"correct": [True, False, False, False], "tie": [False, False, True, True]}


# --- the mean over categories ---


@pytest.mark.parametrize(
    "options",
    [{"skipped_categories": ["swap"]}, {"min_count": 40}, {"skipped_categories": ["add"], "min_count": 10**6}],
)
def test_macro_mean_skips_categories(metric, options):
    true_scores, false_scores, categories = random_pairs(500)
    expected = reference(true_scores, false_scores, categories, **options)
    assert expected["macro_categories"] < 4
    assert pair_accuracy(true_scores, false_scores, categories, **options) == expected
    metric.add_batch(true_scores=true_scores, false_scores=false_scores, categories=categories)
    assert metric.compute(**options) == expected


def test_macro_by_hand():
    """As ARO does it: 'near' is symmetric; 'on' has three pairs, 'in' two, 'under' one."""
    categories = ["near", "on", "on", "on", "in", "in", "under"]
    columns = ([9, 9, 9, 0, 9, 0, 9], [1, 1, 1, 1, 1, 1, 1], categories)
    means = [
        ({}, (1 + 2 / 3 + 1 / 2 + 1) / 4, 4),
        ({"skipped_categories": iter(["near"])}, (2 / 3 + 1 / 2 + 1) / 3, 3),
        ({"skipped_categories": {"near", "beside"}, "min_count": 2}, (2 / 3 + 1 / 2) / 2, 2),
        ({"min_count": 3}, 2 / 3, 1),
        ({"min_count": 4}, None, 0),
        ({"skipped_categories": categories}, None, 0),
    ]
    for options, mean, count in means:
        result = pair_accuracy(*columns, **options)
        assert result["macro_accuracy"] == (None if mean is None else pytest.approx(mean, abs=1e-9))
        assert result["macro_categories"] == count
        # The others stay in everything else.
        assert result["accuracy"] == 5 / 7
        assert set(result["categories"]) == {"near", "on", "in", "under"}


def test_one_name_in_place_of_a_list_of_names_is_refused():
    with pytest.raises(ValueError, match="skipped_categories is 'near': give a list"):
        pair_accuracy([1], [0], ["near"], skipped_categories="near")


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([1, 2], [1]), "got 2 true_scores, 1 false_scores"),
        (([1, 2], [1, 2], ["a"]), "got 2 true_scores, 2 false_scores, 1 categories"),
        (([], []), "no pairs"),
        (([], [], []), "no pairs"),
        ((None, [1]), "true_scores is missing"),
        (([0, NAN], [1, 2]), "Row 1 of true_scores is nan"),
        (([0, 1, 2], [1, 2, NAN]), "Row 2 of false_scores is nan"),
        (([0, -INF], [1, 2]), "Row 1 of true_scores is -inf"),
        (([1, 2], [INF, 2]), "Row 0 of false_scores is inf"),
        (([1, None], [1, 2]), "Row 1 of true_scores is None"),
        ((["0.5", "0.7"], [1, 2]), "Row 0 of true_scores is '0.5'"),
        (([[1], [2]], [1, 2]), r"true_scores must be one-dimensional.*\(2, 1\)"),
        (([1, 2], [1, 2], ["a", None]), "Row 1 of categories is None"),
        (([1, 2], [1, 2], ["", "a"]), "Row 0 of categories is ''"),
        (([1, 2], [1, 2], ["a", 7]), "Row 1 of categories is 7"),
        (([1, 2], [1, 2], ["a", NAN]), "Row 1 of categories is nan"),
    ],
)
def test_refuses_in_one_sentence_that_names_the_row(columns, message, metric):
    with pytest.raises(ValueError, match=message) as error:
        pair_accuracy(*columns)
    assert "\n" not in str(error.value)

    with pytest.raises(ValueError, match=message):
        metric.compute(**dict(zip(("true_scores", "false_scores", "categories"), columns, strict=False)))


# --- through the `evaluate` library ---


def test_all_of_ccneg_takes_seconds(metric):
    rng = np.random.default_rng(0)
    true_scores, false_scores = rng.standard_normal((2, 228_246))
    start = time.perf_counter()
    result = metric.compute(true_scores=true_scores, false_scores=false_scores)
    assert time.perf_counter() - start < 8  # 1 s on two cores; row by row it would be a minute
    assert result["correct"] == int(sum((true_scores > false_scores).tolist()))
