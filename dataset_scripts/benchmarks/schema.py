"""What a benchmark is to this project, whatever its files: items in one schema, and how they are scored."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from datasets import Features, Image, Sequence, Value

ITEM = Features(
    {
        # As in the source's files, so that a result can be looked up there.
        "id": Value("string"),
        # Sub-category, relation, answer type; "" where the benchmark has none.
        "category": Value("string"),
        # Paths (str), encoded bytes ({"bytes": …}) or PIL images; one, unless images compete.
        "images": Sequence(Image()),
        # (left, top, right, bottom) in pixels, one for each image; empty where images are taken whole.
        "boxes": Sequence(Sequence(Value("float64"))),
        "captions": Sequence(Value("string")),
        # Index of the right caption, image or class, by the benchmark's kind.
        "answer": Value("int64"),
    }
)


class Kind(Enum):
    """What competes in an item."""

    # One image; `captions[answer]` is true of it, the others are not.
    CAPTIONS = "captions"
    # One caption; `images[answer]` is the one it describes.
    IMAGES = "images"
    # Two of each: `captions[i]` describes `images[i]` and not the other.
    TWO_BY_TWO = "two by two"
    # One image and three captions: the first two are true of it, the third is not.
    TWO_TRUE = "two true"
    # One image and the captions that describe it; all items form one pool. A category is a condition, such as
    # "plain" or "negated", under which the same pool of images is searched.
    RETRIEVAL = "retrieval"
    # One image and no caption: `answer` is its class, and `Benchmark.classes` gives the prompts.
    CLASSES = "classes"


class BenchmarkError(ValueError):
    """Files that are missing or damaged: one sentence that says what, where and what to do."""


@dataclass(frozen=True)
class Benchmark:
    """
    Args:
        name: as in `--benchmarks`.
        title: as in tables.
        kind: what competes in an item.
        read: takes the folder of `--data_dir` and gives items, each a dict of `ITEM`, in the order of the files.
            Raises `BenchmarkError`. Whether the images are there is not its business.
        drawn: `read` also takes a `seed`, by which it draws.
        source: a sentence that says where annotations and images are to be had and where they belong under
            `--data_dir`.
        split: of the annotations, e.g. "val".
        groups: name -> categories whose items are also scored together.
        macro: the benchmark's own headline is the mean over categories, not over items.
        left_out: categories that this mean leaves out.
        min_count: a category with fewer items is left out as well.
        classes: for `Kind.CLASSES`: takes the folder and gives condition (e.g. "bare names") -> class -> prompts, of
            which the embeddings are averaged.
    """

    name: str
    title: str
    kind: Kind
    read: Callable[..., Iterator[dict]]
    source: str
    split: str
    drawn: bool = False
    groups: dict[str, Iterable[str]] | None = None
    macro: bool = False
    left_out: frozenset[str] = frozenset()
    min_count: int = 1
    classes: Callable[[Path], dict[str, list[list[str]]]] | None = None


def item(id: object, images: list, captions: list[str], answer: int = 0, category: str = "", boxes=()) -> dict:
    """A dict of `ITEM`."""
    boxes = [[float(side) for side in box] for box in boxes]
    return {
        "id": str(id),
        "category": category,
        "images": [str(image) if isinstance(image, Path) else image for image in images],
        "boxes": boxes,
        "captions": captions,
        "answer": answer,
    }
