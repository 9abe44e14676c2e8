"""Datasets by Hub id, folder or file: `conclip.data`, which every command uses."""

import json
import os

import pytest
from datasets import Dataset
from PIL import Image

from conclip.data import first_rows, image_files, load_split, require_columns, source_row, split_names, text_lists
from conclip.errors import UsageError

ROWS = [{"image": f"{number}.jpg", "caption": f"a dog, number {number}"} for number in range(5)]


def write_file(folder, suffix):
    path = folder / f"captions{suffix}"
    dataset = Dataset.from_list(ROWS)
    if suffix == ".parquet":
        dataset.to_parquet(path)
    elif suffix == ".csv":
        dataset.to_csv(path)
    elif suffix == ".json":
        path.write_text(json.dumps(ROWS))
    else:
        path.write_text("\n".join(map(json.dumps, ROWS)))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_a_file_is_the_split_that_is_asked_for(tmp_path, suffix):
    path = write_file(tmp_path, suffix)
    assert load_split(str(path)).to_list() == ROWS
    assert load_split(str(path), split="validation").to_list() == ROWS
    assert load_split(str(path), split="train[1:3]").to_list() == ROWS[1:3]
    assert first_rows(load_split(str(path)), 2).to_list() == ROWS[:2]
    assert len(first_rows(load_split(str(path)), 99)) == len(ROWS)
    assert split_names(str(path)) == ["train"]


def test_a_folder_of_images_with_captions(tmp_path):
    for row in ROWS:
        Image.new("RGB", (8, 8)).save(tmp_path / row["image"])
    lines = [{"file_name": row["image"], "caption": row["caption"]} for row in ROWS]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    dataset = load_split(str(tmp_path))
    assert dataset["caption"][:] == [row["caption"] for row in ROWS] and dataset[0]["image"].size == (8, 8)
    assert [path.name for path in image_files(tmp_path)] == [row["image"] for row in ROWS]
    assert image_files(tmp_path / "nowhere") == []


def test_what_is_no_image_file_is_not_listed(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "._a.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "nowhere.jpg").symlink_to("missing.jpg")
    assert [path.name for path in image_files(tmp_path)] == ["a.jpg", "nowhere.jpg"]
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).touch()
    with pytest.raises(UsageError, match=r"caf\\xe9.jpg' is not UTF-8: rename it."):
        image_files(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("captions.doc", "a dog", "captions.doc: a file has to end in .csv, .tsv, .json, .jsonl, .parquet, .txt."),
        ("captions.jsonl", "", "captions.jsonl: the file is empty; it needs a row for each caption."),
        ("captions.csv", "\n\n", "captions.csv: the file is empty; it needs a row for each caption."),
        ("captions.parquet", "no parquet", "captions.parquet, split 'train': "),
        ("captions.csv", "caption\n", "captions.csv: the split 'train' has no rows."),
        ("captions.json", "[]", "captions.json: the split 'train' has no rows."),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path, name, content, says):
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError) as error:
        load_split(str(tmp_path / name))
    assert says in str(error.value) and "\n" not in str(error.value) and str(error.value).startswith("--dataset_name ")


CELLS = [("1.jpg", "N/A"), ("2.jpg", "null"), ("3.jpg", "007"), ("4.jpg", "None"), ("5.jpg", "a café, open")]


def table(separator: str) -> str:
    lines = [f'{name}{separator}"{caption}"' for name, caption in CELLS]
    return "\r\n".join([f"image{separator}caption", *lines]) + "\r\n"


@pytest.mark.parametrize("as_folder", [False, True], ids=["file", "folder"])
@pytest.mark.parametrize(
    ("name", "separator", "encoding"),
    [
        ("data.csv", ",", "utf-8"),
        ("data.csv", ";", "utf-8-sig"),
        ("data.tsv", "\t", "utf-16"),
        ("data.csv", ";", "utf-16"),
    ],
)
def test_the_cells_of_csv_files_are_read_as_they_are(tmp_path, name, separator, encoding, as_folder):
    (tmp_path / name).write_bytes(table(separator).encode(encoding))
    dataset = load_split(str(tmp_path if as_folder else tmp_path / name))
    assert [(row["image"], row["caption"]) for row in dataset] == CELLS


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "a.csv",
            "caption\na dog\na café\n".encode("cp1252"),
            "a.csv, line 3: the byte 0xe9 is not UTF-8; convert it: ",
        ),
        ("a.csv", b"caption\n\xe9", "iconv -f cp1252 -t utf-8 a.csv > a-utf8.csv"),
        ("a.jsonl", '{"caption": "é"}'.encode("cp1252"), "a.jsonl, line 1: the byte 0xe9 is not UTF-8"),
        ("a.csv", "caption\na dog".encode("utf-16le"), "a.csv, line 1: a zero byte, as in UTF-16"),
        (
            "a.jsonl",
            '{"caption": "é"}'.encode("utf-16"),
            "a.jsonl is in utf-16: convert it: iconv -f utf-16 -t utf-8 a",
        ),
        ("a.csv", b"image,caption\n1.jpg,A dog, running\n", "the first row has 3 fields, but there are 2 columns"),
    ],
)
def test_a_text_file_that_could_only_be_guessed_is_refused(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    for dataset_name in (tmp_path / name, tmp_path):
        with pytest.raises(UsageError) as error:
            load_split(str(dataset_name))
        assert says in str(error.value) and "\n" not in str(error.value)


def test_a_split_without_rows(tmp_path):
    path = str(write_file(tmp_path, ".jsonl"))
    with pytest.raises(UsageError, match=r"the split 'train\[3:3\]' has no rows"):
        load_split(path, split="train[3:3]")


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(UsageError, match="--dataset_name .*nowhere: there is no such file or folder."):
        load_split(str(tmp_path / "nowhere"))


def test_the_splits_of_a_folder(tmp_path):
    for name in ("train", "validation"):
        write_file(tmp_path, ".jsonl").rename(tmp_path / f"{name}.jsonl")
    assert split_names(str(tmp_path)) == ["train", "validation"]
    with pytest.raises(UsageError, match="--dataset_name .*nowhere: "):
        split_names(str(tmp_path / "nowhere"))


def test_messages_count_the_rows_of_the_file(tmp_path):
    dataset = Dataset.from_dict({"caption": ["a", "b", "c", " "]}).select([3, 1])
    assert [source_row(dataset, row) for row in (0, 1)] == [3, 1]
    with pytest.raises(UsageError, match="Split 'train', row 3: caption holds ' '"):
        text_lists(dataset, "caption", "train")


def test_of_very_many_columns_some_are_named():
    dataset = Dataset.from_dict({f"{number}.jpg": ["a dog"] for number in range(6_000)})
    with pytest.raises(UsageError, match=r"only 0.jpg, 1.jpg, .*, 11.jpg and 5,988 more\.$"):
        require_columns(dataset, {"--caption_column": "caption"}, "train")


def test_numbers_in_csv_files_are_texts(tmp_path):
    (tmp_path / "a.csv").write_text("caption,n\n007,1\n12,\n")
    assert load_split(str(tmp_path / "a.csv")).to_list() == [{"caption": "007", "n": "1"}, {"caption": "12", "n": ""}]
