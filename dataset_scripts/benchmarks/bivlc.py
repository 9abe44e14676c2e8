"""
BiVLC (Miranda et al., NeurIPS 2024): SugarCrepe's captions of COCO val2017 images, with a generated image of each
false caption.

On the Hub as `imirandam/BiVLC`, 2,933 rows {image, caption, negative_caption, negative_image, type, subtype}. Format
and scoring are those of https://github.com/IMirandaM/BiVLC, `main_evaluation_BiVLC.py`: its I2T, T2I and group score
are Winoground's text, image and group score, over all items and by `type` (replace, swap, add).
"""

from collections.abc import Iterator
from pathlib import Path

from dataset_scripts.benchmarks.files import dataset_rows, encoded_image, field
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item

HUB_ID = "imirandam/BiVLC"
SOURCE = f"The Hub has it, https://huggingface.co/datasets/{HUB_ID}; or put its Parquet files into bivlc."
IMAGES = ("image", "negative_image")
CAPTIONS = ("caption", "negative_caption")


def read_bivlc(data_dir: Path) -> Iterator[dict]:
    """
    Yield the items of the folder `<data_dir>/bivlc`; if there is none, of the Hub; with encoded images, numbered as
    the rows, from 0.

    Raises:
        UsageError: the Hub cannot be reached, a file is missing, or a row is damaged.
    """
    folder = data_dir / "bivlc"
    name = str(folder) if folder.is_dir() else HUB_ID
    for index, row in dataset_rows(name, SOURCE, [*IMAGES, *CAPTIONS, "type"], IMAGES, {"split": "test"}):
        images = [encoded_image(row, column, name, index) for column in IMAGES]
        captions = [field(row, column, str, name, index) for column in CAPTIONS]
        yield item(index, images, captions, category=field(row, "type", str, name, index))


BIVLC = Benchmark(
    name="bivlc",
    title="BiVLC",
    kind=Kind.TWO_BY_TWO,
    read=read_bivlc,
    source=SOURCE,
    split="test",
)
