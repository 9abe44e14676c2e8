"""Broken or hostile CC-Neg files: one sentence, and nothing written."""

import os
import re
from pathlib import Path

import PIL.Image
import pytest
import torch
from ccneg_files import IMAGES, PREFIX, annotation, annotations, jpeg, leftovers, mapping, truncate

from dataset_scripts.ccneg import CCNeg
from dataset_scripts.ccneg_folder import main
from dataset_scripts.ccneg_source import CCNegError

REPOSITORY = Path(__file__).resolve().parents[2]


def escape_by_dots(ccneg):
    data = annotations(12)
    data["image_paths"][4] = f"{PREFIX}../../etc/000004.jpg"
    torch.save(data, ccneg / "ccneg_preprocessed.pt")


def escape_by_file_link(ccneg):
    outside = ccneg.parent / "outside.jpg"
    outside.write_bytes(jpeg((1, 2, 3)))
    (ccneg / IMAGES / "000004.jpg").unlink()
    (ccneg / IMAGES / "000004.jpg").symlink_to(outside)


def escape_by_folder_link(ccneg):
    (ccneg / "ccneg_images").rename(ccneg.parent / "moved")
    (ccneg / "ccneg_images").symlink_to(ccneg.parent / "moved")


def absolute_path_elsewhere(ccneg):
    outside = ccneg.parent / "outside.jpg"
    outside.write_bytes(jpeg((1, 2, 3)))
    data = annotations(12)
    data["image_paths"][4] = str(outside)
    torch.save(data, ccneg / "ccneg_preprocessed.pt")


# Bad input: what is broken, and what the one sentence must hold


def change(**changes):
    def apply(ccneg):
        torch.save({**annotations(12), **changes}, ccneg / "ccneg_preprocessed.pt")

    return apply


def change_row(row, **changes):
    rows = annotations(12)["annotations"]
    rows[row] = {**annotation(row), **changes}
    return change(annotations=rows)


def truncate_in_the_pixels(ccneg):
    """The header is whole, so the file opens and only decoding it shows the fault."""
    path = ccneg / IMAGES / "000011.jpg"
    PIL.Image.effect_noise((64, 64), 50).save(path)
    truncate(path, 0.9)
    assert PIL.Image.open(path).size == (64, 64)


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("executed",)


BAD_SOURCES = {
    "no annotations": (lambda ccneg: (ccneg / "ccneg_preprocessed.pt").unlink(), "no ccneg_preprocessed.pt in"),
    "truncated annotations": (lambda ccneg: truncate(ccneg / "ccneg_preprocessed.pt"), "cut short"),
    "other keys": (lambda ccneg: torch.save({"labels": []}, ccneg / "ccneg_preprocessed.pt"), r"holds \['labels'\]"),
    "no lists": (change(annotations={}), r"holds \['annotations', 'image_paths', 'num_ops'\]"),
    "no dict": (lambda ccneg: torch.save([1], ccneg / "ccneg_preprocessed.pt"), "holds list"),
    "code": (lambda ccneg: torch.save(Malicious(), ccneg / "ccneg_preprocessed.pt"), "was refused"),
    "lengths": (change(image_paths=["a.jpg"]), "1 image paths for 12 annotations"),
    "no caption": (change_row(3, json={}), r"Row 3 of .*: the caption is missing"),
    "empty caption": (change_row(3, json={"caption": " "}), r"Row 3 of .*: the caption is empty"),
    "no negation": (change_row(5, sop_data={}), r"Row 5 of .*: the negated caption .* is missing"),
    "no row": (change(annotations=[None] * 12), r"Row 0 of .*: the caption is missing"),
    "short mapping": (
        lambda ccneg: torch.save(mapping(11), ccneg / "distractor_image_mapping.pt"),
        "each of the 12 annotations; it has 11",
    ),
    "no mapping": (lambda ccneg: (ccneg / "distractor_image_mapping.pt").unlink(), "no distractor_image_mapping.pt"),
    "index outside COCO": (
        lambda ccneg: torch.save([[4]] * 12, ccneg / "distractor_image_mapping.pt"),
        r"Row 0 of .*COCO image \[4\].* lists 4 images",
    ),
    "negative index": (
        lambda ccneg: torch.save([[-1]] * 12, ccneg / "distractor_image_mapping.pt"),
        r"Row 0 of .*COCO image \[-1\]",
    ),
    "few distractors": (
        lambda ccneg: torch.save([[]] * 12, ccneg / "distractor_image_mapping.pt"),
        r"Row 0 of .*num_distractors=1",
    ),
    "missing image": (
        lambda ccneg: (ccneg / IMAGES / "000004.jpg").unlink(),
        r"Row 4: there is no .*000004\.jpg \(1 ",
    ),
    "truncated image": (truncate_in_the_pixels, r"Row 11: .*000011\.jpg cannot be decoded"),
    "empty image": (lambda ccneg: (ccneg / IMAGES / "000011.jpg").write_bytes(b""), r"Row 11: .*000011\.jpg is empty"),
    "dots": (escape_by_dots, r"Row 4: .*has '\.\.'"),
    "file link": (escape_by_file_link, r"000004\.jpg is a link that leads out of"),
    "folder link": (escape_by_folder_link, r"ccneg_images is a link that leads out of"),
    "absolute path": (absolute_path_elsewhere, r"Row 4: there is no .*ccneg_images/outside\.jpg"),
}


