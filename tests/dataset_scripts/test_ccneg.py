"""Reading CC-Neg as its authors distribute it, and finding its images."""

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from ccneg_files import IMAGES, PREFIX, annotations, color, image_color, jpeg

from dataset_scripts.ccneg_source import ANNOTATION_ROW, CCNegError, choose_test_size
from dataset_scripts.schema import FEATURES

REPOSITORY = Path(__file__).resolve().parents[2]


# Reading


def test_rows_and_schema(build, coco):
    dataset = build(coco_dir=str(coco)).as_dataset()
    assert dataset["train"].features == FEATURES
    assert (len(dataset["train"]), len(dataset["test"])) == (10, 2)
    row = dataset["test"][0]
    assert row["caption"] == "a dog, with ball 10"
    assert row["negated_captions"] == ["a dog, not with ball 10"]
    assert row["negation_kinds"] == ["predicate-object"]
    assert row["objects"] == ["a dog", "ball 10"]
    assert row["true_negations"] == row["true_negation_foils"] == row["true_negation_kinds"] == []
    np.testing.assert_allclose(color(row["image"]), image_color(10), atol=3)


@pytest.mark.parametrize("num_distractors", [1, 3])
def test_distractors_follow_ascending_coco_id(build, coco, num_distractors):
    rows = build(coco_dir=str(coco), num_distractors=num_distractors).as_dataset(split="train")
    for row, example in enumerate(rows):
        expected = [[9, 25, 30, 72][(row + shift) % 4] for shift in range(num_distractors)]
        np.testing.assert_allclose(
            [color(image)[0] for image in example["distractor_images"]], expected, atol=3, err_msg=f"row {row}"
        )


def test_no_coco_no_distractors(build):
    assert build().as_dataset(split="test")["distractor_images"][:] == [[], []]
    assert build("annotations").as_dataset(split="test")["distractor_files"][:] == [[], []]


def test_images_keep_their_bytes(build, ccneg):
    dataset = build().as_dataset(split="train").cast_column("image", datasets.Image(decode=False))
    assert dataset[3]["image"] == {"bytes": (ccneg / IMAGES / "000003.jpg").read_bytes(), "path": "000003.jpg"}


def test_annotations_need_no_images(build, ccneg, coco):
    with_images = build("annotations", coco_dir=str(coco)).as_dataset(split="train")
    assert with_images.features == ANNOTATION_ROW
    assert with_images[1]["image_file"] == f"{IMAGES}/000001.jpg"
    assert with_images[1]["distractor_files"] == ["train2017/000000000025.jpg"]
    for path in (ccneg / IMAGES).iterdir():
        path.unlink()
    (ccneg / IMAGES).rmdir()
    (ccneg / "ccneg_images").rmdir()
    without = build("annotations", coco_dir=str(coco), test_size=2).as_dataset(split="train")
    assert without.to_list() == with_images.to_list()


def test_streams(build, coco):
    builder = build(coco_dir=str(coco))
    first = next(iter(builder.as_streaming_dataset("test")))
    np.testing.assert_allclose(color(first["image"]), image_color(10), atol=3)


def test_commas_stay_unless_asked(build):
    assert build("annotations").as_dataset(split="train")[0]["negated_captions"] == ["a dog, not with ball 0"]
    row = build("annotations", strip_commas=True).as_dataset(split="train")[0]
    assert (row["caption"], row["negated_captions"]) == ("a dog, with ball 0", ["a dog not with ball 0"])


def test_caption_beside_json_is_accepted(build, ccneg):
    data = annotations(12)
    data["annotations"][0]["caption"] = "not this one"
    data["annotations"][1] = {"caption": "a cat", "sop_data": {"negative-prompt": "no cat"}}
    torch.save(data, ccneg / "ccneg_preprocessed.pt")
    rows = build("annotations").as_dataset(split="train")
    assert rows["caption"][:2] == ["a dog, with ball 0", "a cat"]
    assert rows["objects"][:2] == [["a dog", "ball 0"], []]


@pytest.mark.parametrize("subject", [None, "None", " "])
def test_no_subject_is_no_object(build, ccneg, subject):
    data = annotations(12)
    data["annotations"][0]["sop_data"]["sop_decomposition"]["subject"] = subject
    torch.save(data, ccneg / "ccneg_preprocessed.pt")
    assert build("annotations").as_dataset(split="train")["objects"][0] == ["ball 0"]


@pytest.mark.parametrize(
    "rows, asked, expected",
    [(228_246, None, 40_000), (80_000, None, 40_000), (79_999, None, 13_333), (2, None, 1), (12, 5, 5)],
)
def test_test_split_size(rows, asked, expected):
    assert choose_test_size(rows, asked) == expected


@pytest.mark.parametrize("rows, asked", [(1, None), (12, 12), (12, 0)])
def test_test_split_must_leave_both(rows, asked):
    with pytest.raises(CCNegError, match="cannot be split"):
        choose_test_size(rows, asked)


# Finding images


@pytest.mark.parametrize(
    "prefix", [PREFIX + IMAGES + "/", "/elsewhere/", "", "C:\\cc3m\\", f"{IMAGES}/", "/x/cc3m_subset_images/"]
)
def test_any_prefix_is_found(build, ccneg, prefix):
    data = annotations(12)
    data["image_paths"] = [f"{prefix}{row:06}.jpg" for row in range(12)]
    torch.save(data, ccneg / "ccneg_preprocessed.pt")
    assert build("annotations").as_dataset(split="test")["image_file"][:] == [
        f"{IMAGES}/000010.jpg",
        f"{IMAGES}/000011.jpg",
    ]


def test_longest_ending_wins_over_the_same_name_elsewhere(build, ccneg):
    (ccneg / "ccneg_images" / "thumbnails").mkdir()
    (ccneg / "ccneg_images" / "thumbnails" / "000010.jpg").write_bytes(jpeg((0, 0, 0)))
    np.testing.assert_allclose(color(build().as_dataset(split="test")[0]["image"]), image_color(10), atol=3)


def test_same_name_elsewhere_is_no_stand_in(build, ccneg):
    (ccneg / "ccneg_images" / "thumbnails").mkdir()
    (ccneg / IMAGES / "000010.jpg").rename(ccneg / "ccneg_images" / "thumbnails" / "000010.jpg")
    with pytest.raises(CCNegError, match=r"Row 10: .*000010\.jpg"):
        build()
