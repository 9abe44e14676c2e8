"""
CREPE, productivity (Ma et al., CVPR 2023): a region of a Visual Genome image, its caption, and five hard negatives.

Format and scoring are those of https://github.com/RAIVNLab/CREPE, `crepe_prod_eval_clip.py`: for each kind of negative
(atom, swap, negate) and each complexity from 4 to 12 a CSV file with the columns image_id, x, y, width, height,
caption and hard_negs (a Python list as text). The score is recall@1: the caption has to score above its negatives.
CREPE's systematicity is not here: its authors say that it is only for models pretrained on CC12M, YFCC15M or
LAION-400M.
"""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from conclip.errors import UsageError
from dataset_scripts.benchmarks.captions_retrieval import listed_captions
from dataset_scripts.benchmarks.files import VISUAL_GENOME_SOURCE, corners, field, read_csv, visual_genome_image
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item

COMPLEXITIES = range(4, 13)
SIDES = ("x", "y", "width", "height")
SOURCE = (
    "The annotations: the folder prod_hard_negatives of https://github.com/RAIVNLab/CREPE, into crepe; "
    f"{VISUAL_GENOME_SOURCE}."
)


def read_productivity(data_dir: Path, negatives: str) -> Iterator[dict]:
    """
    Yield the items of all complexities; ids such as "4/0" are the complexity and the row of its file.

    Args:
        negatives: the kind of hard negative: "atom", "swap" or "negate".

    Raises:
        UsageError: a file is missing or a row is damaged.
    """
    folder = data_dir / "crepe" / "prod_hard_negatives" / negatives
    for complexity in COMPLEXITIES:
        path = folder / f"prod_vg_hard_negs_{negatives}_complexity_{complexity}.csv"
        rows = read_csv(path, SOURCE, ["image_id", *SIDES, "caption", "hard_negs"])
        for index, row in enumerate(rows):
            image = visual_genome_image(data_dir, f"{field(row, 'image_id', str, path, index)}.jpg")
            false = listed_captions(field(row, "hard_negs", str, path, index), path, index)
            captions = [field(row, "caption", str, path, index), *false]
            box = corners([_number(row, side, path, index) for side in SIDES], path, index)
            yield item(f"{complexity}/{index}", [image], captions, category=f"complexity {complexity}", boxes=[box])


def _number(row: dict, name: str, path: Path, index: int) -> float:
    text = field(row, name, str, path, index)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{path}, row {index}: {name!r} is {text!r}; correct it or download the file again.")
    return number


CREPE = tuple(
    Benchmark(
        name=f"crepe-{negatives}",
        title=f"CREPE productivity, {negatives}",
        kind=Kind.CAPTIONS,
        read=partial(read_productivity, negatives=negatives),
        source=SOURCE,
        split="test",
        choice=True,
    )
    for negatives in ("atom", "swap", "negate")
)
