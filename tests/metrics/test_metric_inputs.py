"""What holds of every metric: kinds of input, batches, the order of items, and what is refused in which words."""

import copy
import json
import tracemalloc

import datasets
import evaluate
import numpy as np
import pytest
import torch
from metric_columns import METRICS, SHAPES, random_columns, rows

from conclip.metrics.pair_accuracy.checks import finite_scores

NAN, INF = float("nan"), float("inf")
# Metrics of rows of any length.
ANY_LENGTH = ("choice_accuracy", "retrieval_recall")


@pytest.fixture(params=METRICS)
def name(request):
    return request.param


@pytest.fixture
def function(name):
    return METRICS[name][1]


@pytest.fixture
def metric(name, tmp_path):
    return METRICS[name][0](cache_dir=str(tmp_path))


def leaves(value):
    if isinstance(value, dict):
        return [leaf for key in value for leaf in [key, *leaves(value[key])]]
    return [leaf for element in value for leaf in leaves(element)] if isinstance(value, list) else [value]


# --- kinds of input ---


def bfloat16_with_gradient(scores):
    return torch.tensor(scores, dtype=torch.bfloat16, requires_grad=True)


def rows_of_tensors(scores):
    return [torch.tensor(row, dtype=torch.bfloat16, requires_grad=True) for row in scores]


def numbers_as_tensors(scores):
    """Nested lists down to tensors of one number each, as a loop over items and captions collects them."""
    if np.ndim(scores) == 0:
        return torch.tensor(float(scores), dtype=torch.bfloat16, requires_grad=True)
    return [numbers_as_tensors(row) for row in scores]


@pytest.mark.parametrize(
    "convert",
    [np.ndarray.tolist, np.float16, torch.as_tensor, bfloat16_with_gradient, rows_of_tensors, numbers_as_tensors],
)
def test_lists_arrays_and_tensors_give_the_same(name, function, metric, convert):
    columns = random_columns(name, 60)
    expected = function(**columns, return_items=True)
    converted = {key: convert(value) if key in SHAPES[name] else value for key, value in columns.items()}
    assert function(**converted, return_items=True) == expected
    assert metric.compute(**converted, return_items=True) == expected


def test_integer_columns_may_be_tensors():
    choice, retrieval = random_columns("choice_accuracy", 30), random_columns("retrieval_recall", 30)
    for name, columns, tensors in (
        ("choice_accuracy", choice, {"answers": torch.as_tensor(choice["answers"])}),
        ("retrieval_recall", retrieval, {"positives": [torch.tensor(row) for row in retrieval["positives"]]}),
    ):
        assert METRICS[name][1](**columns | tensors) == METRICS[name][1](**columns)


def test_scores_are_compared_as_float64(name, function, metric):
    """Scores that differ in the last bit alone, so that float32 would make them ties, rank as whole numbers do."""
    columns = random_columns(name, 60)
    whole = {key: np.rint(columns[key] * 16) for key in SHAPES[name]}
    close = {key: 1 + value * np.finfo(np.float64).eps for key, value in whole.items()}
    expected = function(**columns | whole, return_items=True)
    assert function(**columns | close, return_items=True) == expected
    assert metric.compute(**columns | close, return_items=True) == expected


def test_features_describe_the_columns(name, metric):
    """With their types and shapes, so that `datasets` can store them as they are."""
    columns = random_columns(name, 20)
    columns = {key: value if isinstance(value, list) else value.tolist() for key, value in columns.items()}
    assert list(metric.features) == list(columns)
    table = datasets.Dataset.from_dict(columns, features=metric.features)
    assert table.to_dict() == columns
    for column, shape in SHAPES[name].items():
        feature, sides = metric.features[column], []
        while not isinstance(feature, datasets.Value):
            sides.append(feature.length)
            feature = feature.feature
        assert feature.dtype == "float64"
        # -1: any length.
        assert [side for side in sides if side != -1] == ([] if name in ANY_LENGTH else [*shape])


def test_inputs_are_left_as_they_were(name, function, metric):
    columns = random_columns(name, 20)
    before = copy.deepcopy(columns)
    function(**columns)
    metric.compute(**columns)
    for key, value in columns.items():
        assert np.array_equal(value, before[key]) if key in SHAPES[name] else list(value) == list(before[key])


