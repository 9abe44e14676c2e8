"""`conclip negate`, given what it cannot use: one sentence that says what and where."""

import json
import re

import pytest

pytest_plugins = ["negate_runs"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--caption_column", "text"), "--caption_column text: .* has no such column, only caption, labels"),
        (("--objects_column", "things"), "--objects_column things: .* has no such column"),
        (("--split", "all"), r"split 'all'"),
        (("--test_size", 60), "--test_size 60: the split has 60 rows in all"),
        (("--seeds", 1), r"unknown option --seeds, did you mean --seed\? \(--help lists the options\)"),
        (("--strategy", "noun"), "argument --strategy: invalid choice: 'noun'"),
        (("--num_proc", 0), "--num_proc must be 1 or more, got 0"),
        (("--image_dir", "images"), "--image_dir needs --image_column"),
        (("--tokenizer_name", "no/such"), "--tokenizer_name no/such: "),
    ],
)
def test_bad_options_are_told_in_a_sentence(negate, tmp_path, options, message):
    if options == ("--split", "all"):
        options = ("--split", "train", "nowhere[")
        message = "split 'nowhere"
    status, _, error = negate(*options)
    assert status in (1, 2)
    assert re.match(f"Error: .*{message}", error)
    assert not (tmp_path / "out" / "data").exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a dog", ""], r"split 'train', row 1 \(the first is row 0\): caption is empty"),
        (["a dog", "  "], "row 1 .*: caption is empty"),
        (["a dog", None], "row 1 .*: caption is empty"),
        ([["a dog"], []], "row 1 .*: caption is empty"),
        ([["a dog"], ["a cat", " "]], "row 1 .*: caption is empty"),
        ([1, 2], r"row 0 .*: caption holds 1, not a caption"),
        (["running", "very slowly"], "no negation could be made of any caption of the split 'train'"),
    ],
)
def test_bad_captions_are_named(negate, tmp_path, rows, message):
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join(json.dumps({"caption": row}) for row in rows))
    status, _, error = negate(dataset=path)
    assert status == 1
    assert re.search(f"^Error: .*{message}", error)


def test_an_image_in_two_splits_is_refused(negate, tmp_path):
    lines = "\n".join(f"{image},a dog on a bench" for image in (0, 1, 2, 2))
    (tmp_path / "data.csv").write_text(f"image,caption\n{lines}\n")
    status, _, error = negate("--image_id_column", "image", "--test_size", 1, dataset=tmp_path / "data.csv")
    assert status == 1 and "split 'train', row 2: another split has captions of its image too" in error


def test_folders_that_cannot_be_used(negate, tmp_path):
    (tmp_path / "file").write_text("x")
    status, _, error = negate(output=tmp_path / "file" / "out")
    assert status == 1 and error == (
        f"Error: --output_dir: cannot write to {tmp_path / 'file' / 'out'} (Not a directory): make it writable or "
        "choose another folder, then repeat the command."
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("my thesis")
    status, _, error = negate("--overwrite", output=tmp_path / "mine")
    assert status == 1 and "was not written by this command and is left alone" in error
    assert (tmp_path / "mine" / "README.md").read_text() == "my thesis"
    status, _, error = negate(dataset=tmp_path / "nowhere")
    assert status == 1 and "nowhere" in error
