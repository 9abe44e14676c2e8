"""
SugarCrepe and SugarCrepe++: an image of COCO val2017, captions that are true of it, and one that is not.

SugarCrepe (arXiv 2306.14610, MIT): 7,511 items in seven files, each a dict of key -> {filename, caption,
negative_caption}. The keys have a gap: "swap_obj" has no "108" and ends with "245".

SugarCrepe++ (arXiv 2406.11171, CC BY 4.0): 4,757 items in five files, each a list of {id, filename, caption, caption2,
negative_caption}. In items 2 and 8 of "swap_obj" the negative caption is the caption again, which is a tie for every
model; in item 14 of "replace_att" both true captions are the same.
"""

from collections.abc import Iterator
from pathlib import Path

from dataset_scripts.benchmarks.files import COCO_VAL2017, field, image_folder, read_rows
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item

REPLACE = ("replace_att", "replace_obj", "replace_rel")
SWAP = ("swap_att", "swap_obj")
ADD = ("add_att", "add_obj")

IMAGES = "The images: http://images.cocodataset.org/zips/val2017.zip, unpacked into coco/val2017."
SOURCE = (
    "The seven annotation files: folder data of https://github.com/RAIVNLab/sugar-crepe, into sugarcrepe. "
    f"{IMAGES} `conclip fetch sugarcrepe` downloads all."
)
SOURCE_PP = (
    "The five annotation files: folder data of https://github.com/Sri-Harsha/scpp, into sugarcrepe_pp. "
    f"{IMAGES} `conclip fetch sugarcrepe-pp` downloads all."
)


def read_sugarcrepe(data_dir: Path) -> Iterator[dict]:
    """
    Yield the items of `<data_dir>/sugarcrepe/<sub-category>.json`; ids such as "add_att/0" are file and key.

    Raises:
        UsageError: a file is missing or a row is damaged.
    """
    images = image_folder(data_dir, *COCO_VAL2017)
    for category in ADD + REPLACE + SWAP:
        path = data_dir / "sugarcrepe" / f"{category}.json"
        for key, row in read_rows(path, SOURCE):
            image = images / field(row, "filename", str, path, key)
            captions = [field(row, name, str, path, key) for name in ("caption", "negative_caption")]
            yield item(f"{category}/{key}", [image], captions, category=category)


def read_sugarcrepe_pp(data_dir: Path) -> Iterator[dict]:
    """
    Yield the items of `<data_dir>/sugarcrepe_pp/<sub-category>.json`; ids such as "swap_obj/0" are file and `id`.

    Raises:
        UsageError: a file is missing or a row is damaged.
    """
    images = image_folder(data_dir, *COCO_VAL2017)
    for category in REPLACE + SWAP:
        path = data_dir / "sugarcrepe_pp" / f"{category}.json"
        for index, row in read_rows(path, SOURCE_PP):
            number = field(row, "id", int, path, index)
            image = images / field(row, "filename", str, path, index)
            captions = [field(row, name, str, path, index) for name in ("caption", "caption2", "negative_caption")]
            yield item(f"{category}/{number}", [image], captions, category=category)


SUGARCREPE = Benchmark(
    name="sugarcrepe",
    title="SugarCrepe",
    kind=Kind.CAPTIONS,
    read=read_sugarcrepe,
    source=SOURCE,
    split="test",
    groups={"add": ADD, "replace": REPLACE, "swap": SWAP},
)

SUGARCREPE_PP = Benchmark(
    name="sugarcrepe-pp",
    title="SugarCrepe++",
    kind=Kind.TWO_TRUE,
    read=read_sugarcrepe_pp,
    source=SOURCE_PP,
    split="test",
    groups={"replace": REPLACE, "swap": SWAP},
)