@pytest.mark.parametrize("wide", ["choice_accuracy", "retrieval_recall"])
def test_a_wide_matrix_is_not_copied_as_a_whole(wide):
    scores = np.random.default_rng(0).random((4000, 2000)).astype(np.float16)  # 16 MB, and 64 MB as float64
    second = [0] * 4000 if wide == "choice_accuracy" else [[0]] * 4000
    tracemalloc.start()
    METRICS[wide][1](scores, second)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32e6


def test_columns_are_given_by_name(name, metric):
    columns = random_columns(name, 2)
    with pytest.raises(TypeError, match="positional argument"):
        metric.add_batch(*columns.values())
    with pytest.raises(TypeError, match="positional argument"):
        metric.add(*(column[0] for column in columns.values()))


def test_the_help_of_the_class_is_that_of_the_metric(name, metric):
    assert type(metric).__doc__.rstrip() == (metric.info.description + metric.info.inputs_description).rstrip()


# --- results ---


def test_result_is_json_of_plain_values(name, function):
    columns = random_columns(name, 40)
    result = function(**columns | {"categories": np.array(columns["categories"])}, return_items=True)
    assert json.loads(json.dumps(result)) == result
    assert {type(leaf) for leaf in leaves(result)} <= {str, int, float, bool}
    assert {type(value) for key, value in result.items() if key.endswith(("correct", "ties", "count"))} == {int}
    outcomes = [column for key, column in result["items"].items() if key.endswith(("correct", "tie"))]
    assert {type(outcome) for column in outcomes for outcome in column} <= {bool}


def test_order_of_the_items_does_not_matter(name, function):
    columns = random_columns(name, 200)
    order = np.random.default_rng(1).permutation(200)
    straight = function(**columns, return_items=True)
    shuffled = function(**rows(columns, order), return_items=True)
    items, shuffled_items = straight.pop("items"), shuffled.pop("items")
    assert shuffled == straight
    assert {key: np.array(value)[order].tolist() for key, value in items.items()} == shuffled_items


def test_one_item_is_enough(name, function, metric):
    columns = random_columns(name, 1)
    result = function(**columns)
    assert result["count"] == 1
    assert metric.compute(**columns) == result
    category = result["categories"][columns["categories"][0]]
    assert category == {key: result[key] for key in category}


def test_categories_are_what_the_function_gives_for_their_items_alone(name, function):
    columns = random_columns(name, 200)
    result = function(**columns)
    assert list(result["categories"]) == sorted(set(columns["categories"]))
    assert sum(entry["count"] for entry in result["categories"].values()) == 200
    for category, entry in result["categories"].items():
        chosen = [row for row, value in enumerate(columns["categories"]) if value == category]
        alone = function(**rows(columns, chosen) | {"categories": None})
        assert entry == {key: alone[key] for key in entry}


def test_without_categories_and_items_there_are_no_such_keys(name, function, metric):
    columns = random_columns(name, 20)
    named = function(**columns)
    del columns["categories"]
    result = function(**columns)
    assert metric.compute(**columns) == result
    absent = {"categories", "items", "macro_accuracy", "macro_categories", "macro_itt", "macro_tot"}
    assert not absent & set(result)
    assert result == {key: value for key, value in named.items() if key not in absent}


# --- batches ---


@pytest.mark.parametrize("without", [(), ("categories",), ("categories", "text_scores")])
def test_batches_and_single_items_equal_one_call(name, function, metric, without):
    columns = {key: value for key, value in random_columns(name, 100).items() if key not in without}
    for start, stop in ((0, 1), (1, 40), (40, 97)):
        metric.add_batch(**rows(columns, range(start, stop)))
    for row in range(97, 100):
        metric.add(**{key: column[row] for key, column in columns.items()})
    assert len(metric) == 100
    assert metric.compute(return_items=True) == function(**columns, return_items=True)


