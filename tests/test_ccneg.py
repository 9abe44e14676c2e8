import json
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
import torch
from ccneg_files import IMAGES, PREFIX, annotation, annotations, image_color, jpeg, mapping, write_ccneg, write_coco

from dataset_scripts import ccneg as ccneg_module
from dataset_scripts.ccneg import CCNeg, read_skipped
from dataset_scripts.ccneg_folder import main
from dataset_scripts.ccneg_source import ANNOTATION_ROW, CCNegError, choose_test_size
from dataset_scripts.schema import FEATURES

REPOSITORY = Path(__file__).resolve().parents[1]
SPLITS = ("train", "test")


@pytest.fixture
def ccneg(tmp_path):
    return write_ccneg(tmp_path / "source")


@pytest.fixture
def coco(tmp_path):
    return write_coco(tmp_path / "coco")


@pytest.fixture
def build(tmp_path, ccneg):
    def build_(config_name="default", **options):
        builder = CCNeg(config_name=config_name, data_dir=str(ccneg), cache_dir=str(tmp_path / "cache"), **options)
        builder.download_and_prepare()
        return builder

    return build_


@pytest.fixture
def write(tmp_path, ccneg, capsys):
    """Runs the command line into `tmp_path/ccneg`: exit status, standard output, standard error."""

    def write_(*options):
        status = main(["--data_dir", str(ccneg), "--output_dir", str(tmp_path / "ccneg"), *map(str, options)])
        return status, *capsys.readouterr()

    return write_


def color(image):
    """Mean colour; a JPEG of one colour is off by a few units."""
    return np.asarray(image.convert("RGB"), dtype=float).mean(axis=(0, 1))


def run_python(program, cwd, **environment):
    """Standard output of a program in a process of its own, without network and without this repository's code."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **environment}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def leftovers(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("ccneg"))


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


def truncate(path, keep=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


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
    assert re.fullmatch(f"error: .*{message}.*", last)
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
    assert re.fullmatch(f"error: .*{message}.*", error.strip().splitlines()[-1])
    assert leftovers(tmp_path) == []


def test_wrong_data_dir(tmp_path, capsys):
    assert main(["--data_dir", str(tmp_path / "nowhere"), "--output_dir", str(tmp_path / "ccneg")]) == 1
    assert re.fullmatch(
        r"error: data_dir must be the folder .*nowhere is no folder\.", capsys.readouterr().err.strip()
    )


def test_no_data_dir_from_python(tmp_path):
    with pytest.raises(CCNegError, match="data_dir must be the folder"):
        CCNeg(cache_dir=str(tmp_path)).download_and_prepare()


def test_zero_distractors(write):
    status, _, error = write("--num_distractors", 0)
    assert (status, "num_distractors must be at least 1" in error) == (1, True)


# Leaving broken images out


def test_skipping_counts_and_lists(write, ccneg, coco, tmp_path):
    (ccneg / IMAGES / "000004.jpg").unlink()
    truncate(ccneg / IMAGES / "000011.jpg")
    truncate(coco / "train2017" / "000000000009.jpg")
    status, report, _ = write("--coco_dir", coco, "--skip_broken_images")
    assert status == 0
    assert "left out: 4 rows, listed in skipped.jsonl" in report
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
    assert (status, "Every row of the test split was left out" in error) == (1, True)


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


def test_broken_images_are_told_from_processes_of_their_own(tmp_path, capsys):
    ccneg = write_ccneg(tmp_path / "source", 250)
    truncate(ccneg / IMAGES / "000120.jpg")
    command = ["--data_dir", str(ccneg), "--output_dir", str(tmp_path / "ccneg"), "--num_proc", "2"]
    assert main(command) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("error: Row 120: the image ")
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
    assert "Distractor images a row: 2. Commas: stripped from the negated captions." in card
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
    assert write("--overwrite_output_dir")[0] == 0
    assert not (tmp_path / "ccneg" / "mine").exists()
    assert leftovers(tmp_path) == ["ccneg"]


def test_overwriting_spares_a_folder_of_the_users(write, tmp_path):
    (tmp_path / "ccneg").mkdir()
    (tmp_path / "ccneg" / "annotations").mkdir()
    (tmp_path / "ccneg" / "README.md").write_text("# My thesis")
    status, _, error = write("--overwrite_output_dir")
    assert (status, "was not written by this command" in error) == (1, True)
    assert (tmp_path / "ccneg" / "README.md").read_text() == "# My thesis"


def test_failed_overwrite_keeps_the_old_folder(write, ccneg, tmp_path):
    write()
    before = (tmp_path / "ccneg" / "data" / "ccneg-train.parquet").read_bytes()
    truncate(ccneg / IMAGES / "000011.jpg")
    assert write("--overwrite_output_dir")[0] == 1
    assert (tmp_path / "ccneg" / "data" / "ccneg-train.parquet").read_bytes() == before
    assert leftovers(tmp_path) == ["ccneg"]


@pytest.mark.parametrize("interrupt, expected", [(KeyboardInterrupt(), 130), (OSError(28, "No space left"), 1)])
def test_interrupted_leaves_nothing_and_runs_again(write, tmp_path, monkeypatch, interrupt, expected):
    read = ccneg_module.read_image

    def stop_at_row_7(path, decodable):
        if path.endswith("000007.jpg"):
            raise interrupt
        return read(path, decodable)

    monkeypatch.setattr(ccneg_module, "read_image", stop_at_row_7)
    status, _, error = write()
    assert status == expected
    assert "Traceback" not in error and error.strip().splitlines()[-1].startswith("error: ")
    assert leftovers(tmp_path) == []
    monkeypatch.undo()
    assert write()[0] == 0


def test_terminated_process_tidies_up(tmp_path):
    """A scheduler's SIGTERM in the middle of writing: the process waits at a pipe, where an image should be."""
    ccneg = write_ccneg(tmp_path / "source")
    (ccneg / IMAGES / "000007.jpg").unlink()
    os.mkfifo(ccneg / IMAGES / "000007.jpg")
    command = [sys.executable, "-m", "dataset_scripts.ccneg", "--data_dir", ccneg, "--skip_broken_images"]
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


