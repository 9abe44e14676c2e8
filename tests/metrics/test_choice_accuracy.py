"""Choice accuracy against a loop and literal cases; test_metric_inputs.py has what holds of every metric."""

import numpy as np
import pytest
import torch

from conclip.metrics.choice_accuracy import choice_accuracy as module
from conclip.metrics.choice_accuracy.choice_accuracy import ChoiceAccuracy, choice_accuracy


@pytest.fixture
def metric(tmp_path):
    return ChoiceAccuracy(cache_dir=str(tmp_path))


def reference(scores, answers, categories=None):
    """The definition, item by item, with no numpy and no code of the metric."""

    def entry(items):
        correct = ties = 0
        chances = []
        for options, answer in items:
            others = [options[i] for i in range(len(options)) if i != answer]
            if all(options[answer] > other for other in others):
                correct += 1
            elif options[answer] == max(others):
                ties += 1
            chances.append(1 / len(options))
        chance = pytest.approx(sum(chances) / len(chances), abs=1e-9)
        count = len(items)
        return {"accuracy": correct / count, "correct": correct, "ties": ties, "count": count, "chance": chance}

    items = [([float(value) for value in row], int(answer)) for row, answer in zip(scores, answers, strict=True)]
    result = entry(items)
    if categories is not None:
        names = sorted(set(categories))
        result["categories"] = {
            name: entry([item for item, category in zip(items, categories, strict=True) if category == name])
            for name in names
        }
        accuracies = [value["accuracy"] for value in result["categories"].values()]
        result["macro_accuracy"] = pytest.approx(sum(accuracies) / len(accuracies), abs=1e-9)
    return result


def random_items(count, options, seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 9 + 2 * options, (count, options)) / 8
    return scores, rng.integers(0, options, count), rng.choice(["a", "b", "c"], count, p=[0.7, 0.2, 0.1]).tolist()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("options", [2, 3, 5, 40])
def test_equals_the_independent_loop(seed, options):
    scores, answers, categories = random_items(400, options, seed)
    expected = reference(scores, answers, categories)
    assert expected["correct"] and expected["ties"]  # the data does tell the rules apart
    assert choice_accuracy(scores, answers, categories) == expected


@pytest.mark.parametrize("convert", [list, np.float32, torch.tensor])
def test_rows_of_different_lengths(metric, convert):
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 7, 300)
    scores = [(rng.integers(0, 5, length) / 4).tolist() for length in lengths]
    answers = [int(rng.integers(0, length)) for length in lengths]
    categories = ["odd" if length % 2 else "even" for length in lengths]
    expected = reference(scores, answers, categories)
    scores = [convert(row) for row in scores]
    assert choice_accuracy(scores, answers, categories) == expected
    for start in range(0, 300, 70):
        block = slice(start, start + 70)
        metric.add_batch(scores=scores[block], answers=answers[block], categories=categories[block])
    assert metric.compute() == expected


def test_blocks_do_not_show(monkeypatch):
    scores, answers, categories = random_items(100, 5, 0)
    for block in (1, 5, 35, 499, 500):
        monkeypatch.setattr(module, "BLOCK", block)
        for given in (scores, scores.tolist(), torch.tensor(scores)):
            assert choice_accuracy(given, answers, categories) == reference(scores, answers, categories)


def test_literal_case():
    scores = [[3, 1, 2], [3, 3, 1], [1, 3, 3], [2, 2, 2], [0, 1, 5], [1, 2, 1]]
    result = choice_accuracy(scores, [0, 0, 0, 2, 2, 1], ["b", "b", "a", "b", "b", "a"], return_items=True)
    third = pytest.approx(1 / 3)
    assert result == {
        "accuracy": 0.5,
        "correct": 3,
        # In the third item two wrong options share the first place: the right one is beaten, not tied.
        "ties": 2,
        "count": 6,
        "chance": third,
        "categories": {
            "a": {"accuracy": 0.5, "correct": 1, "ties": 0, "count": 2, "chance": third},
            "b": {"accuracy": 0.5, "correct": 2, "ties": 2, "count": 4, "chance": third},
        },
        "macro_accuracy": 0.5,
        "items": {
            "correct": [True, False, False, False, True, True],
            "tie": [False, True, False, True, False, False],
        },
    }


def test_answer_first_and_all_scores_equal_is_no_success():
    """An argmax would give 1.0: NegBench's rephrased rows have every right answer in the first place."""
    result = choice_accuracy(np.full((50, 4), 0.25), np.zeros(50, dtype=int))
    assert (result["accuracy"], result["ties"], result["chance"]) == (0.0, 50, 0.25)


def test_chance_is_the_mean_over_items():
    assert choice_accuracy([[1, 0], [1, 0, 0, 0]], [0, 0])["chance"] == 3 / 8


