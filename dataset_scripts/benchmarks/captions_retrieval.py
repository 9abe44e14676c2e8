"""Retrieval of captions and images: Karpathy's test splits of COCO and Flickr30k, and COCO val2017."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from conclip.errors import UsageError
from dataset_scripts.benchmarks.files import COCO_VAL2017, field, image_folder, read_json
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item

KARPATHY = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
SALESFORCE = "https://storage.googleapis.com/sfr-vision-language-research/datasets"
COCO = "http://images.cocodataset.org"

VAL2017_CAPTIONS = ("coco/annotations/captions_val2017.json", "annotations/captions_val2017.json")
VAL2017_SOURCE = (
    f"Download {COCO}/annotations/annotations_trainval2017.zip, whose captions_val2017.json goes into "
    f"coco/annotations/, and {COCO}/zips/val2017.zip, whose images go into coco/val2017/. "
    "`conclip fetch coco-val2017-retrieval` downloads all."
)


@dataclass(frozen=True)
class KarpathyTest:
    """
    The test images of Karpathy's split with their captions, from the file that exists: his own `dataset_*.json`
    ({"images": [{filename, split, sentences: [{raw}]}]}, of all splits) or Salesforce's, which the ARO benchmark reads
    ([{image, caption: [...]}], of the test split alone).

    Args:
        name: name of the dataset, for messages.
        annotations: file names below `data_dir`; the first that exists is read.
        folders: folders of the images, likewise.
        source: a sentence that says where to get both.
    """

    name: str
    annotations: tuple[str, ...]
    folders: tuple[str, ...]
    source: str

    def read(self, data_dir: Path) -> Iterator[tuple[Path, list[str]]]:
        """Yield image and captions as `read_unchanged` does, without white space at the ends of the captions."""
        for image, captions in self.read_unchanged(data_dir):
            yield image, [caption.strip() for caption in captions]

    def read_unchanged(self, data_dir: Path) -> Iterator[tuple[Path, list[str]]]:
        """
        Yield image and captions, in the order of the file.

        Raises:
            UsageError: the file is missing or a row is damaged.
        """
        path = _first_file(data_dir, self.annotations)
        data = read_json(path, self.source)
        folder = image_folder(data_dir, *self.folders)
        whole = not isinstance(data, list)
        for index, row in enumerate(_rows(data, "images", path, self.source) if whole else data):
            if whole and field(row, "split", str, path, index) != "test":
                continue
            name = field(row, "filename" if whole else "image", str, path, index)
            captions = field(row, "sentences" if whole else "caption", list, path, index)
            if whole:
                captions = [field(sentence, "raw", str, path, index) for sentence in captions]
            yield folder / Path(name).name, unchanged_captions_of(captions, path, index)


def captions_of(values: object, path: Path, index: object) -> list[str]:
    """
    Return the captions of one image, without white space at the ends.

    Raises:
        UsageError: this is not a list, or it is empty, or a caption is blank or not a text.
    """
    return [caption.strip() for caption in unchanged_captions_of(values, path, index)]


def listed_captions(text: str, path: Path, index: object) -> list[str]:
    """Return the captions of a Python list that was written as text; raises as `captions_of` does."""
    try:
        values = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        values = None
    return captions_of(values, path, index)


def unchanged_captions_of(values: object, path: Path, index: object) -> list[str]:
    """Return the captions of one image; raises as `captions_of` does."""
    if not isinstance(values, list) or not values:
        raise UsageError(f"{path}, row {index}: there is no list of captions; correct it or download the file again.")
    return [field({"caption": value}, "caption", str, path, index) for value in values]


COCO_TEST = KarpathyTest(
    name="COCO",
    annotations=("coco/coco_karpathy_test.json", "coco/dataset_coco.json"),
    folders=("coco/val2014", "val2014"),
    source=(
        f"Download {SALESFORCE}/coco_karpathy_test.json or, in {KARPATHY}, dataset_coco.json into coco/, and "
        f"{COCO}/zips/val2014.zip, whose images go into coco/val2014/. `conclip fetch coco-retrieval` downloads all."
    ),
)
FLICKR30K_TEST = KarpathyTest(
    name="Flickr30k",
    annotations=("flickr30k/flickr30k_test.json", "flickr30k/dataset_flickr30k.json"),
    folders=("flickr30k/flickr30k-images", "flickr30k-images", "flickr30k/images"),
    source=(
        f"Download {SALESFORCE}/flickr30k_test.json or, in {KARPATHY}, dataset_flickr30k.json into flickr30k/; the "
        "images, on request from https://forms.illinois.edu/sec/229675, go into flickr30k/flickr30k-images/."
    ),
)


def _read_karpathy(data_dir: Path, split: KarpathyTest) -> Iterator[dict]:
    for image, captions in split.read(data_dir):
        yield item(image.name, [image], captions, category="plain")


def _read_val2017(data_dir: Path) -> Iterator[dict]:
    path = _first_file(data_dir, VAL2017_CAPTIONS)
    data = read_json(path, VAL2017_SOURCE)
    images, captions = {}, {}
    for index, row in enumerate(_rows(data, "images", path, VAL2017_SOURCE)):
        at = f"{index} of 'images'"
        images[field(row, "id", int, path, at)] = field(row, "file_name", str, path, at)
    for index, row in enumerate(_rows(data, "annotations", path, VAL2017_SOURCE)):
        at = f"{index} of 'annotations'"
        image_id = field(row, "image_id", int, path, at)
        if image_id not in images:
            raise UsageError(f"{path}, row {at}: there is no image {image_id} in the file. {VAL2017_SOURCE}")
        captions.setdefault(image_id, []).append(field(row, "caption", str, path, at))
    folder = image_folder(data_dir, *COCO_VAL2017)
    for index, (image_id, name) in enumerate(images.items()):
        found = captions_of(captions.get(image_id), path, f"{index} of 'images'")
        yield item(image_id, [folder / name], found, category="plain")


def _rows(data: object, name: str, path: Path, source: str) -> list:
    rows = data.get(name) if isinstance(data, dict) else None
    if not isinstance(rows, list):
        raise UsageError(f"{path} holds no list {name!r}. {source}")
    return rows


def _first_file(data_dir: Path, names: tuple[str, ...]) -> Path:
    return next((data_dir / name for name in names if (data_dir / name).is_file()), data_dir / names[0])


# 5,000 images and 25,010 captions: all of them, while some evaluations take the first five of each image.
COCO_RETRIEVAL = Benchmark(
    name="coco-retrieval",
    title="COCO retrieval (Karpathy 5k)",
    kind=Kind.RETRIEVAL,
    read=partial(_read_karpathy, split=COCO_TEST),
    source=COCO_TEST.source,
    split="Karpathy test",
)
# 1,000 images and 5,000 captions.
FLICKR30K_RETRIEVAL = Benchmark(
    name="flickr30k-retrieval",
    title="Flickr30k retrieval (Karpathy 1k)",
    kind=Kind.RETRIEVAL,
    read=partial(_read_karpathy, split=FLICKR30K_TEST),
    source=FLICKR30K_TEST.source,
    split="Karpathy test",
)
# 5,000 images and 25,014 captions.
COCO_VAL2017_RETRIEVAL = Benchmark(
    name="coco-val2017-retrieval",
    title="COCO retrieval (val2017)",
    kind=Kind.RETRIEVAL,
    read=_read_val2017,
    source=VAL2017_SOURCE,
    split="val2017",
)
