"""Datasets by Hub id, folder or file: `conclip.data`, which every command uses."""

import json

import pytest
from datasets import Dataset
from PIL import Image

from conclip.data import image_files, load_split
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
    assert load_split(str(path), max_samples=2).to_list() == ROWS[:2]
    assert len(load_split(str(path), max_samples=99)) == len(ROWS)


def test_a_folder_of_images_with_captions(tmp_path):
    for row in ROWS:
        Image.new("RGB", (8, 8)).save(tmp_path / row["image"])
    lines = [{"file_name": row["image"], "caption": row["caption"]} for row in ROWS]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    dataset = load_split(str(tmp_path))
    assert dataset["caption"][:] == [row["caption"] for row in ROWS] and dataset[0]["image"].size == (8, 8)
    assert [path.name for path in image_files(tmp_path)] == [row["image"] for row in ROWS]
    assert image_files(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("captions.txt", "a dog", "captions.txt: a file has to end in .csv, .json, .jsonl, .parquet."),
        ("captions.jsonl", "", "captions.jsonl, split 'train': "),
        ("captions.parquet", "no parquet", "captions.parquet, split 'train': "),
        ("captions.csv", "caption\n", "captions.csv, split 'train': "),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path, name, content, says):
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError) as error:
        load_split(str(tmp_path / name))
    assert says in str(error.value) and "\n" not in str(error.value) and str(error.value).startswith("--dataset_name ")


def test_a_split_without_rows(tmp_path):
    path = str(write_file(tmp_path, ".jsonl"))
    with pytest.raises(UsageError, match=r"split 'train\[3:3\]': .*no data"):
        load_split(path, split="train[3:3]")


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(UsageError, match="--dataset_name .*nowhere, split 'train': "):
        load_split(str(tmp_path / "nowhere"))