def test_disk_too_small_is_told_before_anything_is_read(write, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    monkeypatch.setattr(ccneg_module, "read_image", None)
    status, _, error = write()
    assert status == 1
    assert re.search(r"error: The images need about 0\.0 GB and .* has 0\.0 GB free", error)
    assert leftovers(tmp_path) == []


# Slow


@pytest.mark.slow
def test_datasets_3_6_runs_the_script(build, write, ccneg, coco, tmp_path):
    """The script, copied as 3.6 copies it, gives the rows that this version gives; and so does the written folder."""
    old = tmp_path / "old"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", old, "datasets==3.6.0"], check=True
    )
    assert write("--coco_dir", coco)[0] == 0
    program = f"""
        import json
        import datasets
        options = dict(data_dir={str(ccneg)!r}, coco_dir={str(coco)!r}, trust_remote_code=True)
        found = {{"version": datasets.__version__}}
        for name in ("default", "annotations"):
            script = datasets.load_dataset({str(REPOSITORY / "dataset_scripts" / "ccneg.py")!r}, name, **options)
            folder = datasets.load_dataset("ccneg", name)
            for source, splits in (("script", script), ("folder", folder)):
                tables = [split.with_format("arrow")[:] for split in splits.values()]
                found[source + name] = [row for table in tables for row in table.to_pylist()]
        print(json.dumps(found, default=bytes.hex))
    """
    home = {"HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": str(old)}
    found = json.loads(run_python(program, cwd=tmp_path, **home).splitlines()[-1])
    assert found["version"] == "3.6.0"
    for name in ("default", "annotations"):
        splits = build(name, coco_dir=str(coco)).as_dataset().values()
        rows = [row for split in splits for row in split.with_format("arrow")[:].to_pylist()]
        expected = json.loads(json.dumps(rows, default=bytes.hex))
        assert len(expected) == 12
        assert found["script" + name] == expected
        assert found["folder" + name] == expected


@pytest.mark.slow
def test_annotations_of_full_size_take_under_a_minute_and_3_gb(tmp_path):
    """228,246 rows with the keys of the real file, 118,287 COCO names, through the command line."""
    rows, coco_images = 228_246, 118_287
    data = annotations(rows)
    for row, entry in enumerate(data["annotations"]):
        entry["json"] |= {"url": f"https://example.org/images/{row:09}.jpg", "key": f"{row:09}", "width": 640}
    torch.save(data, tmp_path / "ccneg_preprocessed.pt")
    torch.save([[row % coco_images, 1, 2] for row in range(rows)], tmp_path / "distractor_image_mapping.pt")
    (tmp_path / "annotations").mkdir()
    images = [{"id": number, "file_name": f"{number:012}.jpg"} for number in range(coco_images)]
    (tmp_path / "annotations" / "captions_train2017.json").write_text(json.dumps({"images": images}))
    del data, images
    program = f"""
        import resource
        from dataset_scripts.ccneg_folder import main
        folders = ["--data_dir", {str(tmp_path)!r}, "--coco_dir", {str(tmp_path)!r}]
        assert main([*folders, "--output_dir", {str(tmp_path / "ccneg")!r}, "--annotations_only"]) == 0
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    started = time.perf_counter()
    peak_kib = int(run_python(program, cwd=REPOSITORY).splitlines()[-1])
    seconds = time.perf_counter() - started
    print(f"{rows:,} rows: {seconds:.1f} s, peak {peak_kib / 1e6:.2f} GB")
    dataset = datasets.load_dataset(str(tmp_path / "ccneg"), cache_dir=str(tmp_path / "cache"))
    assert (len(dataset["train"]), len(dataset["test"])) == (188_246, 40_000)
    assert dataset["test"][0]["caption"] == "a dog, with ball 188246"
    assert seconds < 60
    assert peak_kib * 1024 < 3e9
