"""Read the items of a benchmark in chunks, each with its distinct images and texts."""

import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import xxhash
from datasets import Dataset, Features, Image

from conclip.embedding.image_column import ImageColumn
from conclip.embedding.image_hashes import NO_KEY, StoredImages
from conclip.embedding.image_modes import require_image, to_rgb
from conclip.errors import UsageError, one_line
from dataset_scripts.benchmarks.schema import Benchmark

ITEMS_AT_A_TIME = 8_192
# Of images that are in the items themselves, and not in files of their own.
BYTES_AT_A_TIME = 2**28
Box = tuple[float, ...]


class ItemFiles(StoredImages):
    """
    Stored images of items.

    Attributes:
        boxes: for each image (left, top, right, bottom) in pixels, or () for the whole image.
        as_stored: whether whole images are decoded as they are stored too; images with boxes always are.
    """

    boxes: list[Box]
    as_stored: bool

    def keys(self, start: int = 0, stop: int | None = None, show_progress: bool = False) -> np.ndarray:
        """
        Return keys as `StoredImages.keys` does. An image has other keys if it is decoded as stored, and with another
        box.
        """
        keys = super().keys(start, stop, show_progress).copy()
        for at, box in enumerate(self.boxes[start:stop]):
            if (box or self.as_stored) and keys[at].tobytes() != NO_KEY:
                content = b"as stored" + keys[at].tobytes() + np.array(box, np.float64).tobytes()
                keys[at] = np.frombuffer(xxhash.xxh3_128_digest(content), np.uint8)
        return keys

    def index_path(self, cache_dir: Path) -> None:
        """Return `None`: there is no index file, and each run reads the images of a benchmark again."""


class ItemImages(ImageColumn):
    """
    The distinct images of items.

    A whole image is turned upright if its EXIF data has an orientation, as in `datasets.Image`. An image with a box is
    not: boxes count the pixels as stored, and the official scripts of ARO and NegRefCOCOg open images with PIL alone.

    Args:
        encoded: {"path", "bytes"} of each image.
        boxes: for each image (left, top, right, bottom) in pixels, or () for the whole image.
        title: title of the benchmark, for messages.
        as_stored: do not turn whole images either.
    """

    def __init__(self, encoded: list[dict], boxes: list[Box], title: str, as_stored: bool = False):
        dataset = Dataset.from_dict({"image": encoded}, features=Features({"image": Image(decode=False)}))
        super().__init__(dataset, "image", title)
        self.names = [image["path"] for image in encoded]
        self.stored = ItemFiles(self.stored.dataset, "image", self.stored.rows)
        self.stored.boxes, self.stored.as_stored = boxes, as_stored

    def __getitem__(self, index: int) -> PIL.Image.Image:
        """Return an image in its own colour mode; a part of an image in RGB."""
        box, encoded = self.stored.boxes[index], self.stored.dataset[index]["image"]
        try:
            content = encoded["bytes"] or Path(encoded["path"]).read_bytes()
            require_image(content)
            image = PIL.Image.open(io.BytesIO(content))
            image.load()
            if box:
                image = to_rgb(image)
            elif not self.stored.as_stored:
                image = PIL.ImageOps.exif_transpose(image)
        # Pillow raises OSError, SyntaxError, ValueError and others for files it cannot decode.
        except Exception as error:
            raise UsageError(f"{self.where(index)} cannot be read: {one_line(error).removesuffix('.')}.") from error
        if not box:
            return image
        left, top, right, bottom = map(round, box)
        if min(right, image.width) <= max(left, 0) or min(bottom, image.height) <= max(top, 0):
            raise UsageError(
                f"{self.where(index)} and its box {box} do not overlap; correct the box or download the file again."
            )
        # The part of a box outside the image becomes black, as in the official scripts.
        return image.crop((left, top, right, bottom))

    def where(self, index: int) -> str:
        return f"{self.split}: image {self.names[index] or index}"


@dataclass
class Chunk:
    """
    Items with their distinct images and texts.

    Args:
        items: dicts of the columns `item_features`.
        image_at, text_at: for each item, the indices of its own images and texts, in its order.
    """

    items: list[dict]
    images: ItemImages
    image_at: list[list[int]]
    texts: list[str]
    text_at: list[list[int]]


