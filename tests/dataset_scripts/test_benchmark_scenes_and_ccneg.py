"""Benchmarks of the scenes and of CC-Neg: items against rows made again, and their truth against the objects."""

import datasets
import pytest
from benchmark_files import read
from ccneg_files import annotation, image_color, jpeg, truncate

from conclip.errors import UsageError
from dataset_scripts import scenes
from dataset_scripts.benchmarks import scenes_and_ccneg
from dataset_scripts.benchmarks.scenes_and_ccneg import (
    CCNEG,
    CCNEG_COMMAS_STRIPPED,
    SCENES_PAIRS,
    SCENES_RETRIEVAL,
    SCENES_TRUE_NEGATION,
    pairs,
    true_negations,
)
from dataset_scripts.benchmarks.scenes_choice import choices
from dataset_scripts.benchmarks.schema import Kind
from dataset_scripts.scenes_truth import truth

ROWS = 200


@pytest.fixture(scope="module")
def rows():
    return [scenes.make_row("test", index, 0) for index in range(ROWS)]


@pytest.fixture
def few_scenes(monkeypatch, tmp_path):
    """`load_scenes` draws but the first rows of each split."""

    all_scenes = scenes.load_scenes

    def load(split):
        return all_scenes(split, split_sizes={"train": 1, "test": ROWS}, cache_dir=str(tmp_path))

    monkeypatch.setattr(scenes, "load_scenes", load)


def encoded(row):
    return [{"bytes": row["image"]["bytes"]}]


def test_scenes_pairs(few_scenes, rows, tmp_path):
    items = read(SCENES_PAIRS, tmp_path)
    assert [item["captions"] for item in items] == [[row["caption"], row["negated_captions"][0]] for row in rows]
    assert [item["category"] for item in items] == [row["negation_kinds"][0] for row in rows]
    assert [item["id"] for item in items] == [f"{index}/0" for index in range(ROWS)]
    assert [item["images"] for item in items] == [encoded(row) for row in rows]
    assert {item["answer"] for item in items} == {0}