@pytest.mark.parametrize("name", BAD_SOURCES)
def test_bad_source_is_one_sentence_and_leaves_nothing(write, ccneg, coco, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    breaks, message = BAD_SOURCES[name]
    breaks(ccneg)
    status, _, error = write("--coco_dir", coco)
    last = error.strip().splitlines()[-1]
    assert status == 1
    assert re.fullmatch(f"Error: .*{message}.*", last)
    assert "Traceback" not in error
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "executed").exists()


BAD_COCO = {
    "no captions file": (lambda coco: (coco / "annotations" / "captions_train2017.json").unlink(), "coco_dir must be"),
    "cut captions file": (lambda coco: truncate(coco / "annotations" / "captions_train2017.json"), "is cut short"),
    "missing image": (
        lambda coco: (coco / "train2017" / "000000000025.jpg").unlink(),
        r"Row 1: there is no .*0025\.jpg \(3 ",
    ),
    "broken image": (lambda coco: truncate(coco / "train2017" / "000000000025.jpg"), r"Row 1: .*0025\.jpg cannot"),
}


@pytest.mark.parametrize("name", BAD_COCO)
def test_bad_coco_is_one_sentence(write, coco, tmp_path, name):
    breaks, message = BAD_COCO[name]
    breaks(coco)
    status, _, error = write("--coco_dir", coco)
    assert status == 1
    assert re.fullmatch(f"Error: .*{message}.*", error.strip().splitlines()[-1])
    assert leftovers(tmp_path) == []


def test_wrong_data_dir(tmp_path, capsys):
    assert main(["--data_dir", str(tmp_path / "nowhere"), "--output_dir", str(tmp_path / "ccneg")]) == 1
    assert re.fullmatch(
        r"Error: data_dir must be the folder .*nowhere is not a folder\.", capsys.readouterr().err.strip()
    )


def test_no_data_dir_from_python(tmp_path):
    with pytest.raises(CCNegError, match="data_dir must be the folder"):
        CCNeg(cache_dir=str(tmp_path)).download_and_prepare()


def test_zero_distractors(write, build):
    status, _, error = write("--num_distractors", 0)
    assert (status, error) == (1, "Error: --num_distractors must be 1 or more, got 0.\n")
    with pytest.raises(CCNegError, match="num_distractors must be at least 1"):
        build("annotations", num_distractors=0)
