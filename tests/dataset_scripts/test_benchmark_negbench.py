"""NegBench, read from files of the real format."""

import csv

import pytest

from conclip.errors import UsageError
from dataset_scripts.benchmarks.negbench import (
    NEGBENCH_MCQ_COCO,
    NEGBENCH_MCQ_SYNTHETIC,
    NEGBENCH_MCQ_VOC,
    NEGBENCH_RETRIEVAL_COCO,
)
from dataset_scripts.benchmarks.schema import Kind, item_features

COCO_FILE = "COCO_val_mcq_llama3.1_rephrased.csv"
PLAIN_FILE = "COCO_val_retrieval.csv"
NEGATED_FILE = "COCO_val_negated_retrieval_llama3.1_rephrased_affneg_true.csv"
CHOICE = {
    "image_path": "data/coco/images/val2017/000000397133.jpg",
    "correct_answer": "0",
    "caption_0": "This image features a knife, but no car is present.",
    "caption_1": "A car is present in this image, but there is no knife.",
    "caption_2": "This image features a car",
    "caption_3": "This image does not feature a knife.",
    "correct_answer_template": "hybrid",
}
IMAGE = {
    "positive_objects": "['person', 'bottle']",
    "negative_objects": "['chair']",
    "filepath": "data/coco/images/val2017/000000397133.jpg",
    "image_id": "397133",
    "captions": str(["A man is in a kitchen making pizzas.", "A table, with pies; and walls "]),
}
# Python writes a text with an apostrophe in double quotes, which a CSV file doubles again.
NEGATED = {**IMAGE, "captions": str(["A man makes pizzas, and there's no chair."])}


def write(data_dir, name, rows):
    path = data_dir / "negbench" / name
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_multiple_choice(tmp_path):
    write(tmp_path, COCO_FILE, [CHOICE, {**CHOICE, "correct_answer": "3", "correct_answer_template": "negative"}])
    first, second = NEGBENCH_MCQ_COCO.read(tmp_path)
    assert first == {
        "id": "0",
        "category": "hybrid",
        "images": [str(tmp_path / "coco" / "val2017" / "000000397133.jpg")],
        "boxes": [],
        "captions": [
            "This image features a knife, but no car is present.",
            "A car is present in this image, but there is no knife.",
            "This image features a car",
            "This image does not feature a knife.",
        ],
        "answer": 0,
    }
    assert (second["id"], second["category"], second["answer"]) == ("1", "negative", 3)
    assert NEGBENCH_MCQ_COCO.kind == Kind.CAPTIONS and not NEGBENCH_MCQ_COCO.macro
    assert item_features().encode_example(first)["captions"] == first["captions"]


@pytest.mark.parametrize(
    ("benchmark", "file", "written", "folder", "expected"),
    [
        # The name in the usual folder; the unchanged path; one that its user has edited; names that mean nothing
        # without their folder.
        (NEGBENCH_MCQ_COCO, COCO_FILE, "data/x/1.jpg", "val2017", "val2017/1.jpg"),
        (NEGBENCH_MCQ_COCO, COCO_FILE, "data/x/1.jpg", "data/x", "data/x/1.jpg"),
        (NEGBENCH_MCQ_COCO, COCO_FILE, "{data_dir}/mine/1.jpg", "mine", "mine/1.jpg"),
        (NEGBENCH_MCQ_COCO, COCO_FILE, "{data_dir}/theirs/1.jpg", "coco/val2017", "coco/val2017/1.jpg"),
        (
            NEGBENCH_MCQ_VOC,
            "VOC2007_mcq_llama3.1_rephrased.csv",
            "data/voc2007/VOCdevkit/VOC2007/JPEGImages/000001.jpg",
            "voc2007/VOCdevkit/VOC2007/JPEGImages",
            "voc2007/VOCdevkit/VOC2007/JPEGImages/000001.jpg",
        ),
        (
            NEGBENCH_MCQ_SYNTHETIC,
            "synthetic_mcq_llama3.1_rephrased.csv",
            "data/synthetic/0.png",
            "data/synthetic",
            "data/synthetic/0.png",
        ),
    ],
)
def test_where_images_are_looked_for(tmp_path, benchmark, file, written, folder, expected):
    write(tmp_path, file, [{**CHOICE, "image_path": written.format(data_dir=tmp_path)}])
    (tmp_path / folder).mkdir(parents=True)
    (found,) = benchmark.read(tmp_path)
    assert found["images"] == [str(tmp_path / expected)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"correct_answer": "4"}, "row 1: 'correct_answer' is '4'"),
        ({"correct_answer": "0.0"}, "row 1: 'correct_answer' is '0.0'"),
        ({"correct_answer": "-1"}, "row 1: 'correct_answer' is '-1'"),
        ({"correct_answer": ""}, "row 1: 'correct_answer' is ''"),
        ({"caption_3": " "}, "row 1: 'caption_3' is ' '"),
        ({"image_path": ""}, "row 1: 'image_path' is ''"),
        ({"correct_answer_template": ""}, "row 1: 'correct_answer_template' is ''"),
    ],
)
def test_a_damaged_question_is_named(tmp_path, change, message):
    path = write(tmp_path, COCO_FILE, [CHOICE, {**CHOICE, **change}])
    items = NEGBENCH_MCQ_COCO.read(tmp_path)
    assert next(items)["id"] == "0"
    with pytest.raises(UsageError) as error:
        next(items)
    assert message in str(error.value) and str(path) in str(error.value)


