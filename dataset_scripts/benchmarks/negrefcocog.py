"""
NegRefCOCOg (arXiv 2501.10913): a phrase with a negation, and which of two regions of a COCO train2014 image it means.

One file, a list of {image, phrase, ref_bbox, bbox_list}, 440 rows; rows 211 and 212 are the same. Boxes are
(x, y, width, height) in pixels, and the official script crops (x, y, x + width, y + height) with PIL, unrounded. The
right box is the first in every row: an argmax that breaks ties by the first index scores ties as right.
"""

import math
from collections.abc import Iterator
from pathlib import Path

from dataset_scripts.benchmarks.files import COCO_TRAIN2014, field, image_folder, read_rows
from dataset_scripts.benchmarks.schema import Benchmark, BenchmarkError, Kind, item

SOURCE = (
    "The annotations: NegRefCOCOg/NegRefCOCOg.json of https://github.com/parkquasar/NegationCLIP, into negrefcocog. "
    "The images: http://images.cocodataset.org/zips/train2014.zip, unpacked to coco/train2014."
)


def read_negrefcocog(data_dir: Path) -> Iterator[dict]:
    """
    Items of `<data_dir>/negrefcocog/NegRefCOCOg.json`: the same image once for each box. Boxes are passed on
    unrounded and unclipped: PIL fills what lies outside the picture with black, as it does in the official script.

    Raises:
        BenchmarkError: the file is missing or a row damaged.
    """
    path = data_dir / "negrefcocog" / "NegRefCOCOg.json"
    images = image_folder(data_dir, *COCO_TRAIN2014)
    for index, row in read_rows(path, SOURCE):
        image = images / field(row, "image", str, path, index)
        phrase = field(row, "phrase", str, path, index)
        boxes = [corners(box, path, index) for box in field(row, "bbox_list", list, path, index)]
        right = corners(field(row, "ref_bbox", list, path, index), path, index)
        if boxes.count(right) != 1 or len(boxes) < 2:
            raise BenchmarkError(
                f"{path}, row {index}: 'ref_bbox' is {boxes.count(right)} times among the {len(boxes)} boxes of "
                "'bbox_list', where it must be once beside others; correct it or fetch the file again."
            )
        yield item(index, [image] * len(boxes), [phrase], answer=boxes.index(right), boxes=boxes)


def corners(box: object, path: Path, index: object) -> tuple[float, float, float, float]:
    """(x, y, width, height) as (left, top, right, bottom); `BenchmarkError` for anything but a box with an area."""
    numbers = isinstance(box, list) and all(type(side) in (int, float) and math.isfinite(side) for side in box)
    if not numbers or len(box) != 4 or min(box[2:]) <= 0:
        raise BenchmarkError(
            f"{path}, row {index}: {box!r} is no box [x, y, width, height]; correct it or fetch the file again."
        )
    x, y, width, height = box
    return x, y, x + width, y + height


NEGREFCOCOG = Benchmark(
    name="negrefcocog",
    title="NegRefCOCOg",
    kind=Kind.IMAGES,
    read=read_negrefcocog,
    source=SOURCE,
    split="test",
)