@pytest.mark.parametrize(
    ("scores", "answers", "message"),
    [
        ([[1, 2], [1, 2]], [0, 2], "Row 1 of answers is 2: with 2 options, an answer is an index from 0 to 1"),
        ([[1, 2, 3], [1, 2]], [2, 2], "Row 1 of answers is 2: with 2 options"),
        ([[1, 2]] * 3, [0, 3, 4], "Row 1 of answers is 3"),
        ([[1, 2], [1], []], [0, 0, 0], "Row 1 of scores has 1 options"),
        ([[1, 2, 3, 4]], [4], "Row 0 of answers is 4: with 4 options, an answer is an index from 0 to 3"),
        ([[1, 2], [1, 2]], [-1, 0], "Row 0 of answers is -1"),
        ([[1, 2], [1, 2]], [0, 1.0], "Row 0 of answers is 0.0: an answer is the index of an option, an int"),
        ([[1, 2], [1, 2]], [0, None], "Row 1 of answers is None"),
        ([[1, 2], [1, 2]], [True, False], "Row 0 of answers is True"),
        ([[1, 2], [1, 2]], [[0], [1]], r"answers must be one-dimensional, .* got shape \(2, 1\)"),
        ([[1, 2], [1, 2]], 0, r"answers must be one-dimensional, .* got shape \(\)"),
        ([[1, 2], [1]], [0, 0], "Row 1 of scores has 1 options: a choice needs two"),
        ([[1, 2], []], [0, 0], "Row 1 of scores has 0 options"),
        (np.ones((2, 1)), [0, 0], "Row 0 of scores has 1 options"),
        ([[1, 2], 3], [0, 0], "Row 1 of scores is 3: an item needs a list"),
        ([[1, 2], "12"], [0, 0], "Row 1 of scores is '12': an item needs a list"),
        ([[1, 2], [1, float("nan"), 3]], [0, 0], r"Row 1 of scores is nan at \[1\]"),
        ([[1, 2, 4], [1, float("inf")]], [0, 0], r"Row 1 of scores is inf at \[1\]"),
    ],
)
def test_refuses_in_one_sentence_that_names_the_row(metric, scores, answers, message):
    for refuse in (choice_accuracy, lambda scores, answers: metric.compute(scores=scores, answers=answers)):
        with pytest.raises(ValueError, match=message) as error:
            refuse(scores, answers)
        assert "\n" not in str(error.value)


def test_what_is_stored_of_an_item_does_not_grow_with_its_options(tmp_path):
    sizes = []
    for options in (2, 2000):
        metric = ChoiceAccuracy(cache_dir=str(tmp_path / str(options)))
        metric.add_batch(scores=np.random.default_rng(0).random((500, options)), answers=[0] * 500)
        metric.writer.stream.flush()
        sizes += [sum(path.stat().st_size for path in (tmp_path / str(options)).rglob("*.arrow"))]
    assert 0 < sizes[1] <= sizes[0]


def test_rows_are_counted_from_the_first_batch_on():
    """Row 1 of a batch that comes after 1 row is row 2."""
    with pytest.raises(ValueError, match="Row 2 of answers is 5"):
        module._outcomes([[1, 2], [1, 3]], [0, 5], None, 1)
    with pytest.raises(ValueError, match="Row 2 of scores is nan"):
        module._outcomes([[1, 2], [1, 2, float("nan")]], [0, 0], None, 1)
    with pytest.raises(ValueError, match="Row 2 of scores has 1 options"):
        module._outcomes([[1, 2], [1]], [0, 0], None, 1)


def test_scores_are_read_in_blocks(monkeypatch):
    assert 8 * module.BLOCK == 8 * 2**20  # bytes in float64
    seen, plain = [], module.finite_scores

    def finite_scores_seen(name, values, *rest):
        seen.append(len(values))
        return plain(name, values, *rest)

    monkeypatch.setattr(module, "finite_scores", finite_scores_seen)
    monkeypatch.setattr(module, "BLOCK", 13)
    outcomes, options, _ = module._outcomes([[1, 2, 3, 4]] * 5, [3, 0, 3, 0, 3], None)
    # 13 // 4 rows.
    assert seen == [3, 2] and options.tolist() == [4] * 5
    assert (outcomes == module.RIGHT).tolist() == [True, False, True, False, True]
    seen.clear()
    monkeypatch.setattr(module, "BLOCK", 3)
    module._outcomes([[1, 2, 3, 4]] * 5, [3, 0, 3, 0, 3], None)
    assert seen == [1] * 5


def test_rows_of_all_blocks_are_counted(monkeypatch):
    """Row 1 of a batch that comes after 3 rows is row 4, also if it is a block of its own."""
    monkeypatch.setattr(module, "BLOCK", 1)
    scores = np.array([[1, 2], [1, float("nan")]])
    with pytest.raises(ValueError, match="Row 4 of scores is nan"):
        module._outcomes(scores, [0, 0], None, 3)
