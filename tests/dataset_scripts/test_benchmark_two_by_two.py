"""Winoground from a folder and from the Hub, and sets in its layout; damaged rows are in test_benchmark_readers.py."""

import datasets
import pytest
from benchmark_files import WINOGROUND as ROWS
from benchmark_files import read, write
from ccneg_files import jpeg

from conclip.errors import UsageError
from dataset_scripts.benchmarks.schema import Kind
from dataset_scripts.benchmarks.two_by_two import WINOGROUND, two_by_two


def test_winoground_from_a_folder(tmp_path):
    write(tmp_path / "winoground" / "examples.jsonl", ROWS)
    items = read(WINOGROUND, tmp_path)
    images = tmp_path / "winoground" / "images"
    assert items[0] == {
        "id": "0",
        "category": "Object",
        "images": [str(images / "ex_0_img_0.png"), str(images / "ex_0_img_1.png")],
        "boxes": [],
        "captions": ["an old person kisses a young person", "a young person kisses an old person"],
        "answer": 0,
    }
    assert items[1]["images"] == [str(images / "left.jpg"), str(images / "ex_1_img_1.png")]
    assert items[1]["category"] == ""
    assert items[1]["captions"][0] == "the taller person\u2028hugs the shorter"


def test_winoground_from_the_hub_where_there_is_no_folder(tmp_path, monkeypatch):
    images = [{"bytes": jpeg((at, 0, 0)), "path": f"{at}.jpg"} for at in (0, 99)]
    hub = datasets.Dataset.from_list([ROWS[0] | {"image_0": images[0], "image_1": images[1]}])
    hub = hub.cast_column("image_0", datasets.Image()).cast_column("image_1", datasets.Image())
    data = {("facebook/winoground", "test"): lambda: hub}
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split: data[name, split]())
    [item] = read(WINOGROUND, tmp_path)
    assert item["images"] == [{"bytes": image["bytes"]} for image in images]
    assert (item["id"], item["category"]) == ("0", "Object")
    assert item["captions"] == ["an old person kisses a young person", "a young person kisses an old person"]
    hub = hub.remove_columns("caption_1")
    with pytest.raises(UsageError, match="facebook/winoground cannot be read.*caption_1.*accept its terms"):
        list(WINOGROUND.read(tmp_path))


def test_a_set_of_ones_own(tmp_path):
    write(tmp_path / "mine" / "examples.jsonl", ROWS[:1])
    benchmark = two_by_two("two_by_two:mine", "mine")
    assert (benchmark.name, benchmark.kind) == ("two_by_two:mine", Kind.TWO_BY_TWO)
    [item] = read(benchmark, tmp_path)
    assert item["images"][0] == str(tmp_path / "mine" / "images" / "ex_0_img_0.png")
    with pytest.raises(UsageError, match="elsewhere must hold examples.jsonl"):
        list(two_by_two("x", "elsewhere").read(tmp_path))


def test_winoground_without_folder_or_network_says_what_to_do(tmp_path):
    with pytest.raises(UsageError, match="accept its terms on https://huggingface.co/.*`hf auth login`.*examples"):
        list(WINOGROUND.read(tmp_path))
