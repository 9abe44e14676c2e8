"""The folder ccneg/ that load_dataset reads, and how its writing ends."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from ccneg_files import (
    IMAGES,
    SPLITS,
    color,
    image_color,
    leftovers,
    run_python,
    truncate,
    write_ccneg,
)

from dataset_scripts import ccneg as ccneg_module
from dataset_scripts.ccneg import read_skipped
from dataset_scripts.ccneg_folder import main
from dataset_scripts.ccneg_source import ANNOTATION_ROW
from dataset_scripts.schema import FEATURES

REPOSITORY = Path(__file__).resolve().parents[2]


# Skipping broken images


def test_skipping_counts_and_lists(write, ccneg, coco, tmp_path):
    (ccneg / IMAGES / "000004.jpg").unlink()
    truncate(ccneg / IMAGES / "000011.jpg")
    truncate(coco / "train2017" / "000000000009.jpg")
    status, report, _ = write("--coco_dir", coco, "--skip_broken_images")
    assert status == 0
    assert "skipped: 4 rows, listed in skipped.jsonl" in report
    skipped = read_skipped(str(tmp_path / "ccneg"))
    assert [row["row"] for row in skipped] == [0, 4, 8, 11]
    assert skipped[1] == {"row": 4, "path": str(ccneg / IMAGES / "000004.jpg"), "reason": "is missing"}
    assert skipped[0]["path"] == str(coco / "train2017" / "000000000009.jpg")
    assert "cannot be decoded" in skipped[3]["reason"]
    for config in ("data/ccneg-", "annotations/"):
        captions = [pq.read_table(tmp_path / f"ccneg/{config}{split}.parquet")["caption"] for split in SPLITS]
        assert [int(text.as_py().split()[-1]) for text in captions[0]] == [1, 2, 3, 5, 6, 7, 9]
        assert [int(text.as_py().split()[-1]) for text in captions[1]] == [10]


def test_nothing_left_is_an_error(write, ccneg):
    for row in (10, 11):
        truncate(ccneg / IMAGES / f"{row:06}.jpg")
    status, _, error = write("--skip_broken_images")
    assert (status, "Every row of the test split was skipped" in error) == (1, True)


# The folder


def test_loads_by_name_without_code(write, coco, tmp_path):
    """In a fresh process, as a user does it: both configurations, streaming, columns; from the directory above."""
    assert write("--coco_dir", coco)[0] == 0
    program = """
        import json, sys
        from datasets import load_dataset, load_dataset_builder
        images, texts = load_dataset("ccneg"), load_dataset("ccneg", "annotations")
        streamed = list(load_dataset("ccneg", split="test", streaming=True))
        column = load_dataset("ccneg", split="test", columns=["caption"]).column_names
        print(json.dumps({
            "features": [repr(images["train"].features), repr(texts["train"].features)],
            "rows": [[len(images[split]), len(texts[split])] for split in ("train", "test")],
            "same": images["train"]["caption"][:] == texts["train"]["caption"][:],
            "paths": texts["test"]["image_file"][:],
            "pixel": images["train"][3]["image"].getpixel((0, 0)),
            "distractor": images["train"][3]["distractor_images"][0].getpixel((0, 0)),
            "streamed": [row["image"].getpixel((0, 0)) for row in streamed],
            "column": column,
            "code": [name for name in sys.modules if name.startswith("dataset_scripts")],
        }))
    """
    found = json.loads(run_python(program, cwd=tmp_path, HF_HOME=str(tmp_path / "hf")))
    assert found["features"] == [repr(FEATURES), repr(ANNOTATION_ROW)]
    assert found["rows"] == [[10, 10], [2, 2]]
    assert found["same"]
    assert found["paths"] == [f"{IMAGES}/000010.jpg", f"{IMAGES}/000011.jpg"]
    np.testing.assert_allclose(found["pixel"], image_color(3), atol=3)
    np.testing.assert_allclose(found["distractor"], 72, atol=3)
    np.testing.assert_allclose(found["streamed"], [image_color(10), image_color(11)], atol=3)
    assert found["column"] == ["caption"]
    assert found["code"] == []


def test_processes_and_shards_keep_the_order(tmp_path):
    rows = 250
    ccneg = write_ccneg(tmp_path / "source", rows)
    options = ["--num_proc", "2", "--max_shard_size", "20KB", "--test_size", "120"]
    assert main(["--data_dir", str(ccneg), "--output_dir", str(tmp_path / "ccneg"), *options]) == 0
    assert len(list((tmp_path / "ccneg" / "data").glob("ccneg-train-*-of-*.parquet"))) > 1
    dataset = datasets.load_dataset(str(tmp_path / "ccneg"), cache_dir=str(tmp_path / "cache"))
    captions = dataset["train"]["caption"][:] + dataset["test"]["caption"][:]
    assert captions == [f"a dog, with ball {row}" for row in range(rows)]
    assert len(dataset["test"]) == 120
    reds = [color(image)[0] for image in dataset["test"]["image"]]
    np.testing.assert_allclose(reds, [image_color(row)[0] for row in range(130, 250)], atol=3)


def test_broken_images_are_reported_by_other_processes(tmp_path, capsys):
    ccneg = write_ccneg(tmp_path / "source", 250)
    truncate(ccneg / IMAGES / "000120.jpg")
    command = ["--data_dir", str(ccneg), "--output_dir", str(tmp_path / "ccneg"), "--num_proc", "2"]
    assert main(command) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("Error: Row 120: the image ")
    assert leftovers(tmp_path) == []
    truncate(ccneg / IMAGES / "000003.jpg")
    assert main([*command, "--skip_broken_images"]) == 0
    assert [row["row"] for row in read_skipped(str(tmp_path / "ccneg"))] == [3, 120]


def test_annotations_only(write, ccneg, tmp_path):
    (ccneg / IMAGES / "000004.jpg").unlink()
    assert write("--annotations_only")[0] == 0
    dataset = datasets.load_dataset(str(tmp_path / "ccneg"), cache_dir=str(tmp_path / "cache"))
    assert dataset["train"].features == ANNOTATION_ROW
    assert dataset["train"]["image_file"][4] == f"{IMAGES}/000004.jpg"


def test_card_says_what_was_done(write, coco, tmp_path):
    write("--coco_dir", coco, "--num_distractors", 2, "--strip_commas")
    card = (tmp_path / "ccneg" / "README.md").read_text()
    assert "| train | 10 |\n| test | 2 |" in card
    assert "Distractor images per row: 2. Commas: stripped from the negated captions." in card
    assert "$" not in card
    assert set(re.findall(r"^\| (`.*?`) \|", card, re.M)) == {
        "`image`", "`caption`", "`negated_captions`", "`negation_kinds`", "`objects`", "`distractor_images`",
        "`true_negations`, `true_negation_foils`, `true_negation_kinds`", "`image_file`, `distractor_files`",
    }  # fmt: skip


def test_existing_folder_is_kept(write, tmp_path):
    write()
    (tmp_path / "ccneg" / "mine").touch()
    status, _, error = write()
    assert (status, "ccneg exists: choose another --output_dir" in error) == (1, True)
    assert (tmp_path / "ccneg" / "mine").exists()
    assert write("--overwrite")[0] == 0
    assert not (tmp_path / "ccneg" / "mine").exists()
    assert leftovers(tmp_path) == ["ccneg"]


def test_overwriting_spares_a_folder_of_the_users(write, tmp_path):
    (tmp_path / "ccneg").mkdir()
    (tmp_path / "ccneg" / "annotations").mkdir()
    (tmp_path / "ccneg" / "README.md").write_text("# My thesis")
    status, _, error = write("--overwrite")
    assert (status, "was not written by this command" in error) == (1, True)
    assert (tmp_path / "ccneg" / "README.md").read_text() == "# My thesis"


def test_failed_overwrite_keeps_the_old_folder(write, ccneg, tmp_path):
    write()
    before = (tmp_path / "ccneg" / "data" / "ccneg-train.parquet").read_bytes()
    truncate(ccneg / IMAGES / "000011.jpg")
    assert write("--overwrite")[0] == 1
    assert (tmp_path / "ccneg" / "data" / "ccneg-train.parquet").read_bytes() == before
    assert leftovers(tmp_path) == ["ccneg"]


@pytest.mark.parametrize(
    "interrupt, expected, says",
    [
        (KeyboardInterrupt(), 130, "Interrupted. The output folder was not changed; the same command starts again."),
        (
            OSError(28, "full"),
            1,
            r"Error: cannot write to .* \(No space left on device, .* free\): make room, then .*",
        ),
    ],
)
def test_interrupted_leaves_nothing_and_runs_again(write, tmp_path, monkeypatch, interrupt, expected, says):
    read = ccneg_module.read_image

    def stop_at_row_7(path, decodable):
        if path.endswith("000007.jpg"):
            raise interrupt
        return read(path, decodable)

    monkeypatch.setattr(ccneg_module, "read_image", stop_at_row_7)
    status, _, error = write()
    assert status == expected
    assert "Traceback" not in error and re.fullmatch(says, error.strip().splitlines()[-1])
    assert leftovers(tmp_path) == []
    monkeypatch.undo()
    assert write()[0] == 0


def test_terminated_process_tidies_up(tmp_path):
    """A scheduler's SIGTERM in the middle of writing: the process waits at a pipe, where an image should be."""
    ccneg = write_ccneg(tmp_path / "source")
    (ccneg / IMAGES / "000007.jpg").unlink()
    os.mkfifo(ccneg / IMAGES / "000007.jpg")
    command = [sys.executable, "-m", "conclip", "ccneg", "--data_dir", ccneg, "--skip_broken_images"]
    process = subprocess.Popen([*command, "--output_dir", tmp_path / "ccneg"], cwd=REPOSITORY)
    try:
        while not list(tmp_path.glob("ccneg.tmp-*/.work/data.incomplete/*.parquet")):
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        assert process.wait(timeout=20) == 143
    finally:
        process.kill()
    assert leftovers(tmp_path) == []


def test_disk_too_small_is_reported_before_anything_is_read(write, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000, "total": 9000}))
    monkeypatch.setattr(ccneg_module, "read_image", None)
    status, _, error = write()
    assert status == 1
    assert re.search(r"Error: cannot write to .* \(No space left on device, 1\.0 kB free, [\d.]+ kB needed\)", error)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("size", ["many", "5 apples"])
def test_a_shard_size_that_is_none_is_refused(write, tmp_path, size):
    status, _, error = write("--max_shard_size", size)
    assert (status, f"--max_shard_size must be a size such as 500MB, got '{size}'." in error) == (1, True)
    assert leftovers(tmp_path) == []