class ItemReader:
    """
    Iterate over the items of a benchmark and check that their images exist.

    Args:
        allow_missing_images: skip items whose image is missing, and count them.
        seed: seed of a benchmark that samples.
        as_stored: see `ItemImages`.

    Attributes:
        skipped: category -> number of items that were skipped so far.
        skipped_captions: category -> number of their captions.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        data_dir: Path,
        allow_missing_images: bool = False,
        seed: int = 0,
        as_stored: bool = False,
    ):
        self.benchmark, self.data_dir, self.allow_missing_images = benchmark, data_dir, allow_missing_images
        self.as_stored = as_stored
        self.sampling = {"seed": seed} if benchmark.sampled else {}
        self.skipped: Counter[str] = Counter()
        self.skipped_captions: Counter[str] = Counter()
        self._exists_cache: dict[str, bool] = {}

    def __iter__(self) -> Iterator[dict]:
        """
        Raises:
            UsageError: a file is missing or damaged, or no item is left.
        """
        self.skipped, self.skipped_captions, read = Counter(), Counter(), 0
        for item in self.benchmark.read(self.data_dir, **self.sampling):
            read += 1
            missing = [image for image in item["images"] if isinstance(image, str) and not self._exists(image)]
            if not missing:
                yield item
            elif self.allow_missing_images:
                self.skipped[item["category"]] += 1
                self.skipped_captions[item["category"]] += len(item["captions"])
            else:
                raise UsageError(
                    f"{self.benchmark.title}, item {item['id']}: there is no image {missing[0]}. "
                    f"{self.benchmark.source} To skip such items, add --allow_missing_images."
                )
        if read == self.skipped.total():
            reason = f"none of the {read:,} items has its images" if read else "the files hold no items"
            raise UsageError(f"{self.benchmark.title}: {reason} under {self.data_dir}. {self.benchmark.source}")

    def chunks(self) -> Iterator[Chunk]:
        """Yield all items in parts of at most `ITEMS_AT_A_TIME`, fewer where they hold images."""
        items = iter(self)
        while some := _take(items):
            yield make_chunk(some, self.benchmark.title, self.as_stored)

    def _exists(self, path: str) -> bool:
        if path not in self._exists_cache:
            self._exists_cache[path] = os.path.isfile(path)
        return self._exists_cache[path]


def _take(items: Iterator[dict]) -> list[dict]:
    some, held = [], 0
    for item in islice(items, ITEMS_AT_A_TIME):
        some.append(item)
        held += sum(map(_bytes_held, item["images"]))
        if held >= BYTES_AT_A_TIME:
            break
    return some


def _bytes_held(image: str | dict | PIL.Image.Image) -> int:
    if isinstance(image, PIL.Image.Image):
        return image.width * image.height * len(image.getbands())
    return len(image["bytes"]) if isinstance(image, dict) else 0


def make_chunk(items: list[dict], title: str, as_stored: bool = False) -> Chunk:
    texts = {text: at for at, text in enumerate(sorted({text for item in items for text in item["captions"]}))}
    images, image_at = distinct_images(items, title, as_stored)
    return Chunk(items, images, image_at, list(texts), [[texts[text] for text in item["captions"]] for item in items])


def distinct_images(items: Iterable[dict], title: str, as_stored: bool = False) -> tuple[ItemImages, list[list[int]]]:
    """Return the distinct images of items and, for each item, the indices of its own images."""
    distinct: dict[tuple, int] = {}
    encoded, boxes, image_at = [], [], []
    for item in items:
        own = []
        for place, value in enumerate(item["images"]):
            image = Image().encode_example(value)
            box = tuple(item["boxes"][place]) if item["boxes"] else ()
            content = image["path"] if image["bytes"] is None else xxhash.xxh3_128_digest(image["bytes"])
            at = distinct.setdefault((content, box), len(distinct))
            if at == len(encoded):
                encoded.append({"path": image["path"], "bytes": image["bytes"]})
                boxes.append(box)
            own.append(at)
        image_at.append(own)
    return ItemImages(encoded, boxes, title, as_stored), image_at
