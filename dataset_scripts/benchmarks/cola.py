"""
Cola, multi-object matching (Ray et al., NeurIPS 2023): two captions with the same objects and other attributes, and an
image of each.

Format and scoring are those of https://github.com/arijitray1993/COLA: a list of [address of image 1, caption 1,
address of image 2, caption 2] on images of Visual Genome. The published accuracy (`ColaMultiObjAcc` of
`scripts/eval.py`) is Winoground's image score: each caption has to score higher with its own image than with the other
one. Cola's retrieval of single objects, a mean average precision over hard images, is not here.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from conclip.errors import UsageError
from dataset_scripts.benchmarks.files import VISUAL_GENOME_SOURCE, read_rows, texts, visual_genome_image
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item

SOURCE = (
    "The annotations: data/COLA_multiobjects_matching_benchmark.json of https://github.com/arijitray1993/COLA, into "
    f"cola; the images at its addresses go into cola/images/, or {VISUAL_GENOME_SOURCE}."
)


def read_cola(data_dir: Path) -> Iterator[dict]:
    """
    Yield the items, numbered as the rows of the file, from 0.

    Raises:
        UsageError: the file is missing or a row is damaged.
    """
    path, own = data_dir / "cola" / "COLA_multiobjects_matching_benchmark.json", data_dir / "cola" / "images"
    for index, row in read_rows(path, SOURCE):
        if not isinstance(row, list) or len(row) != 4:
            raise UsageError(
                f"{path}, row {index} is not two images with a caption each; correct it or download the file again."
            )
        values = texts({"images and captions": row}, "images and captions", path, index)
        names = [PurePosixPath(address).name for address in values[::2]]
        images = [own / name if own.is_dir() else visual_genome_image(data_dir, name) for name in names]
        yield item(index, images, values[1::2])


COLA = Benchmark(
    name="cola",
    title="Cola, multi-object",
    kind=Kind.TWO_BY_TWO,
    read=read_cola,
    source=SOURCE,
    split="test",
)