def test_combine(name, function, tmp_path):
    combined = evaluate.combine({key: METRICS[name][0](cache_dir=str(tmp_path / key)) for key in ("one", "two")})
    columns = random_columns(name, 30)
    expected = function(**columns)
    together = {f"{key}_{field}": value for key in ("one", "two") for field, value in expected.items()}
    assert combined.compute(**columns) == together
    combined.add_batch(**columns)
    combined.add(**{key: column[0] for key, column in columns.items()})
    assert combined.compute()["two_count"] == 31


def test_refused_batch_leaves_the_earlier_ones(name, function, metric):
    columns = random_columns(name, 5)
    metric.add_batch(**columns)
    column = next(iter(SHAPES[name]))
    faulty = random_columns(name, 4)
    faulty[column].reshape(4, -1)[2, -1] = NAN
    with pytest.raises(ValueError, match=f"Row 7 of {column} is nan"):
        metric.add_batch(**faulty)
    assert metric.compute() == function(**columns)


def test_categories_for_some_batches_only_are_refused(name, metric):
    columns = random_columns(name, 4)
    metric.add_batch(**rows(columns, range(2)))
    metric.add_batch(**rows(columns, range(2, 4)) | {"categories": None})
    with pytest.raises(ValueError, match="Row 2 of categories is ''"):
        metric.compute()


# --- refusals ---


def check_refused(function, metric, columns, message):
    for refuse in (function, metric.compute):
        with pytest.raises(ValueError, match=message) as error:
            refuse(**columns)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [NAN, INF, -INF, None, "0.5"])
def test_a_score_that_is_no_finite_number_is_refused(name, function, metric, value):
    for column, shape in SHAPES[name].items():
        columns = random_columns(name, 4)
        scores = columns[column].astype(object) if value is None else columns[column]
        scores = scores.astype(str if isinstance(value, str) else scores.dtype)
        scores[(3, *(side - 1 for side in shape))] = value
        row = 0 if isinstance(value, str) else 3
        place = "" if not shape or isinstance(value, str) else rf" at {[side - 1 for side in shape]}:"
        message = f"Row {row} of {column} is ".replace("[", r"\[") + (".*" + place.replace("[", r"\["))
        check_refused(function, metric, columns | {column: scores.tolist()}, message)


def test_of_several_scores_that_are_not_finite_the_first_is_named(name, function, metric):
    for column in SHAPES[name]:
        columns = random_columns(name, 4)
        columns[column][1:] = NAN
        check_refused(function, metric, columns, f"Row 1 of {column} is nan")


def test_rows_are_counted_from_0():
    with pytest.raises(ValueError, match="Row 0 of scores is nan: a score must be a finite number"):
        finite_scores("scores", [NAN], (), "a list")


def test_columns_must_have_the_same_rows_and_at_least_one(name, function, metric):
    columns = random_columns(name, 3)
    noun = {"pair_accuracy": "pair", "retrieval_recall": "query"}.get(name, "item")
    for column in columns:
        if len(columns) > 1:
            check_refused(
                function,
                metric,
                columns | {column: columns[column][:2]},
                f"Every {noun} needs one value in each column, got .*2 {column}",
            )
    check_refused(function, metric, {column: [] for column in columns}, r"There are no \w+ to score")


def test_a_missing_column_is_named(name, function, metric):
    for column in random_columns(name, 3):
        if column not in ("categories", "text_scores"):
            columns = random_columns(name, 3) | {column: None}
            check_refused(function, metric, columns, f"{column} is missing")


def test_another_shape_is_refused(name, function, metric):
    for column in SHAPES[name]:
        columns = random_columns(name, 4)
        deeper, flat = columns[column][..., None], columns[column].ravel()[:4]
        wrong = [deeper, torch.as_tensor(deeper), np.float64(1)] + ([flat] if SHAPES[name][column] else [])
        for scores in wrong:
            message = rf"{column} must be .*, got shape {str(tuple(scores.shape))[:-1]}".replace("(", r"\(")
            check_refused(function, metric, columns | {column: scores}, message)


@pytest.mark.parametrize("value", [None, "", 7, NAN])
def test_a_category_is_a_string_that_is_not_empty(name, function, metric, value):
    columns = random_columns(name, 3)
    columns["categories"][1] = value
    check_refused(function, metric, columns, f"Row 1 of categories is {value!r}: a category must be a non-empty")
