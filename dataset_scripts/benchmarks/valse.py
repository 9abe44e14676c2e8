"""
VALSE, existence piece (arXiv 2112.07566, MIT): "There are no people." against "There are people.", over photographs
of Visual7W.

One file, a dict of key -> {caption, foil, image_file, provenance_of_foils, mturk, …}, 534 rows. `mturk` counts the
votes of three annotators; the official set is the 505 rows in which at least two chose the caption and not the foil
(README of the official repository). Among the others is a row whose foil is its caption again ("There are 4.").
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from dataset_scripts.benchmarks.files import field, image_folder, read_rows
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item

SOURCE = (
    "The annotations: data/existence.json of https://github.com/Heidelberg-NLP/VALSE, into valse. "
    "The images: http://vision.stanford.edu/yukezhu/visual7w_images.zip, unpacked in visual7w, into "
    "visual7w/images. `conclip fetch valse-existence` downloads all."
)


def read_existence(data_dir: Path, min_votes: int = 2) -> Iterator[dict]:
    """
    Yield the items of `<data_dir>/valse/existence.json`; the category says whether the caption negates and its foil
    affirms ("zero_to_something") or the reverse ("something_to_zero").

    Args:
        min_votes: annotators of three that chose the caption; rows with fewer are skipped.

    Raises:
        UsageError: the file is missing or a row is damaged.
    """
    path = data_dir / "valse" / "existence.json"
    images = image_folder(data_dir, "visual7w/images", "valse/images")
    for key, row in read_rows(path, SOURCE):
        if field(field(row, "mturk", dict, path, key), "caption", int, path, f"{key}, 'mturk'") < min_votes:
            continue
        image = images / field(row, "image_file", str, path, key)
        captions = [field(row, name, str, path, key) for name in ("caption", "foil")]
        yield item(key, [image], captions, category=field(row, "provenance_of_foils", str, path, key))


VALSE_EXISTENCE = Benchmark(
    name="valse-existence",
    title="VALSE existence",
    kind=Kind.CAPTIONS,
    read=read_existence,
    source=SOURCE,
    split="test",
)

VALSE_EXISTENCE_UNFILTERED = Benchmark(
    name="valse-existence-unfiltered",
    title="VALSE existence, unfiltered",
    kind=Kind.CAPTIONS,
    read=partial(read_existence, min_votes=0),
    source=SOURCE,
    split="test",
)
