"""
NegRefCOCOg (arXiv 2501.10913): which of two regions of a COCO train2014 image a phrase with a negation means.

One file, a list of {image, phrase, ref_bbox, bbox_list}, 440 rows; rows 211 and 212 are the same. Boxes are
(x, y, width, height) in pixels, and the official script crops (x, y, x + width, y + height) with PIL, unrounded. The
right box is the first in every row: an argmax that breaks ties by the first index scores ties as right.
"""

from collections.abc import Iterator
from pathlib import Path

from conclip.errors import UsageError
from dataset_scripts.benchmarks.files import COCO_TRAIN2014, corners, field, image_folder, read_rows
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item

SOURCE = (
    "The annotations: NegRefCOCOg/NegRefCOCOg.json of https://github.com/parkquasar/NegationCLIP, into negrefcocog. "
    "The images: http://images.cocodataset.org/zips/train2014.zip, unpacked into coco/train2014. "
    "`conclip fetch negrefcocog` downloads all."
)


def read_negrefcocog(data_dir: Path) -> Iterator[dict]:
    """
    Yield the items of `<data_dir>/negrefcocog/NegRefCOCOg.json`: the same image once for each box. Boxes are neither
    rounded nor clipped: PIL fills the part outside the image with black, as in the official script.

    Raises:
        UsageError: the file is missing or a row is damaged.
    """
    path = data_dir / "negrefcocog" / "NegRefCOCOg.json"
    images = image_folder(data_dir, *COCO_TRAIN2014)
    for index, row in read_rows(path, SOURCE):
        image = images / field(row, "image", str, path, index)
        phrase = field(row, "phrase", str, path, index)
        boxes = [corners(box, path, index) for box in field(row, "bbox_list", list, path, index)]
        right = corners(field(row, "ref_bbox", list, path, index), path, index)
        if boxes.count(right) != 1 or len(boxes) < 2:
            raise UsageError(
                f"{path}, row {index}: 'ref_bbox' occurs {boxes.count(right)} times among the {len(boxes)} "
                "boxes of 'bbox_list', which must hold it once, and others; correct it or download the file again."
            )
        yield item(index, [image] * len(boxes), [phrase], answer=boxes.index(right), boxes=boxes)


NEGREFCOCOG = Benchmark(
    name="negrefcocog",
    title="NegRefCOCOg",
    kind=Kind.IMAGES,
    read=read_negrefcocog,
    source=SOURCE,
    split="test",
)
