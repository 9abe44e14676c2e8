"""
SPEC (Peng et al., CVPR 2024): size, position, existence and count in generated images that differ in nothing else.

Format and scoring are those of https://github.com/wjpoom/SPEC: a folder for each of six subsets with image2text.json,
a list of {"query": image, "keys": captions, "label": index of the right one}, and text2image.json, a list of
{"query": caption, "keys": images, "label"}. The score is the accuracy of a subset, and the mean over the six.
"""

from collections.abc import Iterator
from pathlib import Path

from conclip.errors import UsageError
from dataset_scripts.benchmarks.files import field, read_rows, texts
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item

SUBSETS = ("count", "relative_size", "absolute_size", "relative_spatial", "absolute_spatial", "existence")
SOURCE = (
    "Download data.zip with `hf download wjpoom/SPEC data.zip --repo-type dataset` and unpack it, so that the six "
    "folders such as count lie in spec."
)


def read_image_to_text(data_dir: Path) -> Iterator[dict]:
    """
    Yield items of one image and several captions; ids such as "count/0" are subset and row.

    Raises:
        UsageError: a file is missing or a row is damaged.
    """
    for subset, folder, index, query, keys, label in _rows(data_dir, "image2text.json"):
        yield item(f"{subset}/{index}", [folder / query], keys, answer=label, category=subset)


def read_text_to_image(data_dir: Path) -> Iterator[dict]:
    """Yield items of one caption and several images; otherwise as `read_image_to_text`."""
    for subset, folder, index, query, keys, label in _rows(data_dir, "text2image.json"):
        yield item(f"{subset}/{index}", [folder / key for key in keys], [query], answer=label, category=subset)


def _rows(data_dir: Path, name: str) -> Iterator[tuple[str, Path, int, str, list[str], int]]:
    for subset in SUBSETS:
        folder = data_dir / "spec" / subset
        path = folder / name
        for index, row in read_rows(path, SOURCE):
            keys = texts(row, "keys", path, index)
            label = field(row, "label", int, path, index)
            if len(keys) < 2 or not 0 <= label < len(keys):
                raise UsageError(
                    f"{path}, row {index}: 'label' is {label!r}, which is none of the {len(keys)} in 'keys'; correct "
                    "it or download the file again."
                )
            yield subset, folder, index, field(row, "query", str, path, index), keys, label


SPEC_IMAGE_TO_TEXT = Benchmark(
    name="spec-image-to-text",
    title="SPEC, image to text",
    kind=Kind.CAPTIONS,
    read=read_image_to_text,
    source=SOURCE,
    split="test",
    macro=True,
    choice=True,
)
SPEC_TEXT_TO_IMAGE = Benchmark(
    name="spec-text-to-image",
    title="SPEC, text to image",
    kind=Kind.IMAGES,
    read=read_text_to_image,
    source=SOURCE,
    split="test",
    macro=True,
)
