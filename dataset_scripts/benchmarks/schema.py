"""A benchmark as this project sees it: items in one schema, and how they are scored."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


def item_features():
    """Return the `datasets.Features` of an item."""
    # Imported late, so that the list of benchmarks is there at once.
    from datasets import Features, Image, Sequence, Value

    return Features(
        {
            # The id in the source's files, so that a result can be looked up there.
            "id": Value("string"),
            # Sub-category, relation or answer type; "" if the benchmark has none.
            "category": Value("string"),
            # Paths (str), encoded bytes ({"bytes": …}) or PIL images; one image, unless images compete.
            "images": Sequence(Image()),
            # (left, top, right, bottom) in pixels, one for each image; empty if the images are not cropped.
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


@dataclass(frozen=True)
class Probe:
    """
    What a benchmark knows besides its items, so that image embeddings can be scored without a text encoder.

    Args:
        images: yields items to learn from, whose captions are the labels of the image.
        claims: takes a caption of the benchmark and returns what it claims: the labels of an object, and whether the
            image shows it.
    """

    images: Callable[[], Iterator[dict]]
    claims: Callable[[str], list[tuple[list[str], bool]]]


@dataclass(frozen=True)
class Joint:
    """
    A score of items that belong together: a set is right if every item of it is.

    Args:
        set_of: takes the id of an item and returns the name of its set.
        size: the number of items in a set; a set with fewer is not counted.
    """

    set_of: Callable[[str], str]
    size: int


@dataclass(frozen=True)
class Benchmark:
    """
    A benchmark. To add one, write a module with its `Benchmark` and list it in `registry.py`.

    Args:
        name: the name in `--benchmarks`.
        title: the name in tables.
        kind: what competes in an item.
        read: takes the folder of `--data_dir` and yields items, dicts of `item_features`, in the order of the files.
            Raises `UsageError` for files that are missing or damaged, but does not check that the images exist.
        sampled: whether `read` also takes a `seed`, with which it samples.
        source: a sentence that says where to get annotations and images, and where to put them under `--data_dir`.
        split: the split of the annotations, e.g. "val".
        groups: name -> categories whose items are also scored together.
        mean_groups: name -> lists of categories. The score is the mean over the lists of the mean over the categories.
        joint: for multiple choice: name of a score -> the items that it counts together.
        macro: whether the benchmark's own headline is the mean over categories, not over items.
        skipped_categories: categories that this mean does not include.
        min_count: the mean does not include a category with fewer items either.
        classes: for `Kind.CLASSES`: takes the folder and returns condition (e.g. "names of the dataset, bare") ->
            class -> prompts, whose embeddings are averaged.
        truth: for `Kind.RETRIEVAL`, if it is known: takes captions and ids of items and returns bool, (captions, ids),
            of which images each caption is true; then the first image that is found is scored by it too.
        probe: for `Kind.CAPTIONS`, if there is one: then the share of items that the image embeddings allow is shown.
        choice: for `Kind.CAPTIONS`: whether the number of captions may differ between the items. Otherwise, items with
            two captions are scored as pairs.
        first_wins: for `Kind.CAPTIONS`: whether the published score is that of an argmax, in which the first of equal
            scores wins. This score is then the headline; the score with ties as errors follows it.
    """

    name: str
    title: str
    kind: Kind
    read: Callable[..., Iterator[dict]]
    source: str
    split: str
    sampled: bool = False
    groups: dict[str, Iterable[str]] | None = None
    mean_groups: dict[str, Sequence[Sequence[str]]] | None = None
    joint: dict[str, Joint] | None = None
    macro: bool = False
    skipped_categories: frozenset[str] = frozenset()
    min_count: int = 1
    classes: Callable[[Path], dict[str, list[list[str]]]] | None = None
    truth: Callable[[list[str], list[str]], Sequence] | None = None
    probe: Probe | None = None
    choice: bool = False
    first_wins: bool = False


def item(id: object, images: list, captions: list[str], answer: int = 0, category: str = "", boxes=()) -> dict:
    """Make a dict of `item_features`."""
    boxes = [[float(side) for side in box] for box in boxes]
    return {
        "id": str(id),
        "category": category,
        "images": [str(image) if isinstance(image, Path) else image for image in images],
        "boxes": boxes,
        "captions": captions,
        "answer": answer,
    }