def test_scenes_true_negation(few_scenes, rows, tmp_path):
    items = read(SCENES_TRUE_NEGATION, tmp_path)
    assert len(items) == 2 * ROWS
    for at, item in enumerate(items):
        row, place = rows[at // 2], at % 2
        assert item == {
            "id": f"{at // 2}/{place}",
            "category": ("false affirmation", "false negation")[place],
            "images": encoded(row),
            "boxes": [],
            "captions": [row["true_negations"][place], row["true_negation_foils"][place]],
            "answer": 0,
        }


def test_scenes_retrieval(few_scenes, rows, tmp_path):
    items = read(SCENES_RETRIEVAL, tmp_path)
    plain, negated = items[::2], items[1::2]
    assert [item["captions"] for item in plain] == [[row["caption"]] for row in rows]
    assert [item["captions"] for item in negated] == [row["true_negations"][:1] for row in rows]
    for some, category in ((plain, "plain"), (negated, "negated")):
        assert [item["images"] for item in some] == [encoded(row) for row in rows]
        assert {item["category"] for item in some} == {category}
    assert SCENES_RETRIEVAL.kind is Kind.RETRIEVAL


def test_scenes_retrieval_knows_of_which_images_a_caption_is_true(few_scenes, rows):
    found = SCENES_RETRIEVAL.truth([row["caption"] for row in rows[:3]], ["7", "0", "1", "2"])
    assert found.shape == (3, 4) and found[range(3), range(1, 4)].all()
    assert (found == truth([row["caption"] for row in rows[:3]], [rows[at]["objects"] for at in (7, 0, 1, 2)])).all()
    assert not found.all()


def test_every_negated_caption_gives_an_item(rows):
    row = rows[0] | {"negated_captions": ["no one", "no two"], "negation_kinds": ["object", "relation"]}
    items = list(pairs([(3, row)], "somewhere"))
    assert [(item["id"], item["captions"][1], item["category"]) for item in items] == [
        ("3/0", "no one", "object"),
        ("3/1", "no two", "relation"),
    ]
    assert list(pairs([(3, row | {"negated_captions": [], "negation_kinds": []})], "somewhere")) == []


def test_every_caption_of_a_list_gives_items(rows):
    row = rows[0] | {"negated_captions": ["no one", "no two"], "negation_kinds": ["object", "verb"]}
    by_index = list(pairs([(7, row | {"caption": ["one", "two"]})], "somewhere"))
    assert [(item["id"], *item["captions"], item["category"]) for item in by_index] == [
        ("7/0", "one", "no one", "object"),
        ("7/1", "two", "no two", "verb"),
    ]
    each_with_each = list(pairs([(7, row | {"caption": ["one", "two", "three"]})], "somewhere"))
    assert [(item["id"], *item["captions"], item["category"]) for item in each_with_each] == [
        ("7/0", "one", "no one", "object"),
        ("7/1", "one", "no two", "verb"),
        ("7/2", "two", "no one", "object"),
        ("7/3", "two", "no two", "verb"),
        ("7/4", "three", "no one", "object"),
        ("7/5", "three", "no two", "verb"),
    ]
    for caption in ([], ["one", " "]):
        with pytest.raises(UsageError, match="somewhere, row 7: 'caption' is "):
            list(pairs([(7, row | {"caption": caption})], "somewhere"))


@pytest.mark.parametrize("items", [pairs, true_negations, choices, scenes_and_ccneg.retrieval])
@pytest.mark.parametrize(
    "changes",
    [
        {"caption": "  ", "true_negations": ["", ""], "objects": [" "]},
        {"image": None},
        {"image": {"bytes": None, "path": None}},
        {
            "caption": None,
            "negated_captions": ["one", " ", "two", "three"],
            "true_negation_foils": [None, "one", "two", "three"],
            "objects": None,
        },
    ],
)
def test_damaged_rows_are_named(rows, items, changes):
    with pytest.raises(UsageError, match="somewhere, row 5: '"):
        list(items([(5, rows[5] | changes)], "somewhere"))


def test_lists_that_do_not_belong_together_are_named(rows):
    with pytest.raises(UsageError, match="somewhere, row 5: negated_captions and negation_kinds"):
        list(pairs([(5, rows[5] | {"negation_kinds": []})], "somewhere"))
    with pytest.raises(UsageError, match="somewhere, row 5: true_negations and"):
        list(true_negations([(5, rows[5] | {"true_negation_foils": ["one"]})], "somewhere"))


def test_an_image_without_bytes_is_its_path(rows):
    row = rows[0] | {"image": {"bytes": None, "path": "a.png"}}
    assert next(pairs([(0, row)], "somewhere"))["images"] == ["a.png"]


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def ccneg_items(first: int, stop: int) -> list[dict]:
    """What the test split of the tiny CC-Neg gives."""
    return [
        {
            "id": f"{row - first}/0",
            "category": "predicate-object",
            "images": [{"bytes": jpeg(image_color(row))}],
            "boxes": [],
            "captions": [annotation(row)["json"]["caption"], annotation(row)["sop_data"]["negative-prompt"]],
            "answer": 0,
        }
        for row in range(first, stop)
    ]


def test_ccneg_from_the_folder_or_by_name(write, coco, tmp_path, own_cache, monkeypatch):
    assert write("--test_size", 5, "--coco_dir", coco)[0] == 0
    assert read(CCNEG, tmp_path) == ccneg_items(7, 12)
    # Streamed: nothing was copied.
    assert not list(tmp_path.glob("cache/**/*.arrow"))
    monkeypatch.chdir(tmp_path)
    assert read(CCNEG, tmp_path / "elsewhere") == ccneg_items(7, 12)


@pytest.mark.parametrize("options", [[], ["--strip_commas"]])
def test_published_ccneg_has_no_commas_in_the_negated_captions_alone(write, tmp_path, own_cache, options):
    """Whether the folder was written with the commas or without them."""
    write("--test_size", 5, *options)
    items = read(CCNEG_COMMAS_STRIPPED, tmp_path)
    assert [item["captions"] for item in items] == [
        [f"a dog, with ball {row}", f"a dog not with ball {row}"] for row in range(7, 12)
    ]
    assert [{**item, "captions": []} for item in items] == [{**item, "captions": []} for item in ccneg_items(7, 12)]
    # The published score is that of an argmax.
    assert CCNEG_COMMAS_STRIPPED.first_wins and "as published, commas stripped" in CCNEG_COMMAS_STRIPPED.title


def test_ccneg_with_commas_refuses_a_folder_without_them(write, tmp_path, own_cache):
    write("--test_size", 5, "--strip_commas")
    with pytest.raises(UsageError, match="--strip_commas, so that .* run --benchmarks ccneg-commas-stripped"):
        read(CCNEG, tmp_path)
    assert "commas kept" in CCNEG.title and not CCNEG.first_wins


def test_ccneg_that_is_absent_or_damaged_says_how_to_write_it(write, tmp_path, own_cache):
    with pytest.raises(UsageError, match="ccneg cannot be read.*conclip ccneg"):
        list(CCNEG.read(tmp_path))
    write("--test_size", 5)
    [path] = (tmp_path / "ccneg" / "data").glob("*test*.parquet")
    truncate(path)
    with pytest.raises(UsageError, match="ccneg cannot be read.*conclip ccneg"):
        list(CCNEG.read(tmp_path))
