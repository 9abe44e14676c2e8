"""The Python interface makes the rows of `conclip negate`."""

import datasets
import pytest
from negate_runs import IMAGES, captions, load
from noun_counts import absent_nouns

import conclip.negation
from conclip.errors import UsageError
from conclip.negation import CaptionNegator, negate_captions
from conclip.negation.lexicon.nouns import may_be_absent

pytest_plugins = ["negate_runs"]
TEXTS = [captions(image)[0] for image in range(IMAGES)]


@pytest.fixture(scope="module")
def rows_of_a_run(small_units, tmp_path_factory):
    """The rows of `conclip negate`, by the number of their caption."""
    from conclip.negation.pipeline.command import main

    folder = tmp_path_factory.mktemp("interface")
    datasets.Dataset.from_dict({"caption": TEXTS}).to_parquet(folder / "captions.parquet")
    options = ["--dataset_name", str(folder / "captions.parquet"), "--output_dir", str(folder / "out"), "--seed", "3"]
    assert main(options) == 0
    return {row["source_row"]: row for row in load(folder / "out")}


def assert_same_rows(rows, rows_of_a_run):
    assert len(rows_of_a_run) > 0.8 * IMAGES and len(rows) == IMAGES
    for number, row in enumerate(rows):
        if number in rows_of_a_run:
            expected = {name: value for name, value in rows_of_a_run[number].items() if "source" not in name}
            # Parquet gives lists for the tuples of a span.
            assert {name: [*map(list, value)] if "spans" in name else value for name, value in row.items()} == expected
        else:
            assert row["negated_captions"] == []


def test_negate_captions_makes_the_rows_of_a_run(rows_of_a_run):
    assert_same_rows(negate_captions(TEXTS, seed=3), rows_of_a_run)


def test_a_negator_maps_a_dataset_to_the_rows_of_a_run(rows_of_a_run):
    dataset = datasets.Dataset.from_dict({"id": list(range(IMAGES)), "caption": TEXTS})
    negator = CaptionNegator.fit(TEXTS, seed=3)
    made = dataset.map(negator, batched=True, with_indices=True, batch_size=16, num_proc=2)
    assert made["id"] == list(range(IMAGES))
    assert_same_rows(made.remove_columns("id").to_list(), rows_of_a_run)


def test_types_strategy_and_absent_nouns_are_options():
    rows = negate_captions(TEXTS[:20], negation_types=["false"], strategy="attribute")
    assert {kind for row in rows for kind in row["negation_kinds"]} == {"attribute"}
    assert not any(row["true_negations"] or row["hard_negatives"] for row in rows)
    # Two captions say little: the shipped counts add to them.
    counted = absent_nouns([["piano"], ["piano", "kite"]])
    rows = negate_captions(["a dog on a couch"], negation_types=["hybrid"], absent_nouns=counted)
    assert may_be_absent(rows[0]["true_negation_targets"][0])
    # Without absent nouns nothing is negated truly.
    made = CaptionNegator()({"caption": ["a dog on a couch"]}, [0])
    assert made["negated_captions"][0] and made["true_negations"] == [[]] and "caption" not in made
    assert negate_captions([]) == []


def test_what_is_no_caption_is_named():
    with pytest.raises(UsageError, match="caption 1 is ''"):
        negate_captions(["a dog", ""])
    with pytest.raises(UsageError, match=r"caption 0 is \['a dog'\]; it has to be a text"):
        CaptionNegator()({"caption": [["a dog"]]}, [0])
    with pytest.raises(UsageError, match="with_indices=True"):
        datasets.Dataset.from_dict({"caption": ["a dog"]}).map(CaptionNegator(), batched=True)


def test_every_name_of_the_package_is_there():
    assert all(getattr(conclip.negation, name) is not None for name in conclip.negation.__all__)
    with pytest.raises(AttributeError, match="no attribute 'deny'"):
        _ = conclip.negation.deny
