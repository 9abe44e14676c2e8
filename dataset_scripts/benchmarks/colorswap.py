"""
ColorSwap (Burapacheep et al., 2024): two captions whose colour words are swapped, and an image of each.

Format: https://github.com/Top34051/colorswap, a list of {id, caption_1, caption_2, image_1, image_2, image_source,
caption_source}; the test split has 300 items. The scores are Winoground's.
"""

from collections.abc import Iterator
from pathlib import Path

from dataset_scripts.benchmarks.files import field, read_rows
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item

SOURCE = (
    "The download of https://github.com/Top34051/colorswap (also https://huggingface.co/datasets/Top34051/colorswap): "
    "test.json, and images.zip unpacked, so that colorswap/ holds test.json and the folder images."
)


def read_colorswap(data_dir: Path) -> Iterator[dict]:
    """
    Yield the items of `<data_dir>/colorswap/test.json`.

    Raises:
        UsageError: the file is missing or a row is damaged.
    """
    path = data_dir / "colorswap" / "test.json"
    for index, row in read_rows(path, SOURCE):
        images = [path.parent / field(row, name, str, path, index) for name in ("image_1", "image_2")]
        captions = [field(row, name, str, path, index) for name in ("caption_1", "caption_2")]
        yield item(field(row, "id", int, path, index), images, captions)


COLORSWAP = Benchmark(
    name="colorswap",
    title="ColorSwap",
    kind=Kind.TWO_BY_TWO,
    read=read_colorswap,
    source=SOURCE,
    split="test",
)
