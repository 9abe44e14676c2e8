"""Pair accuracy against an independent loop, literal cases, the `evaluate` machinery and the card's own examples."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import evaluate
import numpy as np
import pytest
import torch

from conclip_metrics.pair_accuracy.pair_accuracy import PairAccuracy, pair_accuracy

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "evaluate" / "pair_accuracy"


@pytest.fixture
def metric(tmp_path):
    return PairAccuracy(cache_dir=str(tmp_path))


def reference(true_scores, false_scores, categories=None):
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
        accuracies = [value["accuracy"] for value in result["categories"].values()]
        result["macro_accuracy"] = pytest.approx(sum(accuracies) / len(accuracies), abs=1e-9)
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
def test_ties_of_a_coarser_type_are_kept(dtype):
    scores = (np.random.default_rng(0).random(50) * 1000).astype(dtype)
    assert pair_accuracy(scores, scores.copy())["ties"] == 50


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tensors_with_gradient_and_bfloat16(dtype):
    true_scores = torch.tensor([0.5, 0.25, 1.0], dtype=dtype, requires_grad=True)
    false_scores = torch.tensor([0.25, 0.25, 2.0], dtype=dtype)
    assert pair_accuracy(true_scores, false_scores) == reference([0.5, 0.25, 1.0], [0.25, 0.25, 2.0])


def test_result_is_json():
    result = pair_accuracy(*random_pairs(40))
    assert json.loads(json.dumps(result)) == result
    assert {type(result[key]) for key in ("correct", "ties", "count")} == {int}
    assert {type(name) for name in result["categories"]} == {str}


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


@pytest.mark.parametrize("convert", [list, np.asarray, np.float32, torch.as_tensor])
def test_metric_equals_function(metric, convert):
    true_scores, false_scores, categories = random_pairs(64)
    for column in (None, list(categories), categories):
        result = metric.compute(
            true_scores=convert(true_scores), false_scores=convert(false_scores), categories=column
        )
        assert result == reference(true_scores, false_scores, column)


def test_metric_keeps_float64(metric):
    false_scores = np.random.default_rng(0).random(100)
    result = metric.compute(true_scores=np.nextafter(false_scores, 2.0), false_scores=false_scores)
    assert (result["correct"], result["ties"]) == (100, 0)


@pytest.mark.parametrize("with_categories", [True, False])
def test_add_batch_and_add_in_pieces_equal_one_call(metric, with_categories):
    true_scores, false_scores, categories = random_pairs(100)
    columns = {"true_scores": true_scores, "false_scores": false_scores}
    if with_categories:
        columns["categories"] = list(categories)
    expected = metric.compute(**columns)
    for start, stop in ((0, 1), (1, 40), (40, 97)):
        metric.add_batch(**{name: column[start:stop] for name, column in columns.items()})
    for row in range(97, 100):
        metric.add(**{name: column[row] for name, column in columns.items()})
    assert metric.compute() == expected
    assert expected["count"] == 100


def test_refused_batch_leaves_the_earlier_ones(metric):
    metric.add_batch(true_scores=[1, 2], false_scores=[0, 2])
    with pytest.raises(ValueError, match="Row 3 of false_scores is nan"):
        metric.add_batch(true_scores=[1, 2], false_scores=[0, NAN])
    assert metric.compute() == reference([1, 2], [0, 2])


def test_categories_for_some_batches_only_are_refused(metric):
    metric.add_batch(true_scores=[1, 2], false_scores=[0, 2], categories=["a", "b"])
    metric.add_batch(true_scores=[1, 2], false_scores=[0, 2])
    with pytest.raises(ValueError, match="Row 2 of categories is ''"):
        metric.compute()


def test_combine(tmp_path):
    names = ["first", "second"]
    combined = evaluate.combine({name: PairAccuracy(cache_dir=str(tmp_path / name)) for name in names})
    true_scores, false_scores, categories = random_pairs(30)
    columns = {"true_scores": true_scores, "false_scores": false_scores, "categories": list(categories)}
    expected = reference(true_scores, false_scores, categories)
    together = {f"{name}_{key}": value for name in names for key, value in expected.items()}
    assert combined.compute(**columns) == together
    combined.add_batch(**columns)
    assert combined.compute() == together


def test_all_of_ccneg_takes_seconds(metric):
    rng = np.random.default_rng(0)
    true_scores, false_scores = rng.standard_normal((2, 228_246))
    start = time.perf_counter()
    result = metric.compute(true_scores=true_scores, false_scores=false_scores)
    assert time.perf_counter() - start < 8  # 1 s on two cores; row by row it would be a minute
    assert result["correct"] == int(sum((true_scores > false_scores).tolist()))


SCRIPT = """
import doctest, json, pathlib, re, socket, sys

def no_network(*args, **kwargs):
    raise AssertionError("the metric asked for the network")

socket.socket.connect = socket.getaddrinfo = no_network
import evaluate

metric = evaluate.load("./evaluate/pair_accuracy")
module = sys.modules[type(metric).__module__]
outcome = {"result": metric.compute(true_scores=[1.0, 2.0], false_scores=[0.0, 2.0], categories=["a", "b"])}

card = pathlib.Path("evaluate/pair_accuracy/README.md").read_text(encoding="utf-8")
texts = {
    "card": "\\n".join(re.findall("```python\\n(.*?)```", card, flags=re.DOTALL)),
    "class": type(metric).__doc__,
    "function": module.pair_accuracy.__doc__,
}
for name, text in texts.items():
    example = doctest.DocTestParser().get_doctest(text, {"pair_accuracy": module.pair_accuracy}, name, None, 0)
    tried = doctest.DocTestRunner().run(example, out=sys.stderr.write)
    outcome[name] = {"examples": tried.attempted, "wrong": tried.failed}
print("OUTCOME", json.dumps(outcome))
"""


def test_loads_by_path_offline_and_documented_examples_print_what_they_say(tmp_path):
    """One process for all of it, because importing `evaluate` takes seconds."""
    env = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1"}
    for name in ("HF_MODULES_CACHE", "HF_METRICS_CACHE", "HF_EVALUATE_CACHE"):
        env.pop(name, None)
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout.split("OUTCOME ")[1])
    assert outcome["result"] == reference([1.0, 2.0], [0.0, 2.0], ["a", "b"])
    for name, least in (("card", 7), ("class", 3), ("function", 4)):
        assert outcome[name]["examples"] >= least, f"the examples of the {name} were not found"
        assert outcome[name]["wrong"] == 0, done.stderr


def test_card_has_the_front_matter_of_a_metric():
    _, front_matter, body = (FOLDER / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert "- evaluate\n- metric\n" in front_matter
    assert "title: Pair Accuracy\n" in front_matter
    assert body.lstrip().startswith("# Metric Card for Pair Accuracy")