def test_missing_columns_and_files_are_named(tmp_path):
    with pytest.raises(UsageError, match="COCO_val_mcq.*No such file.* Download COCO_val_mcq.*drive.google.com"):
        list(NEGBENCH_MCQ_COCO.read(tmp_path))
    write(tmp_path, COCO_FILE, [{key: value for key, value in CHOICE.items() if key != "caption_2"}])
    with pytest.raises(UsageError, match="has no column 'caption_2'"):
        list(NEGBENCH_MCQ_COCO.read(tmp_path))
    write(tmp_path, PLAIN_FILE, [IMAGE])
    with pytest.raises(UsageError, match=f"{NEGATED_FILE}: No such file"):
        list(NEGBENCH_RETRIEVAL_COCO.read(tmp_path))


def test_retrieval_has_two_conditions_over_the_same_images(tmp_path):
    other = {**IMAGE, "filepath": "data/coco/images/val2017/000000057597.jpg", "image_id": "57597"}
    write(tmp_path, PLAIN_FILE, [IMAGE, other])
    write(tmp_path, NEGATED_FILE, [{**other, "captions": "['No car.']"}, NEGATED])
    found = list(NEGBENCH_RETRIEVAL_COCO.read(tmp_path))
    plain = ["A man is in a kitchen making pizzas.", "A table, with pies; and walls"]
    assert [(one["category"], one["id"], one["captions"]) for one in found] == [
        ("plain", "397133", plain),
        ("plain", "57597", plain),
        ("negated", "57597", ["No car."]),
        ("negated", "397133", ["A man makes pizzas, and there's no chair."]),
    ]
    assert found[0]["images"] == found[3]["images"] == [str(tmp_path / "coco" / "val2017" / "000000397133.jpg")]
    assert NEGBENCH_RETRIEVAL_COCO.kind == Kind.RETRIEVAL


def test_conditions_over_other_images_are_refused(tmp_path):
    other = {**IMAGE, "filepath": "data/coco/images/val2017/000000057597.jpg"}
    for plain, negated in (([IMAGE, other], [NEGATED]), ([IMAGE], [NEGATED, other])):
        write(tmp_path, PLAIN_FILE, plain)
        write(tmp_path, NEGATED_FILE, negated)
        with pytest.raises(UsageError, match="000000057597.jpg is in only one of"):
            next(NEGBENCH_RETRIEVAL_COCO.read(tmp_path))


@pytest.mark.parametrize(
    "captions",
    [
        "A man.",  # no literal
        "'A man.'",  # no list
        "['A man.'",  # cut off
        "[]",
        "['A man.', ' ']",
        "['A man.', 3]",
        "{'A man.'}",
        # Deeper than the parser and than the reading of its tree go.
        "[" * 5_000,
        "-" * 5_000 + "1",
        "[open('stolen', 'w')]",  # read, never run
    ],
)
def test_damaged_lists_are_named(tmp_path, monkeypatch, captions):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, PLAIN_FILE, [IMAGE])
    path = write(tmp_path, NEGATED_FILE, [{**NEGATED, "captions": captions}])
    with pytest.raises(UsageError, match="row 0: (there is no list of captions|'caption' is)") as error:
        list(NEGBENCH_RETRIEVAL_COCO.read(tmp_path))
    assert str(path) in str(error.value)
    assert not (tmp_path / "stolen").exists()
