"""
EqBen (Wang et al., ICCV 2023): two images that differ little, from videos and renderings, and a caption of each.

The 10 % subset that the authors publish for validation, https://github.com/Wangt-CN/EqBen: one JSON file, a list of
{image0, image1, caption0, caption1, …}. Images of YouCook2 are NumPy arrays (.npy, height × width × 3 bytes in the
order blue, green, red). The scores are Winoground's, as in the authors' `evaluate_eqben_locally.py`. The full set is
not here: the format of its annotations is not documented.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from conclip.errors import UsageError
from dataset_scripts.benchmarks.files import field, image_folder, read_rows, texts
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item

if TYPE_CHECKING:
    import PIL.Image

SOURCE = (
    "Download eqben_subset_10percent_final.json and subset_image.tar.gz from "
    "https://storage.googleapis.com/eqben-data/eqben_subset/ (linked from https://github.com/Wangt-CN/EqBen) into "
    "eqben/; its folder image_subset with the images goes there, too."
)


def read_eqben(data_dir: Path) -> Iterator[dict]:
    """
    Yield the items, numbered as the rows of the file, from 0. If the images lie in folders such as "eqbensd", these
    are the categories.

    Raises:
        UsageError: the file is missing, or a row or a NumPy array is damaged.
    """
    path = data_dir / "eqben" / "eqben_subset_10percent_final.json"
    folder = image_folder(data_dir, "eqben/image_subset", "eqben/images")
    for index, row in read_rows(path, SOURCE):
        names = [field(row, name, str, path, index) for name in ("image0", "image1")]
        captions = [_caption(row, name, path, index) for name in ("caption0", "caption1")]
        source = names[0].partition("/")[0]
        category = source if source.startswith("eqben") else ""
        yield item(index, [_image(folder / name) for name in names], captions, category=category)


def _caption(row: object, name: str, path: Path, index: int) -> str:
    # The authors' reader of Action Genome takes the first of several captions.
    if isinstance(row, dict) and isinstance(row.get(name), list) and row[name]:
        return texts(row, name, path, index)[0]
    return field(row, name, str, path, index)


def _image(path: Path) -> "Path | PIL.Image.Image":
    if path.suffix != ".npy" or not path.is_file():
        return path
    # Imported late, so that the list of benchmarks is there at once.
    import numpy as np
    import PIL.Image

    try:
        pixels = np.load(path, allow_pickle=False)
        return PIL.Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1]))
    except (OSError, ValueError, TypeError, IndexError, EOFError) as error:
        raise UsageError(
            f"{path} is not an array of height × width × 3 bytes ({error}); download it again. {SOURCE}"
        ) from error


EQBEN = Benchmark(
    name="eqben",
    title="EqBen, 10 % subset",
    kind=Kind.TWO_BY_TWO,
    read=read_eqben,
    source=SOURCE,
    split="subset",
)
