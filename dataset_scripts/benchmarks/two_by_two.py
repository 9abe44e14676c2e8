"""
Winoground, and any other folder in its layout: items of two images and two captions.

Winoground (arXiv 2204.03162): 400 items, gated on the Hub; research use only. A folder in its layout holds

    examples.jsonl      {"id", "image_0", "image_1", "caption_0", "caption_1", "collapsed_tag", …} on each line
    images/             <image_0>.png; a name that has a suffix is not changed

`collapsed_tag` ("Object", "Relation", "Both" in Winoground) is the category and may be absent.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from dataset_scripts.benchmarks.files import dataset_rows, encoded_image, field, read_rows
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item

HUB_ID = "facebook/winoground"
SOURCE = (
    f"Winoground is gated: accept its terms on https://huggingface.co/datasets/{HUB_ID} and run `hf auth login`; or "
    "put examples.jsonl and the folder images into winoground."
)
IMAGES = ("image_0", "image_1")
CAPTIONS = ("caption_0", "caption_1")


def read_folder(data_dir: Path, folder: str, source: str) -> Iterator[dict]:
    """
    Yield the items of `<data_dir>/<folder>/examples.jsonl`.

    Raises:
        UsageError: the file is missing or a row is damaged.
    """
    path = data_dir / folder / "examples.jsonl"
    for index, row in read_rows(path, source):
        names = [Path(field(row, name, str, path, index)) for name in IMAGES]
        images = [path.parent / "images" / (name if name.suffix else f"{name}.png") for name in names]
        yield _item(row, images, path, index)


def read_winoground(data_dir: Path) -> Iterator[dict]:
    """
    Yield the items of the folder `<data_dir>/winoground`; if there is none, of the Hub, with encoded images.

    Raises:
        UsageError: the Hub cannot be reached or refuses, a file is missing, or a row is damaged.
    """
    if (data_dir / "winoground").is_dir():
        yield from read_folder(data_dir, "winoground", SOURCE)
        return
    columns = ["id", *IMAGES, *CAPTIONS, "collapsed_tag"]
    for index, row in dataset_rows(HUB_ID, SOURCE, columns, IMAGES, {"split": "test"}):
        yield _item(row, [encoded_image(row, name, HUB_ID, index) for name in IMAGES], HUB_ID, index)


def _item(row: dict, images: list, path: Path | str, index: int) -> dict:
    captions = [field(row, name, str, path, index) for name in CAPTIONS]
    category = field(row, "collapsed_tag", str, path, index) if row.get("collapsed_tag") else ""
    return item(field(row, "id", (int, str), path, index), images, captions, category=category)


def two_by_two(name: str, folder: str) -> Benchmark:
    """
    Return a benchmark of a folder in Winoground's layout.

    Args:
        name: the name in commands and tables.
        folder: the folder with `examples.jsonl` and `images`, absolute or below `--data_dir`.
    """
    source = f"{folder} must hold examples.jsonl and the folder images, as Winoground does."
    return Benchmark(
        name=name,
        title=name,
        kind=Kind.TWO_BY_TWO,
        read=partial(read_folder, folder=folder, source=source),
        source=source,
        split="test",
    )


WINOGROUND = Benchmark(
    name="winoground",
    title="Winoground",
    kind=Kind.TWO_BY_TWO,
    read=read_winoground,
    source=SOURCE,
    split="test",
)
